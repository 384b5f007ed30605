"""Decoding of the landmark network's output, and duplicates."""

import numpy as np
import pytest

from mien.mediapipe import hand_landmarks
from mien.mediapipe.crop import RotatedRoi
from mien.mediapipe.hand_landmarks import Hand, remove_duplicates

FINGER = np.array([[0, 0], [0, -30], [0, -50], [0, -65]])
POINTS = np.zeros((21, 3))
"""A flat hand: the wrist at the origin, five fingers that point up."""
for _number in range(5):
    POINTS[1 + 4 * _number : 5 + 4 * _number, :2] = np.add(FINGER, (20 * _number - 40, -80))


def hand(points: np.ndarray) -> Hand:
    return Hand(points, "Left", 0.9)


def test_landmarks_are_mapped_into_the_picture() -> None:
    """The centre stays the centre; depth is scaled like the rest and divided by its scale."""
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = hand_landmarks.INPUT_SIDE / 2
    points[8] = [
        hand_landmarks.INPUT_SIDE,
        hand_landmarks.INPUT_SIDE / 2,
        hand_landmarks.INPUT_SIDE * 0.4,
    ]
    decoded = hand_landmarks.decode(points.ravel(), 0.2, RotatedRoi(100, 60, 40, np.pi / 2))
    np.testing.assert_allclose(decoded.landmarks[0], (100, 60, 0), atol=1e-4)
    np.testing.assert_allclose(decoded.landmarks[8], (100, 80, 40), atol=1e-4)


@pytest.mark.parametrize(("right", "name", "score"), [(0.2, "Left", 0.8), (0.7, "Right", 0.7)])
def test_the_score_belongs_to_the_handedness(right: float, name: str, score: float) -> None:
    """Never below a half."""
    decoded = hand_landmarks.decode(np.zeros(63, np.float32), right, RotatedRoi(0, 0, 1))
    assert (decoded.handedness, decoded.score) == (name, pytest.approx(score))


def test_duplicates_are_removed() -> None:
    """The first remains; one elsewhere, or of another size, is another hand."""
    size = np.ptp(POINTS[:, :2], axis=0).max()
    near = hand(POINTS + np.array([0.02, 0, 0]) * size)
    beside = hand(POINTS + np.array([2, 0, 0]) * size)
    double = hand((POINTS - POINTS.mean(axis=0)) * 3 + POINTS.mean(axis=0))
    first = hand(POINTS)
    assert remove_duplicates([first, near]) == [first]
    assert remove_duplicates([near, first]) == [near]
    assert remove_duplicates([first, beside]) == [first, beside]
    assert remove_duplicates([first, double]) == [first, double]
    assert remove_duplicates([first, beside, near]) == [first, beside]
    assert remove_duplicates([]) == []


def test_hands_without_extent_are_no_error() -> None:
    """Points that coincide have no box to overlap."""
    points = hand(np.ones((21, 3)))
    assert remove_duplicates([points, points]) == [points, points]
