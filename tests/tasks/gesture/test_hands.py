"""What the landmark network says, in the picture; and when two hands are one."""

import numpy as np
import pytest

from mien.tasks.gesture import hands
from mien.tasks.gesture.crops import Square
from mien.tasks.gesture.hands import Hand
from mien.tasks.gesture.sample import landmark_rows

POINTS = np.asarray(landmark_rows(1, 3)[0][0])
"""A hand of the sample."""


def hand(points: np.ndarray) -> Hand:
    return Hand(points, "Left", 0.9)


def test_points_are_placed_in_the_picture() -> None:
    """The middle is the middle; depth is scaled like the rest and divided by the network's unit."""
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = hands.SIDE / 2
    points[8] = [hands.SIDE, hands.SIDE / 2, hands.SIDE * 0.4]
    found = hands.read(points.ravel(), 0.2, Square(100, 60, 40, np.pi / 2))
    np.testing.assert_allclose(found.points[0], (100, 60, 0), atol=1e-4)
    np.testing.assert_allclose(found.points[8], (100, 80, 40), atol=1e-4)


@pytest.mark.parametrize(("right", "name", "score"), [(0.2, "Left", 0.8), (0.7, "Right", 0.7)])
def test_the_score_is_that_of_the_side_that_is_named(right: float, name: str, score: float) -> None:
    """Never below a half."""
    found = hands.read(np.zeros(63, np.float32), right, Square(0, 0, 1))
    assert (found.handedness, found.score) == (name, pytest.approx(score))


def test_a_hand_found_twice_is_one() -> None:
    """The first is kept; one that lies elsewhere, or is of another size, is another hand."""
    size = np.ptp(POINTS[:, :2], axis=0).max()
    near = hand(POINTS + np.array([0.02, 0, 0]) * size)
    beside = hand(POINTS + np.array([2, 0, 0]) * size)
    double = hand((POINTS - POINTS.mean(axis=0)) * 3 + POINTS.mean(axis=0))
    first = hand(POINTS)
    assert hands.distinct([first, near]) == [first]
    assert hands.distinct([near, first]) == [near]
    assert hands.distinct([first, beside]) == [first, beside]
    assert hands.distinct([first, double]) == [first, double]
    assert hands.distinct([first, beside, near]) == [first, beside]
    assert hands.distinct([]) == []


def test_hands_without_extent_are_no_error() -> None:
    """Points that coincide have no box to overlap."""
    points = hand(np.ones((21, 3)))
    assert hands.distinct([points, points]) == [points, points]
