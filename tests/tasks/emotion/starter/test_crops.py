"""Promises of predictions with a starter bundle: crops, boxes, and pictures without a face."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import RequestError
from mien.mediapipe import networks
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.mediapipe.tflite_to_onnx import to_onnx
from mien.model import bundle, runtime
from mien.model.runtime import Model
from mien.task import Request
from mien.tasks.emotion.predict import detect_many
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.emotion.starter import crops, face_api

from . import package


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, detector: bytes) -> Model:
    """A starter bundle with random weights behind the real face detector."""
    folder = tmp_path_factory.mktemp("starter")
    (folder / "model.onnx").write_bytes(face_api.to_onnx(package.draw().tensors))
    (folder / crops.FACE_DETECTOR).write_bytes(to_onnx(detector))
    preprocessing = face_api.SPEC.as_dict()
    bundle.write(folder, bundle.describe("emotion", face_api.LABELS, "toy", preprocessing))
    return runtime.load(folder)


def picture() -> np.ndarray:
    return np.asarray(draw_face_image("happy").convert("RGB"))


def test_a_face_is_named_by_the_labels_of_the_bundle(starter: Model, detector: bytes) -> None:
    """Seven scores that sum to one; the box is that of the face detector, inside the picture."""
    pixels = picture()
    (prediction,) = detect_many([Request(image=pixels)], starter)
    best = prediction.best
    assert best is not None
    assert best.box is not None
    assert tuple(best.scores) == face_api.LABELS
    assert abs(sum(best.scores.values()) - 1) < 1e-4
    face = FaceDetector(networks.from_tflite(detector)).detect(pixels, PADDING_SCALES)[0]
    assert np.allclose(best.box, face.head_box, atol=1)
    assert prediction.input_stats["subjects"] == 1


def without_faces() -> Iterator[tuple[str, np.ndarray]]:
    """Flat colours, noise and textures of two sizes."""
    chance = np.random.default_rng(0)
    for side in (96, 320):
        for colour in ((0, 0, 0), (255, 255, 255), (200, 60, 60), (226, 176, 146)):
            yield f"flat {colour} {side}", np.full((side, side, 3), colour, np.uint8)
        yield f"noise {side}", chance.integers(0, 256, (side, side, 3)).astype(np.uint8)
        for cells in (4, 12, 40):
            small = Image.fromarray(chance.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
            soft = small.resize((side, side), Image.Resampling.BICUBIC)
            yield f"soft noise of {cells} cells {side}", np.asarray(soft)
        x, y = np.meshgrid(np.arange(side), np.arange(side))
        for name, plane in (("stripes", x // 8 % 2 * 255), ("checks", (x + y) // 12 % 2 * 255)):
            yield f"{name} {side}", np.repeat(plane[:, :, None], 3, axis=2).astype(np.uint8)
        fade = np.stack([x * 255 // side, y * 255 // side, 255 - x * 255 // side], axis=2)
        yield f"fade {side}", fade.astype(np.uint8)


@pytest.mark.parametrize("pixels", [pytest.param(each, id=name) for name, each in without_faces()])
def test_colours_noise_and_textures_show_no_face(starter: Model, pixels: np.ndarray) -> None:
    """Whatever the classifier would say of them."""
    (prediction,) = detect_many([Request(image=pixels)], starter)
    assert prediction.outcome == "no_face"


def test_several_requests_get_the_answers_of_single_ones(starter: Model) -> None:
    """The classifier runs once for all; a picture without a face is among them."""
    blank = np.full((200, 300, 3), 90, np.uint8)
    requests = [Request(image=each) for each in (picture(), blank, picture()[:, ::-1].copy())]
    together = detect_many(requests, starter)
    alone = [detect_many([each], starter)[0] for each in requests]
    assert [each.outcome for each in together] == [each.outcome for each in alone]
    assert together[1].outcome == "no_face"
    assert together[1].detections == ()
    for one, other in zip(together, alone, strict=True):
        if one.best and other.best:
            assert one.best.scores == pytest.approx(other.best.scores, abs=1e-6)


def test_boxes_are_in_pixels_of_the_picture_as_sent(starter: Model) -> None:
    """A photo that was read at half size has boxes twice as large."""
    pixels = picture()
    sent = (pixels.shape[1] * 2, pixels.shape[0] * 2)
    (full,) = detect_many([Request(image=pixels)], starter)
    (reduced,) = detect_many([Request(image=pixels, sent=sent)], starter)
    assert full.best
    assert full.best.box
    assert reduced.best
    assert reduced.best.box == pytest.approx([2 * edge for edge in full.best.box], abs=0.05)


def test_a_request_without_a_picture_is_refused(starter: Model) -> None:
    """As by any model of emotions."""
    request = Request(body=face_api._Group(weights=(), paths=()))
    with pytest.raises(RequestError, match="expects an image"):
        detect_many([request], starter)


def test_the_crop_is_a_square_around_the_box_black_beyond_the_border() -> None:
    """The longer side counts, and nothing is distorted."""
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:] = (200, 100, 50)
    spec = face_api.SPEC
    values = crops.crop_input(pixels, (50, 20, 80, 80), spec)  # a square from 35 to 95
    restored = values * spec.divisor + np.asarray(spec.mean)
    assert values.shape == (112, 112, 3)
    assert np.allclose(restored, (200, 100, 50), atol=0.01)
    outside = crops.crop_input(pixels, (60, 0, 120, 60), spec)
    restored = outside * spec.divisor + np.asarray(spec.mean)
    assert np.allclose(restored[:, :70], (200, 100, 50), atol=0.01)
    assert np.allclose(restored[:, 80:], 0, atol=0.01)
    grey = crops.CropSpec("model.onnx", 8, "grey", (127.5,), 127.5)
    expected = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[0, 0] / 127.5 - 1
    assert crops.crop_input(pixels, (0, 0, 50, 50), grey) == pytest.approx(expected, abs=1e-6)


def test_a_spec_survives_its_bundle(starter: Model, tmp_path: Path) -> None:
    """JSON values in, the same spec out."""
    assert crops.CropSpec.from_preprocessing(starter.preprocessing) == face_api.SPEC
