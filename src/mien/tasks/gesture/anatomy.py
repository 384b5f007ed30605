"""Which points cannot be a hand: what no pose and no camera explains.

Knows the order of the 21 points and how long bones may look, not what gestures are. Whether a hand
is a left or a right one is not asked: a palm and a back, mirrored, have the same points.
The limits were set with a margin beyond 11,936 hands of three public tables, of which none is
beyond them (`bench photosource`).
"""

import numpy as np
from numpy.typing import NDArray

from .landmarks import Floats

BONES = tuple((0 if joint in (1, 5, 9, 13, 17) else joint - 1, joint) for joint in range(1, 21))
"""Places of the two ends of each bone; the five that begin at the wrist are those of the palm."""
LONGEST = 0.9
"""No bone is longer than this share of the diagonal of the box around all points."""
PHALANX = 1.6
"""No finger's bone is longer than the palm's longest side, this many times."""
VANISHED = 3
"""Bones without any length, in space, that make a hand impossible."""
ORDERED = 0.62
"""Above this, the middle one of a table's longest bones tells that its points stand in another
order; real ones lie at 0.46 to 0.48, points in a wrong order at 0.85 to 0.91."""
_NOTHING = 1e-6
_PALM = ((0, 5), (0, 9), (0, 13), (0, 17), (5, 17))


def impossible(points: Floats) -> NDArray[np.bool_]:
    """Which of n hands (n, 21, 3) of the common frame no human hand can look like."""
    flat = points[:, :, :2]
    size = _size(flat)
    bones = _lengths(flat, BONES)
    fingers = bones[:, [place for place, (start, _) in enumerate(BONES) if start]]
    palm = _lengths(flat, _PALM).max(axis=1)
    vanished = (_lengths(points, BONES) <= _NOTHING * size[:, None]).sum(axis=1)
    result: NDArray[np.bool_] = (
        (bones.max(axis=1) > LONGEST * size)
        | (fingers.max(axis=1) > PHALANX * palm)
        | (vanished >= VANISHED)
    )
    return result


def disordered(points: Floats) -> bool:
    """Whether the points of all n hands (n, 21, 3) stand in another order than MediaPipe's."""
    flat = points[:, :, :2]
    return bool(np.median(_lengths(flat, BONES).max(axis=1) / _size(flat)) > ORDERED)


def _lengths(points: Floats, bones: tuple[tuple[int, int], ...]) -> Floats:
    starts, ends = zip(*bones, strict=True)
    lengths: Floats = np.linalg.norm(points[:, list(ends)] - points[:, list(starts)], axis=2)
    return lengths


def _size(flat: Floats) -> Floats:
    """Diagonal of the box around each hand (n, 21, 2)."""
    diagonal: Floats = np.linalg.norm(np.ptp(flat, axis=1), axis=1)
    return diagonal
