"""Palm detection: the network's input, its detections, and the region of the hand around a palm.

Geometry only, no network library. The constants are those of MediaPipe's published graph
(mediapipe/tasks/cc/vision/hand_detector/hand_detector_graph.cc) and of the calculators named there;
the code is this file's own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien import boxes
from mien.images import Pixels

from . import ssd
from .crop import Floats, RotatedRoi, sample_bilinear

INPUT_SIDE = 192
"""Width and height of the network's input, in pixels."""
MIN_SCORE = 0.5
"""Palms with a lower score are dropped; the default of MediaPipe's HandLandmarker."""
IOU_THRESHOLD = 0.3
"""Boxes with a larger IoU show the same palm."""
WRIST, MIDDLE_KNUCKLE = 2, 4
"""Indices of the points that give the rotation of the hand."""
TARGET_ANGLE = 90.0
"""Direction from wrist to knuckle in the hand's region, radians. The graph stores as radians what
are degrees elsewhere in MediaPipe: hands are rotated by 27 degrees. Not corrected here, so that
landmarks equal those of MediaPipe, with which public tables are made."""
ROI_SCALE, ROI_SHIFT = 2.6, 0.5
"""Side of the hand's region in longer sides of the palm's box, and its shift towards the fingers
in heights of that box."""

PALM_LANDMARKS = [0, 5, 9, 13, 17, 1, 2]
"""The landmarks of a hand that are the seven keypoints of its palm, in their order."""
PALM_SIDE = 1.04
"""Side of a palm's box in longer sides of the box around these; median of drawn hands and photos.
"""


@dataclass(frozen=True)
class Palm:
    """One detected palm, in pixels of the picture or in fractions of the network's input."""

    points: NDArray[np.float64]
    """(9, 2): the box's upper left and lower right corner, then seven keypoints."""
    score: float
    """0..1."""


def preprocess(pixels: Pixels) -> Floats:
    """Make the network's input of a picture (height, width, 3): (3, INPUT_SIDE, INPUT_SIDE), 0..1.

    The picture lies in the centre of a black square, not distorted.
    """
    longer = max(pixels.shape[:2])
    x, columns, x_weight = _map_axis(pixels.shape[1], longer)
    y, rows, y_weight = _map_axis(pixels.shape[0], longer)
    planes = np.zeros((3, INPUT_SIDE, INPUT_SIDE), np.float32)
    part = planes[:, rows, columns]
    part[:] = sample_bilinear(pixels, x[None, :], y[:, None])
    part *= y_weight[:, None]
    part *= x_weight
    return planes


def decode(raw_detections: Floats, raw_scores: Floats, min_score: float = MIN_SCORE) -> list[Palm]:
    """Decode the network's output to palms in fractions of its input, best score first.

    Args:
        raw_detections: (2016, 18) box centre, box size and seven keypoints; see `ssd.decode`.
        raw_scores: (2016, 1) logits.
        min_score: 0..1.
    """
    return suppress(*ssd.decode(raw_detections, raw_scores, INPUT_SIDE, min_score))


def suppress(detections: NDArray[np.float64], scores: NDArray[np.float64]) -> list[Palm]:
    """Merge detections (n, 18) of the same palm; scores (n,)."""
    merged, best_scores = boxes.weighted_nms(detections, scores, IOU_THRESHOLD)
    return [
        Palm(points.reshape(9, 2), float(score))
        for points, score in zip(merged, best_scores, strict=True)
    ]


def to_picture(palm: Palm, roi: RotatedRoi) -> Palm:
    """Map a palm from the network's input to pixels of the picture that lies in `roi`."""
    return Palm(roi.to_picture(palm.points), palm.score)


def palm_of(landmarks: NDArray[np.float64]) -> Palm:
    """The palm that the network would detect of a hand, about; landmarks (21, 2 or 3) in pixels.

    MediaPipe computes another region from landmarks, without the rotation of `TARGET_ANGLE`: the
    landmarks in it, and so the answers, would be less like those of single pictures.
    """
    points = landmarks[PALM_LANDMARKS, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    corner = (high - low).max() * PALM_SIDE / 2
    centre = (low + high) / 2
    return Palm(np.concatenate([[centre - corner, centre + corner], points]), 1.0)


def hand_roi(palm: Palm) -> RotatedRoi:
    """The region of the palm's hand, as input of the landmark network; all in pixels."""
    low, high = palm.points[:2]
    (width, height), (x, y) = high - low, (low + high) / 2
    direction = palm.points[MIDDLE_KNUCKLE] - palm.points[WRIST]
    rotation = TARGET_ANGLE - float(np.arctan2(-direction[1], direction[0]))
    rotation = (rotation + np.pi) % (2 * np.pi) - np.pi
    shift = height * ROI_SHIFT
    return RotatedRoi(
        float(x + shift * np.sin(rotation)),
        float(y - shift * np.cos(rotation)),
        float(max(width, height) * ROI_SCALE),
        rotation,
    )


def _map_axis(length: int, side: int) -> tuple[Floats, slice, Floats]:
    """Map one axis of the padded square to the picture.

    Returns:
        Positions in the picture in pixels, the slice of the square that they fill, and their
        weights 0..1: the picture's outermost pixels fade into the black.
    """
    positions = np.arange(INPUT_SIDE) * (side / INPUT_SIDE) - (side - length) / 2
    weights = np.clip(positions + 1, 0, 1) * np.clip(length - positions, 0, 1)
    inside = np.flatnonzero(weights)  # never empty: one position is the picture's centre
    part = slice(int(inside[0]), int(inside[-1]) + 1)
    return positions[part].astype(np.float32), part, weights[part].astype(np.float32)
