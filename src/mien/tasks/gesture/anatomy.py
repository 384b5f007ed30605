"""Landmarks that cannot be a hand: what no pose and no camera explains.

Knows the order of the 21 landmarks and how long bones may look, not what gestures are. Left and
right hands are not distinguished: a palm and a back, mirrored, have the same landmarks.
The limits were set with a margin beyond 11,936 hands of three public tables; all of these are
within them (`bench photosource`).
"""

import numpy as np
from numpy.typing import NDArray

from .landmarks import Floats

BONES = tuple((0 if joint in (1, 5, 9, 13, 17) else joint - 1, joint) for joint in range(1, 21))
"""Indices of both ends of each bone; the five that begin at the wrist are those of the palm."""
MAX_BONE_LENGTH = 0.9
"""Of any bone, as a fraction of the diagonal of the box around all landmarks."""
MAX_PHALANX_LENGTH = 1.6
"""Of a finger's bone, in longest sides of the palm."""
MAX_ZERO_BONES = 2
"""Bones without any length, in space, that a hand may have."""
MAX_MEDIAN_LONGEST_BONE = 0.62
"""Above this median over the longest bones of a table's hands, its landmarks have another order;
real tables have 0.46 to 0.48, tables in a wrong order 0.85 to 0.91."""
_ZERO_LENGTH = 1e-6
_PALM = ((0, 5), (0, 9), (0, 13), (0, 17), (5, 17))


def impossible_hands(landmarks: Floats) -> NDArray[np.bool_]:
    """Which of n hands (n, 21, 3) of the common frame no human hand can look like."""
    plane = landmarks[:, :, :2]
    diagonal = _diagonal(plane)
    bones = _lengths(plane, BONES)
    phalanges = bones[:, [index for index, (start, _) in enumerate(BONES) if start]]
    palm = _lengths(plane, _PALM).max(axis=1)
    zero_bones = (_lengths(landmarks, BONES) <= _ZERO_LENGTH * diagonal[:, None]).sum(axis=1)
    result: NDArray[np.bool_] = (
        (bones.max(axis=1) > MAX_BONE_LENGTH * diagonal)
        | (phalanges.max(axis=1) > MAX_PHALANX_LENGTH * palm)
        | (zero_bones > MAX_ZERO_BONES)
    )
    return result


def has_wrong_order(landmarks: Floats) -> bool:
    """Whether the landmarks of all n hands (n, 21, 3) have another order than MediaPipe's."""
    plane = landmarks[:, :, :2]
    longest = _lengths(plane, BONES).max(axis=1) / _diagonal(plane)
    return bool(np.median(longest) > MAX_MEDIAN_LONGEST_BONE)


def _lengths(points: Floats, bones: tuple[tuple[int, int], ...]) -> Floats:
    starts, ends = zip(*bones, strict=True)
    lengths: Floats = np.linalg.norm(points[:, list(ends)] - points[:, list(starts)], axis=2)
    return lengths


def _diagonal(plane: Floats) -> Floats:
    """Diagonal of the box around each hand (n, 21, 2)."""
    diagonal: Floats = np.linalg.norm(np.ptp(plane, axis=1), axis=1)
    return diagonal
