"""The palm detector's geometry: its input, the decoding of its output, and the hand's region."""

import numpy as np
import pytest
from hand_picture import hand_picture
from hypothesis import given
from hypothesis import strategies as st

from mien.mediapipe import crop, palm_detector, ssd, weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.palm_detector import Palm

SIDES = st.integers(1, 700)


@pytest.fixture(scope="module")
def landmarker() -> HandLandmarker:
    return HandLandmarker.from_tflite(weights.read_hand_networks())


def palm_at(x: float, y: float, side: float = 20, score: float = 0.9) -> tuple[np.ndarray, float]:
    """Points and score of an upright palm around a position: fingers up, wrist down."""
    joints = [(0, 0.5), (-0.4, -0.4), (0, -0.5), (0.4, -0.4), (0.5, 0), (0.5, 0.3), (-0.5, 0.2)]
    points = np.array([(-0.5, -0.5), (0.5, 0.5), *joints]) * side + (x, y)
    return points, score


@given(SIDES, SIDES)
def test_the_input_is_the_picture_centred_on_black(width: int, height: int) -> None:
    """Each pixel shows the position that `full_picture_roi` maps it to; the edge fades to black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = np.linspace(1, 255, width), 255
    pixels[..., 1] = np.linspace(1, 255, height)[:, None]
    image, side = palm_detector.preprocess(pixels), palm_detector.INPUT_SIDE
    assert image.shape == (3, side, side)
    image = image.transpose(1, 2, 0)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=-1) / side
    x, y = np.moveaxis(crop.full_picture_roi(pixels).to_picture(grid), -1, 0)
    light = np.clip(x + 1, 0, 1) * np.clip(width - x, 0, 1)
    light *= np.clip(y + 1, 0, 1) * np.clip(height - y, 0, 1)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    np.testing.assert_allclose(image[..., 2], light, atol=1e-4)
    for colour, at, length in ((0, x, width), (1, y, height)):
        shown = np.interp(at[inside], np.arange(length), np.linspace(1, 255, length).astype(int))
        steepest = 254 / max(length - 1, 1) + 1
        rounding = 0.51 + steepest / 64  # of the colour, and of the place
        np.testing.assert_allclose(image[inside][:, colour] * 255, shown, atol=rounding)


def test_anchors_are_the_published_ones() -> None:
    """2,016: two in each cell of a grid of 24, six in each of a grid of 12; centres of cells."""
    anchors = ssd.anchor_centres(palm_detector.INPUT_SIDE)
    assert anchors.shape == (2016, 2)
    assert anchors[0].tolist() == anchors[1].tolist() == [0.5 / 24, 0.5 / 24]
    assert anchors[2].tolist() == [1.5 / 24, 0.5 / 24], "along the rows"
    assert len(np.unique(anchors[:1152], axis=0)) == 24 * 24
    assert len(np.unique(anchors[1152:], axis=0)) == 12 * 12
    np.testing.assert_allclose(anchors.mean(axis=0), 0.5)


def test_detections_are_decoded_relative_to_their_anchors() -> None:
    """Centre, size and keypoints count from the anchor, in pixels; low scores are dropped."""
    boxes, scores = np.zeros((2016, 18), np.float32), np.full((2016, 1), -9, np.float32)
    at = 700
    boxes[at] = [9.6, -9.6, 19.2, 38.4, *range(14)]
    scores[at] = 2.0
    (palm,) = palm_detector.decode(boxes, scores)
    x, y = ssd.anchor_centres(palm_detector.INPUT_SIDE)[at]
    np.testing.assert_allclose(palm.points[0], (x, y - 0.15), atol=1e-6)
    np.testing.assert_allclose(palm.points[1], (x + 0.1, y + 0.05), atol=1e-6)
    joints = (palm.points[2:] - (x, y)) * palm_detector.INPUT_SIDE
    np.testing.assert_allclose(joints.ravel(), range(14), atol=1e-4)
    assert palm.score == pytest.approx(1 / (1 + np.exp(-2)))
    scores[at] = -0.01
    assert palm_detector.decode(boxes, scores) == []


def test_palms_of_one_hand_are_merged() -> None:
    """Box and keypoints are means weighted by score; a box of another palm does not count."""
    first, second, far = palm_at(50, 50)[0], palm_at(53, 50)[0], palm_at(150, 50)[0]
    detections = np.array([first, far, second]).reshape(3, 18)
    one, other = palm_detector.suppress(detections, np.array([0.9, 0.8, 0.45]))
    np.testing.assert_allclose(one.points, (2 * first + second) / 3)
    np.testing.assert_allclose(other.points, far)
    assert (one.score, other.score) == (0.9, 0.8)


@given(st.floats(0, 400), st.floats(0, 400), st.floats(1, 100), st.floats(-3.1, 3.1))
def test_the_hand_region_follows_the_palm(x: float, y: float, side: float, turn: float) -> None:
    """Larger and nearer the fingers; moved, scaled and rotated as the palm is."""
    points, _ = palm_at(0, 0, 1)
    own = palm_detector.hand_roi(Palm(points, 1))
    assert own.side == pytest.approx(2.6)
    assert np.hypot(own.x, own.y) == pytest.approx(0.5)
    moved = palm_detector.hand_roi(Palm(points * side + (x, y), 1))
    assert moved.side == pytest.approx(own.side * side)
    assert (moved.x, moved.y) == pytest.approx((own.x * side + x, own.y * side + y), abs=1e-6)
    assert moved.rotation == pytest.approx(own.rotation)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = points.copy()
    turned[2:] = points[2:] @ np.array([[cos, sin], [-sin, cos]])
    aside = palm_detector.hand_roi(Palm(turned, 1))
    assert np.cos(aside.rotation - own.rotation - turn) == pytest.approx(1)
    assert (aside.x, aside.y) == pytest.approx(
        (own.x * cos - own.y * sin, own.x * sin + own.y * cos), abs=1e-6
    )


def test_the_palm_of_a_hand_is_the_one_that_was_detected(landmarker: HandLandmarker) -> None:
    """About: its region moves by a sixth of its side at most, and turns by 20 degrees."""
    for label in ("like", "fist", "call"):
        pixels = np.asarray(hand_picture(label))
        palms = palm_detector.decode(*landmarker.palm_network(palm_detector.preprocess(pixels)))
        palm = palm_detector.to_picture(palms[0], crop.full_picture_roi(pixels))
        expected = palm_detector.hand_roi(palm)
        hand = landmarker.detect_in_roi(pixels, expected)
        assert hand is not None
        roi = palm_detector.hand_roi(palm_detector.palm_of(hand.landmarks))
        assert roi.is_near(expected)
        assert abs(roi.x - expected.x) + abs(roi.y - expected.y) < expected.side / 6
        assert roi.side == pytest.approx(expected.side, rel=0.25)
        assert np.cos(roi.rotation - expected.rotation) > np.cos(np.radians(20))
