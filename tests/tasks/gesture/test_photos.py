"""From photos in folders to hands: where they are, what is kept of them, which hand is meant."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.mediapipe.hand_landmarks import Hand
from mien.tasks.gesture.drawing import load_sample_picture
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tasks.gesture.photos import (
    Photo,
    PhotoHands,
    detect_hands,
    find_photos,
    select_gesture_hands,
)
from mien.tasks.gesture.sample import landmark_rows


def draw(path: Path, shift: int = 0, times: int = 1) -> Path:
    """The drawn hand as a photo, moved by some pixels to the right, and then enlarged."""
    picture = Image.new("RGB", (560, 512), (180, 180, 180))
    picture.paste(load_sample_picture(), (shift, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((560 * times, 512 * times)).save(path)
    return path


def detect(raw: Path, cache: Path) -> list[PhotoHands | str]:
    return detect_hands(find_photos(raw, HAGRID_LABELS), cache)


def hand_of(detected: PhotoHands | str) -> Hand:
    assert isinstance(detected, PhotoHands)
    return detected.hands[0]


def cache_file(cache: Path) -> Path:
    (path,) = (cache / "hands").iterdir()
    return path


@pytest.mark.parametrize(
    ("place", "name", "label"),
    [
        ("like/a.jpg", "like/a.jpg", "like"),
        ("set/photos/like/a.jpg", "like/a.jpg", "like"),
        ("like/monday/a.png", "like/monday/a.png", "like"),
        ("likes/a.webp", "likes/a.webp", "likes"),
        ("a.JPEG", "a.JPEG", ""),
    ],
)
def test_the_folder_is_the_label(tmp_path: Path, place: str, name: str, label: str) -> None:
    """The nearest known folder, however deep the source was packed."""
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    assert find_photos(tmp_path, HAGRID_LABELS) == [Photo(tmp_path / place, name, label)]


def test_names_of_photos_include_the_folders_that_differ(tmp_path: Path) -> None:
    """Two photos of one name are two samples."""
    for place in ("set/train/like/a.jpg", "set/test/like/a.jpg", "set/read.me"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    names = [photo.name for photo in find_photos(tmp_path, HAGRID_LABELS)]
    assert names == ["test/like/a.jpg", "train/like/a.jpg"]


def test_hands_are_in_pixels_of_the_photo(tmp_path: Path) -> None:
    """Also in a large photo, which is read at half its size."""
    draw(tmp_path / "raw" / "like" / "a.png", shift=30)
    draw(tmp_path / "raw" / "like" / "b.png", shift=30, times=5)
    small, large = detect(tmp_path / "raw", tmp_path / "cache")
    assert isinstance(small, PhotoHands)
    assert isinstance(large, PhotoHands)
    assert small.size == (560, 512)
    assert large.size == (2800, 2560)
    one, other = hand_of(small).landmarks, hand_of(large).landmarks / 5
    assert np.abs(one - other)[:, :2].max() < 10
    assert (one[:, :2] >= 0).all()
    assert (one[:, :2] <= small.size).all()


def test_hands_are_cached_by_content(tmp_path: Path) -> None:
    """A renamed photo is in the cache; the numbers are the same to the last bit."""
    photo = draw(tmp_path / "raw" / "like" / "a.png")
    (first,) = detect(tmp_path / "raw", tmp_path / "cache")
    photo.rename(photo.with_name("b.png"))
    line = cache_file(tmp_path / "cache").read_bytes()
    (again,) = detect(tmp_path / "raw", tmp_path / "cache")
    assert (hand_of(first).landmarks == hand_of(again).landmarks).all()
    assert cache_file(tmp_path / "cache").read_bytes() == line, "its hands were detected again"


def test_the_cache_is_used_before_the_networks(tmp_path: Path) -> None:
    """A valid line of it is the result."""
    draw(tmp_path / "raw" / "like" / "a.png")
    detect(tmp_path / "raw", tmp_path / "cache")
    path = cache_file(tmp_path / "cache")
    digest, (size, hands) = json.loads(path.read_bytes().partition(b" ")[2])
    hands[0][1] = "Neither"
    text = json.dumps([digest, [size, hands]]).encode()
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    (photo,) = detect(tmp_path / "raw", tmp_path / "cache")
    assert hand_of(photo).handedness == "Neither"


@pytest.mark.parametrize("harm", ["cut", "altered", "binary"])
def test_an_invalid_line_of_the_cache_is_ignored(tmp_path: Path, harm: str) -> None:
    """A run that was killed loses the photos in flight and nothing else."""
    for number in range(3):
        draw(tmp_path / "raw" / "like" / f"{number}.png", shift=number * 7)
    first = detect(tmp_path / "raw", tmp_path / "cache")
    path = cache_file(tmp_path / "cache")
    data = path.read_bytes()
    harmed = {"cut": data[:-40], "altered": data.replace(b"0.", b"1."), "binary": data + b"\xff\n"}
    path.write_bytes(harmed[harm])
    again = detect(tmp_path / "raw", tmp_path / "cache")
    assert [hand_of(each).landmarks.tolist() for each in again] == [
        hand_of(each).landmarks.tolist() for each in first
    ]
    lines = path.read_bytes().splitlines()
    assert sum(line[:8] == b"%08x" % zlib.crc32(line[9:]) for line in lines) == 3


def test_unreadable_photos_are_reported_and_the_rest_is_processed(tmp_path: Path) -> None:
    """A damaged photo, a web page that was saved as one, a type that mien does not read."""
    good = draw(tmp_path / "raw" / "like" / "d.png")
    data = good.read_bytes()
    for name, content in (
        ("a.png", data[: len(data) // 2]),
        ("b.jpg", b"<html>"),
        ("c.bmp", b"BM"),
    ):
        good.with_name(name).write_bytes(content)
    cut, page, bmp, fine = detect(tmp_path / "raw", tmp_path / "cache")
    assert "cut off or damaged" in str(cut)
    assert "not a picture of a known type" in str(page)
    assert "found BMP" in str(bmp)
    assert isinstance(fine, PhotoHands)


def test_no_photos_need_no_networks(tmp_path: Path) -> None:
    """Nothing is downloaded and nothing is written."""
    assert detect_hands([], tmp_path / "cache") == []
    assert not (tmp_path / "cache").exists()


def photo_with(*points: np.ndarray) -> PhotoHands:
    return PhotoHands((600, 600), tuple(Hand(each, "Right", 1.0) for each in points))


def test_of_two_hands_the_one_like_the_label_is_selected() -> None:
    """A resting hand is often the larger one; a left hand counts as a right one."""
    hands, labels = landmark_rows(12, 0)
    side = np.sign(hands[:, 17, 0] - hands[:, 5, 0])
    hands[:, :, 0] *= side[:, None]
    by_label = {label: hands[[each == label for each in labels]] for label in HAGRID_LABELS}
    three, ok = by_label["three"], by_label["ok"][0] * 3
    mirrored = three[1] * [-1, 1, 1]
    both = [photo_with(ok, three[0]), photo_with(mirrored, ok)]
    alone = [photo_with(hand) for hand in three[2:]]
    first, second, *_ = select_gesture_hands(["three"] * (len(alone) + 2), both + alone)
    assert first is not None
    assert (first.landmarks == three[0]).all()
    assert second is not None
    assert (second.landmarks == mirrored).all()


def test_with_too_few_single_hands_the_larger_one_is_selected() -> None:
    """One photo is too few."""
    hands, _ = landmark_rows(1, 0)
    found = select_gesture_hands(
        ["like", "like"], [photo_with(hands[0], hands[1] * 2), photo_with(hands[0])]
    )
    assert found[0] is not None
    assert found[0].landmarks[0, 0] == hands[1][0, 0] * 2


def test_a_photo_without_a_hand_has_none() -> None:
    """Nor has one that cannot be read."""
    assert select_gesture_hands(["like", "like"], [PhotoHands((9, 9), ()), "damaged"]) == [
        None,
        None,
    ]


def test_hands_of_real_photos_are_detected(real_data: Path, tmp_path: Path) -> None:
    """One photo of each gesture."""
    every = find_photos(real_data / "gesture" / "photos", HAGRID_LABELS)
    some = list({photo.label: photo for photo in every if photo.label in HAGRID_LABELS}.values())
    found = detect_hands(some, tmp_path)
    assert len(found) == 18
    assert sum(isinstance(each, PhotoHands) and bool(each.hands) for each in found) >= 16
