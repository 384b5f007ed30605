"""Hands of a picture: decoding of the landmark network's output, and removal of duplicates.

Geometry only, no network library. The constants are those of MediaPipe's published graph
(mediapipe/tasks/cc/vision/hand_landmarker/hand_landmarks_detector_graph.cc) and, for duplicates, of
hand_landmarks_deduplication_calculator.cc; the code is this file's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien import boxes

from .crop import Floats, RotatedRoi

INPUT_SIDE = 224
"""Width and height of the landmark network's input, in pixels."""
MIN_PRESENCE = 0.5
"""A region with a lower probability holds no hand; the default of MediaPipe's HandLandmarker."""
DEPTH_SCALE = 0.4
"""The network's depths are divided by it."""
WRIST, INDEX_KNUCKLE, LITTLE_KNUCKLE = 0, 5, 17
DUPLICATE_DISTANCE, DUPLICATE_LANDMARKS, DUPLICATE_IOU = 0.2, 10, 0.2
"""Two hands are duplicates where this many landmarks are closer than this fraction of the larger
palm, and the IoU of their boxes is larger than this."""


@dataclass(frozen=True)
class Hand:
    """One hand of a picture."""

    landmarks: NDArray[np.float64]
    """(21, 3): x and y in pixels of the picture, z in the same unit, negative to the camera."""
    handedness: str
    """Left or Right, from the person's own point of view."""
    score: float
    """Probability of the handedness, 0..1."""
    roi: RotatedRoi | None = None
    """The region of the picture in which the landmark network saw it."""


def decode(raw_landmarks: Floats, right_score: float, roi: RotatedRoi) -> Hand:
    """Decode the landmark network's output for a region of a picture.

    Args:
        raw_landmarks: (63,) x, y, z of 21 landmarks, in pixels of the input.
        right_score: probability that it is a right hand, 0..1.
        roi: the region that was the network's input.
    """
    scale = (INPUT_SIDE, INPUT_SIDE, INPUT_SIDE * DEPTH_SCALE)
    landmarks = roi.to_picture(raw_landmarks.reshape(21, 3) / scale)
    handedness = "Right" if right_score > 0.5 else "Left"
    return Hand(landmarks, handedness, max(right_score, 1 - right_score), roi)


def remove_duplicates(hands: Sequence[Hand]) -> list[Hand]:
    """Return the hands without duplicates of an earlier one."""
    unique: list[Hand] = []
    for hand in hands:
        if not any(_is_duplicate(hand, other) for other in unique):
            unique.append(hand)
    return unique


def _is_duplicate(hand: Hand, other: Hand) -> bool:
    first, second = hand.landmarks[:, :2], other.landmarks[:, :2]
    max_distance = DUPLICATE_DISTANCE * max(_palm_size(first), _palm_size(second))
    close = np.linalg.norm(first - second, axis=1) < max_distance
    if int(close.sum()) < DUPLICATE_LANDMARKS:
        return False
    iou = boxes.iou(boxes.enclosing(first), boxes.enclosing(second)[None])
    return bool(iou[0] > DUPLICATE_IOU)


def _palm_size(points: NDArray[np.float64]) -> float:
    """The longest side of the triangle of wrist, index knuckle and little knuckle."""
    corners = points[[WRIST, INDEX_KNUCKLE, LITTLE_KNUCKLE]]
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).max())
