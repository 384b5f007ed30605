"""From photos in folders to hands: where they are, what is kept of them, which hand is meant."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.mediapipe.hand_landmarks import Hand
from mien.tasks.gesture.drawing import kept_picture
from mien.tasks.gesture.params import LABELS
from mien.tasks.gesture.photos import Photo, Seen, chosen, find, look
from mien.tasks.gesture.sample import landmark_rows


def draw(path: Path, shift: int = 0, times: int = 1) -> Path:
    """The drawn hand as a photo, moved by some pixels to the right, and then enlarged."""
    picture = Image.new("RGB", (560, 512), (180, 180, 180))
    picture.paste(kept_picture(), (shift, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((560 * times, 512 * times)).save(path)
    return path


def looked(raw: Path, cache: Path) -> list[Seen | str]:
    return look(find(raw, LABELS), cache)


def hand_of(seen: Seen | str) -> Hand:
    assert isinstance(seen, Seen)
    return seen.hands[0]


def kept(cache: Path) -> Path:
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
    assert find(tmp_path, LABELS) == [Photo(tmp_path / place, name, label)]


def test_photos_of_several_folders_keep_what_tells_them_apart(tmp_path: Path) -> None:
    """Two photos of one name are two samples."""
    for place in ("set/train/like/a.jpg", "set/test/like/a.jpg", "set/read.me"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    names = [photo.name for photo in find(tmp_path, LABELS)]
    assert names == ["test/like/a.jpg", "train/like/a.jpg"]


def test_a_hand_is_found_in_pixels_of_the_photo(tmp_path: Path) -> None:
    """Also in a photo so large that it is read at a half."""
    draw(tmp_path / "raw" / "like" / "a.png", shift=30)
    draw(tmp_path / "raw" / "like" / "b.png", shift=30, times=5)
    small, large = looked(tmp_path / "raw", tmp_path / "cache")
    assert isinstance(small, Seen)
    assert isinstance(large, Seen)
    assert small.size == (560, 512)
    assert large.size == (2800, 2560)
    one, other = hand_of(small).landmarks, hand_of(large).landmarks / 5
    assert np.abs(one - other)[:, :2].max() < 10
    assert (one[:, :2] >= 0).all()
    assert (one[:, :2] <= small.size).all()


def test_what_was_found_is_kept_by_content(tmp_path: Path) -> None:
    """A photo under another name is known; the numbers are the same to the last bit."""
    photo = draw(tmp_path / "raw" / "like" / "a.png")
    (first,) = looked(tmp_path / "raw", tmp_path / "cache")
    photo.rename(photo.with_name("b.png"))
    line = kept(tmp_path / "cache").read_bytes()
    (again,) = looked(tmp_path / "raw", tmp_path / "cache")
    assert (hand_of(first).landmarks == hand_of(again).landmarks).all()
    assert kept(tmp_path / "cache").read_bytes() == line, "it was looked for once more"


def test_the_cache_is_asked_before_the_networks(tmp_path: Path) -> None:
    """What a whole line of it says is believed."""
    draw(tmp_path / "raw" / "like" / "a.png")
    looked(tmp_path / "raw", tmp_path / "cache")
    path = kept(tmp_path / "cache")
    content, size, hands = json.loads(path.read_bytes().partition(b" ")[2])
    hands[0][1] = "Neither"
    text = json.dumps([content, size, hands]).encode()
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    (seen,) = looked(tmp_path / "raw", tmp_path / "cache")
    assert hand_of(seen).handedness == "Neither"


@pytest.mark.parametrize("harm", ["cut", "altered", "binary"])
def test_a_line_that_is_not_whole_is_not_believed(tmp_path: Path, harm: str) -> None:
    """A run that was killed loses the photos in flight and nothing else."""
    for number in range(3):
        draw(tmp_path / "raw" / "like" / f"{number}.png", shift=number * 7)
    first = looked(tmp_path / "raw", tmp_path / "cache")
    path = kept(tmp_path / "cache")
    data = path.read_bytes()
    harmed = {"cut": data[:-40], "altered": data.replace(b"0.", b"1."), "binary": data + b"\xff\n"}
    path.write_bytes(harmed[harm])
    again = looked(tmp_path / "raw", tmp_path / "cache")
    assert [hand_of(each).landmarks.tolist() for each in again] == [
        hand_of(each).landmarks.tolist() for each in first
    ]
    lines = path.read_bytes().splitlines()
    assert sum(line[:8] == b"%08x" % zlib.crc32(line[9:]) for line in lines) == 3


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A damaged photo, a web page that was saved as one, a type that mien does not read."""
    good = draw(tmp_path / "raw" / "like" / "d.png")
    data = good.read_bytes()
    for name, content in (
        ("a.png", data[: len(data) // 2]),
        ("b.jpg", b"<html>"),
        ("c.bmp", b"BM"),
    ):
        good.with_name(name).write_bytes(content)
    cut, page, bmp, fine = looked(tmp_path / "raw", tmp_path / "cache")
    assert "cut off or damaged" in str(cut)
    assert "not a JPEG, PNG or WEBP" in str(page)
    assert "not a JPEG, PNG or WEBP" in str(bmp)
    assert isinstance(fine, Seen)


def test_no_photos_need_no_networks(tmp_path: Path) -> None:
    """Whoever has none waits for nothing."""
    assert look([], tmp_path / "cache") == []
    assert not (tmp_path / "cache").exists()


def seen(*points: np.ndarray) -> Seen:
    return Seen((600, 600), tuple(Hand(each, "Right", 1.0) for each in points))


def test_of_two_hands_the_one_like_the_label_is_meant() -> None:
    """A resting hand is often the larger one; a left hand counts as a right one."""
    hands, labels = landmark_rows(12, 0)
    side = np.sign(hands[:, 17, 0] - hands[:, 5, 0])
    hands[:, :, 0] *= side[:, None]
    by_label = {label: hands[[each == label for each in labels]] for label in LABELS}
    three, ok = by_label["three"], by_label["ok"][0] * 3
    mirrored = three[1] * [-1, 1, 1]
    both = [seen(ok, three[0]), seen(mirrored, ok)]
    alone = [seen(hand) for hand in three[2:]]
    first, second, *_ = chosen(["three"] * (len(alone) + 2), both + alone)
    assert first is not None
    assert (first.landmarks == three[0]).all()
    assert second is not None
    assert (second.landmarks == mirrored).all()


def test_with_too_few_alike_the_larger_hand_is_meant() -> None:
    """Nothing is learned from one photo."""
    hands, _ = landmark_rows(1, 0)
    found = chosen(["like", "like"], [seen(hands[0], hands[1] * 2), seen(hands[0])])
    assert found[0] is not None
    assert found[0].landmarks[0, 0] == hands[1][0, 0] * 2


def test_a_photo_without_a_hand_has_none() -> None:
    """And neither has one that cannot be read."""
    assert chosen(["like", "like"], [Seen((9, 9), ()), "damaged"]) == [None, None]


def test_hands_of_real_photos_are_found(real_data: Path, tmp_path: Path) -> None:
    """One photo of each gesture."""
    every = find(real_data / "gesture" / "photos", LABELS)
    some = list({photo.label: photo for photo in every if photo.label in LABELS}.values())
    found = look(some, tmp_path)
    assert len(found) == 18
    assert sum(isinstance(each, Seen) and bool(each.hands) for each in found) >= 16
