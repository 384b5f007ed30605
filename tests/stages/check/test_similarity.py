"""Copies: found where a photo was saved anew, and nowhere else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from mien.images.statistics import ImageStats
from mien.stages.check import similarity
from mien.stages.check.disjoint_set import merge_clusters
from mien.stages.check.image_stats import compute_image_stats

Photo = Image.Image


def _photo(seed: int, side: int = 120) -> Photo:
    """Blots in several sizes, unlike those of any other seed."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        for size in (5, 11, 23)
    ]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3)


def _cropped(photo: Photo) -> Photo:
    width, height = photo.size
    return photo.crop((round(width * 0.02), round(height * 0.01), width, round(height * 0.98)))


CHANGES: dict[str, Callable[[Photo], Photo]] = {
    "the same": lambda photo: photo,
    "smaller": lambda photo: photo.resize((70, 70), Image.Resampling.LANCZOS),
    "larger": lambda photo: photo.resize((301, 299), Image.Resampling.BICUBIC),
    "cropped": _cropped,
    "brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.2),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
    "less contrast": lambda photo: ImageEnhance.Contrast(photo).enhance(0.6),
}


def _seen(folder: Path, photos: list[Photo], quality: int = 90) -> ImageStats:
    paths = [folder / f"{number:03}.jpg" for number in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        photo.save(path, quality=quality)
    return compute_image_stats(paths)


def _made(thumbs: np.ndarray, hashes: np.ndarray) -> ImageStats:
    """Looks that nobody looked at."""
    count = len(thumbs)
    return ImageStats(
        readable=np.ones(count, dtype=bool),
        size=np.ones((count, 2), dtype=np.int64),
        mean_rgb=np.zeros((count, 3)),
        phash=hashes.astype(np.uint64),
        thumbnail=thumbs.astype(np.uint8),
        brightness=np.zeros(count),
        errors=("",) * count,
    )


@given(st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=30))
def test_exact_copies_share_a_digest(digests: list[str]) -> None:
    """Groups are all that share a digest, each once, in order; none is alone or without digest."""
    groups = similarity.exact_duplicates(digests)
    assert all(len(group) > 1 and group == sorted(group) for group in groups)
    assert groups == sorted(groups)
    found = {place for group in groups for place in group}
    assert found == {i for i, each in enumerate(digests) if each and digests.count(each) > 1}
    assert all(len({digests[place] for place in group}) == 1 for group in groups)
    assert len({digests[group[0]] for group in groups}) == len(groups)


@pytest.mark.parametrize("change", CHANGES)
def test_a_photo_saved_anew_is_found(change: str, tmp_path: Path) -> None:
    """Each of twenty photos is clustered with its changed self alone."""
    photos = [_photo(seed) for seed in range(20)]
    seen = _seen(tmp_path, [*photos, *map(CHANGES[change], photos)], quality=80)
    assert similarity.near_duplicate_images(seen) == [[place, place + 20] for place in range(20)]


def test_all_forms_of_a_photo_are_one_cluster(tmp_path: Path) -> None:
    """Seven forms of two photos are two clusters, each held together by six pairs."""
    forms = [each(_photo(seed)) for seed in (1, 2) for each in CHANGES.values()]
    seen = _seen(tmp_path, forms)
    half = len(CHANGES)
    assert similarity.near_duplicate_images(seen) == [
        list(range(half)),
        list(range(half, 2 * half)),
    ]
    pairs = similarity.near_duplicate_pairs(seen)
    assert len(pairs) == 2 * (half - 1)
    assert all(
        0 <= pair.distance <= 1 - similarity.NEAR_DUPLICATE_CORRELATION + 1e-9 for pair in pairs
    )


def test_different_faces_are_different(few_samples: Callable[[str], Path]) -> None:
    """Faces that the project draws look alike in most; hardly any passes for another's copy."""
    paths = sorted(few_samples("emotion").rglob("*.png"))
    assert len(paths) > 100
    found = similarity.near_duplicate_images(compute_image_stats(paths))
    assert sum(len(group) for group in found) <= 0.02 * len(paths)


def test_flat_pictures_are_copies_only_where_they_are_equal(tmp_path: Path) -> None:
    """Grounds of one colour each: their hashes are all alike, and say nothing."""
    grounds = [(0, 0, 0), (80, 80, 80), (81, 81, 81), (255, 255, 255), (80, 80, 80), (118, 62, 80)]
    seen = _seen(tmp_path, [Image.new("RGB", (64, 64), mean_rgb) for mean_rgb in grounds])
    assert similarity.near_duplicate_images(seen) == [[1, 4]]


def test_the_steps_of_faint_slopes_are_no_details() -> None:
    """Grounds that grow lighter by 2 of 255, from three tones: only the equal ones are copies."""
    slope = np.rint(np.linspace(0, 2, 16))[None, None] * np.ones((1, 16, 1))
    thumbs = np.concatenate([slope + tone for tone in (60, 110, 160, 110)])
    assert similarity.near_duplicate_images(_made(thumbs, np.zeros(4))) == [[1, 3]]


def test_what_cannot_be_read_is_nobodys_copy(tmp_path: Path) -> None:
    """Rows without a picture are all alike, and no cluster."""
    seen = compute_image_stats([tmp_path / "missing.jpg", tmp_path / "absent.jpg"])
    assert similarity.near_duplicate_images(seen) == []


def test_equal_hashes_alone_are_not_enough() -> None:
    """Pictures whose thumbnails differ stay apart though their hashes are equal."""
    thumbs = np.random.default_rng(0).integers(0, 256, (300, 16, 16))
    seen = _made(thumbs, np.full(300, 7))
    assert similarity.near_duplicate_images(seen) == []
    assert similarity.near_duplicate_images(
        replace(seen, thumbnail=np.repeat(seen.thumbnail[:1], 300, axis=0))
    ) == [list(range(300))]


def test_several_limits_give_the_clusters_of_each_alone() -> None:
    """Frames that come ever closer to five scenes, compared once for three limits in any order."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(40, 216, (5, 1, 16, 16))
    noise = np.linspace(90, 0, 40)[None, :, None, None] * rng.normal(size=(5, 40, 16, 16))
    seen = _made((scenes + noise).clip(0, 255).reshape(-1, 16, 16), np.zeros(200))
    limits = (0.6, 0.9, 0.74)
    alone = [similarity.near_duplicate_images(seen, min_correlation=each) for each in limits]
    assert similarity.near_duplicate_clusters(seen, limits) == alone
    assert len({str(each) for each in alone}) == len(limits)


def test_one_photo_many_times_is_one_cluster_of_few_pairs() -> None:
    """Three thousand frames of one scene: nearly five million pairs, of which few are kept."""
    rng = np.random.default_rng(0)
    scene = rng.integers(40, 216, (1, 16, 16))
    seen = _made(scene + rng.integers(-4, 5, (3000, 16, 16)), np.zeros(3000))
    assert len(similarity.near_duplicate_pairs(seen)) == 2999


def test_rows_that_differ_by_noise_are_found() -> None:
    """Rows measured twice are pairs, in any unit; the others are far from each other."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 63))
    again = rows[:40] + rng.normal(scale=0.02, size=(40, 63))
    values = np.concatenate([rows, again])
    expected = [[place, 700 + place] for place in range(40)]
    assert similarity.near_duplicate_rows(values) == expected
    assert similarity.near_duplicate_rows(values.astype(np.float32) * 500 + 9) == expected
    assert similarity.near_duplicate_rows(values, max_distance=0.001) == []


def test_rows_are_compared_in_full() -> None:
    """What the sorted search finds is what comparing every pair finds, in few and many columns."""
    for columns in (1, 2, 9):
        values = np.random.default_rng(columns).normal(size=(900, columns))
        centred = values - np.median(values, axis=0)
        spread = np.median(np.sqrt((centred**2).mean(axis=1)))
        max_distance = np.sqrt(((values[:, None] - values[None]) ** 2).mean(axis=2)) / spread
        i, j = np.nonzero(np.triu(max_distance <= 0.04, 1))
        every = merge_clusters(zip(i.tolist(), j.tolist(), strict=True), 900)
        assert similarity.near_duplicate_rows(values, max_distance=0.04) == every


def test_rows_that_are_no_numbers_have_no_copy() -> None:
    """NaN and infinity are no copies, and spoil nothing for the others."""
    values = np.random.default_rng(0).normal(size=(50, 5))
    values[[3, 9]], values[[4, 8], 2], values[7] = np.nan, np.inf, values[1]
    assert similarity.near_duplicate_rows(values) == [[1, 7]]
    assert similarity.near_duplicate_rows(np.ones((4, 3))) == [[0, 1, 2, 3]]
    assert similarity.near_duplicate_rows(np.empty((0, 63))) == []
    assert similarity.near_duplicate_rows(np.ones((1, 3))) == []
