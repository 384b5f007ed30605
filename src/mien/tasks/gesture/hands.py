"""Hands of a picture: what the landmark network's answer means, and which two are one.

Knows numbers and geometry, no network library. The numbers are those of MediaPipe's published graph
(mediapipe/tasks/cc/vision/hand_landmarker/hand_landmarks_detector_graph.cc) and, for hands that are
one, of hand_landmarks_deduplication_calculator.cc; how it is computed is this file's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .crops import Floats, Square

SIDE = 224
"""Width and height of what the landmark network sees, in pixels."""
MIN_PRESENCE = 0.5
"""A palm with less is none; the default of MediaPipe's HandLandmarker."""
DEPTH = 0.4
"""The network's depths are divided by it."""
WRIST, INDEX_KNUCKLE, SMALL_KNUCKLE = 0, 5, 17
NEAR, NEAR_POINTS, OVERLAP = 0.2, 10, 0.2
"""Two hands are one if this many points lie nearer than this share of the larger palm, and if
their boxes overlap (intersection over union) by more than this."""

_STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
"""The joints that tell where a hand is next: the wrist and the inner ones, as
hand_landmarks_to_rect_calculator.cc has them."""
_INDEX, _MIDDLE, _RING = 6, 10, 14
"""Their mean, seen from the wrist, tells how a hand is turned; the second counts twice."""
ROOM, AHEAD = 2.0, 0.1
"""Sides of the next square per longer side of those joints' box, and heights of that box by which
its middle lies nearer the fingers."""


@dataclass(frozen=True)
class Hand:
    """One hand of a picture."""

    points: NDArray[np.float64]
    """(21, 3): x and y in pixels of the picture, z in the same unit, negative to the camera."""
    handedness: str
    """Left or Right, as the person whose hand it is would say."""
    score: float
    """How sure the detector is of the handedness, 0..1."""


def square_after(points: NDArray[np.float64]) -> Square:
    """The square in which the hand with these points, (21, 2 or 3) pixels, is looked for next.

    Upright along the hand, around all joints but the outer ones of the fingers; as MediaPipe makes
    it while it follows a hand.
    """
    turn = _turn(points)
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = points[_STEADY, 0], points[_STEADY, 1]
    across, along = x * cos + y * sin, y * cos - x * sin
    width, height = np.ptp(across), np.ptp(along)
    right = (across.min() + across.max()) / 2
    down = (along.min() + along.max()) / 2 - AHEAD * height
    return Square(
        float(right * cos - down * sin),
        float(right * sin + down * cos),
        float(max(width, height) * ROOM),
        turn,
    )


def read(points: Floats, right: float, square: Square) -> Hand:
    """The hand that the landmark network found in a square of a picture.

    Args:
        points: (63,) x, y, z of 21 points, in pixels of SIDE.
        right: how sure the network is that it is a right hand, 0..1.
        square: what the network saw.
    """
    placed = square.place(points.reshape(21, 3) / (SIDE, SIDE, SIDE * DEPTH))
    return Hand(placed, "Right" if right > 0.5 else "Left", max(right, 1 - right))


def distinct(hands: Sequence[Hand]) -> list[Hand]:
    """The hands without those that are one with an earlier hand."""
    kept: list[Hand] = []
    for hand in hands:
        if not any(_one(hand.points[:, :2], other.points[:, :2]) for other in kept):
            kept.append(hand)
    return kept


def _turn(points: NDArray[np.float64]) -> float:
    """Radians by which a hand is turned, clockwise, from one whose fingers point up."""
    tip = (points[_INDEX, :2] + points[_RING, :2]) / 4 + points[_MIDDLE, :2] / 2
    x, y = tip - points[WRIST, :2]
    return float(np.arctan2(x, -y))


def _one(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    reach = NEAR * max(_palm(first), _palm(second))
    near = np.linalg.norm(first - second, axis=1) < reach
    return int(near.sum()) >= NEAR_POINTS and _overlap(first, second) > OVERLAP


def _palm(points: NDArray[np.float64]) -> float:
    """The longest side of the triangle of wrist, index knuckle and small knuckle."""
    corners = points[[WRIST, INDEX_KNUCKLE, SMALL_KNUCKLE]]
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).max())


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    low = np.maximum(first.min(axis=0), second.min(axis=0))
    shared = np.maximum(np.minimum(first.max(axis=0), second.max(axis=0)) - low, 0).prod()
    union = np.ptp(first, axis=0).prod() + np.ptp(second, axis=0).prod() - shared
    return float(shared / union) if union > 0 else 0.0
