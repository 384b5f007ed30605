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


@dataclass(frozen=True)
class Hand:
    """One hand of a picture."""

    points: NDArray[np.float64]
    """(21, 3): x and y in pixels of the picture, z in the same unit, negative to the camera."""
    handedness: str
    """Left or Right, as the person whose hand it is would say."""
    score: float
    """How sure the detector is of the handedness, 0..1."""


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
