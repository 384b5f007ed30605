"""The hand landmarker detects the hands that MediaPipe detects, with the same networks."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_picture import hand_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.images import Pixels
from mien.mediapipe import weights
from mien.mediapipe.crop import full_picture_roi
from mien.mediapipe.hand_landmarker import HandLandmarker, square_around, tiles
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.palm_detector import Palm
from mien.tasks.gesture import landmarks, table
from mien.tasks.gesture.params import HAGRID_LABELS


@dataclass(frozen=True)
class Pair:
    """mien's landmarker and MediaPipe's, with the same networks."""

    own: HandLandmarker
    mediapipe: Any
    """The bench's `Reference`: it has the methods of the landmarker."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    # Here and not above: tests of a task are also collected where there is no bench.
    from bench.reference import Reference

    both = Pair(HandLandmarker.from_tflite(weights.read_hand_networks()), Reference())
    yield both
    both.mediapipe.close()


def distances(hands: Sequence[Hand], expected: Sequence[Hand]) -> list[float]:
    """Mean distance of each hand's landmarks from MediaPipe's, in sizes of the hand."""
    return [
        float(
            np.linalg.norm((one.landmarks - other.landmarks)[:, :2], axis=1).mean()
            / np.linalg.norm(np.ptp(other.landmarks[:, :2], axis=0))
        )
        for one, other in zip(hands, expected, strict=True)
    ]


def test_drawn_hands_equal_mediapipes(pair: Pair) -> None:
    """Five gestures, upright, rotated, and two in one picture: landmarks, handedness, scores."""
    drawn = [hand_picture(label, 3) for label in HAGRID_LABELS[:10:2]]
    both = Image.new("RGB", (1024, 512))
    both.paste(drawn[0], (0, 0))
    both.paste(drawn[2], (512, 0))
    rotated = [picture.transpose(Image.Transpose.ROTATE_90) for picture in drawn[:3]]
    far: list[float] = []
    for picture in (*drawn, *rotated, both, drawn[3].resize((400, 700))):
        own, expected = (each.detect(np.asarray(picture)) for each in (pair.own, pair.mediapipe))
        assert [each.handedness for each in own] == [each.handedness for each in expected]
        assert all(
            abs(one.score - other.score) < 0.1 for one, other in zip(own, expected, strict=True)
        )
        far += distances(own, expected)
    assert len(far) == 11
    assert np.median(far) < 0.005
    assert max(far) < 0.05


def test_depth_is_mediapipes(pair: Pair) -> None:
    """In the same unit, with the same sign."""
    picture = np.asarray(hand_picture("like", 1))
    (own,), (expected,) = pair.own.detect(picture), pair.mediapipe.detect(picture)
    size = np.linalg.norm(np.ptp(expected.landmarks[:, :2], axis=0))
    assert np.abs(own.landmarks[:, 2] - expected.landmarks[:, 2]).max() < 0.02 * size
    assert np.ptp(expected.landmarks[:, 2]) > 0.1 * size


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 700, 3), (700, 1, 3), (64, 64, 3)])
def test_an_empty_picture_has_no_hands(pair: Pair, shape: tuple[int, int, int]) -> None:
    """Pictures of any shape, without an error."""
    assert pair.own.detect(np.full(shape, 99, np.uint8)) == []


@pytest.mark.long
def test_hands_of_real_photos_equal_mediapipes(pair: Pair, real_data: Path) -> None:
    """278 photos: as many hands on 98 %, landmarks within 1 % of the hand, the same gestures."""
    paths = sorted((real_data / "gesture" / "photos").rglob("*.*"))
    classify = fit_classifier(real_data / "gesture" / "landmarks_iti.csv")
    same, far, agree = [], [], []
    for path in paths:
        pixels: Pixels = np.asarray(Image.open(path).convert("RGB"))
        own, expected = pair.own.detect_once(pixels), pair.mediapipe.detect(pixels)
        same.append(len(own) == len(expected))
        agree.append(classify(own) == classify(expected))
        if same[-1]:
            far += distances(own, expected)
    assert len(same) == 278
    assert np.mean(same) >= 0.98
    assert len(far) > 250
    assert np.median(far) < 0.01
    assert np.mean(agree) >= 0.99


def fit_classifier(path: Path) -> Callable[[Sequence[Hand]], str]:
    """A classifier of the hand with the largest margin, fitted to a table of real hands."""
    from sklearn.svm import SVC

    rows = table.read_landmarks(path, (), Counter())
    points = landmarks.to_common_frame(rows.landmarks, "wrist_relative", rows.image_sizes, 1.0)
    model = SVC(C=10).fit(landmarks.normalize(points), rows.labels)

    def classify(hands: Sequence[Hand]) -> str:
        if not hands:
            return "no hand"
        features = landmarks.normalize(np.stack([hand.landmarks for hand in hands]))
        scores = model.decision_function(features)
        clear = np.ptp(np.sort(scores, axis=1)[:, -2:], axis=1)
        return str(model.classes_[scores[clear.argmax()].argmax()])

    return classify


def test_a_small_hand_is_detected_by_the_second_search(pair: Pair) -> None:
    """In a corner, where the whole picture shows too little; in pixels of the whole picture."""
    hand = hand_picture("like", 0)
    picture = Image.new("RGB", (hand.width * 5, hand.height * 5), hand.getpixel((2, 2)))
    picture.paste(hand, (hand.width * 4, hand.height * 4))
    pixels = np.asarray(picture)
    assert pair.own.detect_once(pixels) == []
    assert pair.mediapipe.detect(pixels) == []
    (own,), (expected,) = pair.own.detect(pixels), pair.mediapipe.detect(np.asarray(hand))
    shift = np.array([hand.width * 4, hand.height * 4, 0])
    assert distances([own], [replace(expected, landmarks=expected.landmarks + shift)])[0] < 0.05


def test_tiles_cover_the_whole_picture() -> None:
    """Every pixel lies in a tile, and every tile in the picture."""
    for width, height in ((512, 683), (683, 512), (400, 400), (3000, 200)):
        covered = np.zeros((height, width), bool)
        for left, top, side in tiles(width, height):
            assert left >= 0 <= top
            assert left + side <= width
            assert top + side <= height
            covered[top : top + side, left : left + side] = True
        assert covered.all() or max(width, height) > 2 * min(width, height)


@given(st.integers(64, 900), st.integers(64, 900), st.floats(0, 1), st.floats(0, 1))
def test_the_square_around_a_palm_lies_in_the_picture(
    width: int, height: int, x: float, y: float
) -> None:
    """And holds the palm, where that is in the picture."""
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top, side = square_around(Palm(np.full((9, 2), (x, y)), 0.2), pixels)
    assert 0 <= left <= width - side
    assert 0 <= top <= height - side
    at = full_picture_roi(pixels).to_picture(np.array([x, y]))
    if (at >= 0).all() and (at <= (width, height)).all():
        assert left - 1 <= at[0] <= left + side + 1
        assert top - 1 <= at[1] <= top + side + 1


def test_the_reference_sees_the_pixels_of_a_view(pair: Pair) -> None:
    """A mirrored view as its copy: MediaPipe itself would read it without its strides."""
    mirrored = np.asarray(hand_picture("like", 1))[:, ::-1]
    (of_view,), (of_copy,) = map(pair.mediapipe.detect, (mirrored, mirrored.copy()))
    (own,) = pair.own.detect_once(mirrored)
    assert distances([of_view], [of_copy]) == [0]
    assert distances([own], [of_view])[0] < 0.05


def test_a_service_needs_neither_mediapipe_nor_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hands are detected where neither can be imported."""
    for name in ("mediapipe", "cv2", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    landmarker = HandLandmarker.from_tflite(weights.read_hand_networks())
    assert landmarker.detect(np.asarray(hand_picture("palm", 1)))
