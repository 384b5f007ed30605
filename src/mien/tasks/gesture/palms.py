"""What the palm detector sees of a picture, which palms its answer means, and where hands then lie.

Knows numbers and geometry, no network library. The numbers are those of MediaPipe's published graph
(mediapipe/tasks/cc/vision/hand_detector/hand_detector_graph.cc) and of the calculators named there;
how it is computed is this file's own.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mien.images import Pixels

from . import crops
from .crops import Floats, Square

SIDE = 192
"""Width and height of what the detector sees, in pixels."""
GRIDS = ((8, 2), (16, 6))
"""Strides in pixels, and anchors in each place. The graph's four layers have the strides 8, 16, 16
and 16 with two anchors each, and layers of one stride share their places. Anchors have no size."""
MIN_SCORE = 0.5
"""Less sure palms are dropped; the default of MediaPipe's HandLandmarker."""
MIN_OVERLAP = 0.3
"""Boxes with a larger intersection over union are of one palm."""
WRIST, MIDDLE_KNUCKLE = 2, 4
"""The points of a palm that tell how the hand is turned."""
UPRIGHT = 90.0
"""Direction from wrist to knuckle in the hand's square, radians. The graph stores what are degrees
elsewhere in MediaPipe as radians: hands lie 27 degrees askew. Kept, so that landmarks are those of
MediaPipe, with which tables are made."""
LARGER, FORWARD = 2.6, 0.5
"""Sides of the hand's square per longer side of the palm's box, and heights of that box by which
the square's middle lies nearer the fingers."""


@dataclass(frozen=True)
class Palm:
    """One palm; its numbers are pixels of the picture or shares of what the detector saw."""

    points: NDArray[np.float64]
    """(9, 2): the box's upper left and lower right corner, then seven joints."""
    score: float
    """How sure the detector is, 0..1."""


def seen(pixels: Pixels) -> Floats:
    """What the detector sees of a picture (height, width, 3): (SIDE, SIDE, 3), values 0..1.

    The whole picture, unstretched in the middle of a black square.
    """
    (x, columns, lit), (y, rows, lit_rows) = (
        _level(length, max(pixels.shape[:2])) for length in (pixels.shape[1], pixels.shape[0])
    )
    piece = np.zeros((SIDE, SIDE, 3), np.float32)
    piece[rows, columns] = crops.sample(pixels, x[None, :], y[:, None])
    piece[rows, columns] *= lit_rows[:, None, None]
    piece[rows, columns] *= np.repeat(lit, 3).reshape(1, -1, 3)
    return piece


def found(boxes: Floats, scores: Floats) -> list[Palm]:
    """The palms, in shares of what was seen, that the detector's answer means; the surest first.

    Args:
        boxes: (2016, 18) middle, size and seven joints, in pixels of SIDE from each anchor.
        scores: (2016, 1) how sure the detector is, before the logistic function.
    """
    kept = np.flatnonzero(scores[:, 0] >= np.log(MIN_SCORE / (1 - MIN_SCORE)))
    kept = kept[np.argsort(-scores[kept, 0], kind="stable")]
    sure = 1 / (1 + np.exp(-scores[kept, 0].astype(np.float64)))
    pairs = boxes[kept].astype(np.float64).reshape(-1, 9, 2) / SIDE
    middle, half = pairs[:, :1] + anchors()[kept, None], pairs[:, 1:2] / 2
    joints = pairs[:, 2:] + anchors()[kept, None]
    points = np.concatenate([middle - half, middle + half, joints], axis=1)
    return merged(points, sure)


def merged(points: NDArray[np.float64], scores: NDArray[np.float64]) -> list[Palm]:
    """One palm for all boxes that overlap the surest of them: their mean, weighted by score.

    Args:
        points: (n, 9, 2) two corners and seven joints, the surest first.
        scores: (n,) in the same order.
    """
    palms = []
    while len(scores):
        same = _overlap(points, points[0]) > MIN_OVERLAP
        same[0] = True
        mean = np.average(points[same], axis=0, weights=scores[same])
        palms.append(Palm(mean, float(scores[0])))
        points, scores = points[~same], scores[~same]
    return palms


def placed(palm: Palm, square: Square) -> Palm:
    """A palm of what was seen, in pixels of the picture around which the square lies."""
    return Palm(square.place(palm.points), palm.score)


def hand_square(palm: Palm) -> Square:
    """The square in which the landmark network looks for the palm's hand; pixels in, pixels out."""
    low, high = palm.points[:2]
    (width, height), (x, y) = high - low, (low + high) / 2
    along = palm.points[MIDDLE_KNUCKLE] - palm.points[WRIST]
    turn = UPRIGHT - float(np.arctan2(-along[1], along[0]))
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    shift = height * FORWARD
    return Square(
        float(x + shift * np.sin(turn)),
        float(y - shift * np.cos(turn)),
        float(max(width, height) * LARGER),
        turn,
    )


@cache
def anchors() -> NDArray[np.float64]:
    """Places (2016, 2) from which boxes are measured, in shares of what the detector sees."""
    grids = []
    for stride, count in GRIDS:
        steps = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, count, axis=0))
    return np.concatenate(grids)


def _level(length: int, side: int) -> tuple[Floats, slice, Floats]:
    """What of a row or column of the black square is picture.

    Returns:
        Places in the picture, in pixels; where in the row they come; and their light, 0..1: the
        picture's outermost pixels fade into the black.
    """
    places = np.arange(SIDE) * (side / SIDE) - (side - length) / 2
    light = np.clip(places + 1, 0, 1) * np.clip(length - places, 0, 1)
    lit = np.flatnonzero(light)  # never empty: one place is the middle of the picture
    part = slice(int(lit[0]), int(lit[-1]) + 1)
    return places[part].astype(np.float32), part, light[part].astype(np.float32)


def _overlap(points: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of many boxes with one; 0 where both have no area."""
    size = np.minimum(points[:, 1], one[1]) - np.maximum(points[:, 0], one[0])
    shared = np.maximum(size, 0).prod(axis=1)
    union = (points[:, 1] - points[:, 0]).prod(axis=1) + (one[1] - one[0]).prod() - shared
    overlap: NDArray[np.float64] = shared / np.where(union > 0, union, np.inf)
    return overlap
