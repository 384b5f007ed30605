"""The 21 landmarks of a hand as numbers: three conventions, one common frame, ONE normalization.

Training and serving both call `normalize`, so that the two cannot differ. This file knows no CSV,
no model and no picture.

Common frame: x and y in one unit with y downwards, any origin and any scale; z negative towards
the camera, in any unit of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

Floats = NDArray[np.float64]
Convention = Literal["pixels", "normalized", "wrist_relative"]
"""What x and y are; normalized: fractions of the picture's width and height."""

NORMALIZATION_VERSION = "wrist-origin/1"
"""Changes when `normalize` changes; a bundle names the version that it was trained with."""

DEPTH_WEIGHT = 0.5
"""Depth is the least certain of the three axes. Measured with an RBF SVC trained on one public
table and tested on two others: 0.5 scores 0.977 / 0.939, weight 1 0.975 / 0.940, no depth
0.974 / 0.924."""

GRID = 2**16
"""Features are multiples of 1 / GRID, far below the noise of a landmark. No feature exceeds 5, so
the midpoint of any two is exact in float32: a tree's split point means the same to the library that
chose it in float64 and to its exported form."""


@dataclass(frozen=True)
class InferredConvention:
    """A convention, and why it was inferred."""

    convention: Convention
    reason: str


def normalize(landmarks: Floats) -> NDArray[np.float32]:
    """Turn landmarks (n, 21, 3) of the common frame into features (n, 63), float32.

    The wrist is the origin. x and y are divided by the root mean square distance of the landmarks
    from the wrist in the picture's plane: unlike the distance to a single joint it is not zero for
    any pose (a folded finger, a palm towards the camera). z is divided by its own root mean square,
    because the unit of z differs between sources and is often unknown.

    Raises:
        ValueError: a hand without extent; check `has_extent` first.
    """
    if not has_extent(landmarks).all():
        raise ValueError("a hand without extent cannot be normalized")
    offset = landmarks - landmarks[:, :1]
    plane = _divide_by_rms(offset[:, :, :2])
    depth = _divide_by_rms(offset[:, :, 2:]) * DEPTH_WEIGHT
    features = np.concatenate([plane, depth], axis=2).reshape(len(landmarks), 63)
    return np.ascontiguousarray(np.round(features * GRID) / GRID, dtype=np.float32)


def has_extent(landmarks: Floats) -> NDArray[np.bool_]:
    """Which of n hands (n, 21, 3) are finite and have an extent in the picture's plane."""
    with np.errstate(over="ignore", invalid="ignore"):
        offset = landmarks - landmarks[:, :1]
        finite = np.isfinite(offset).all(axis=(1, 2))
        result: NDArray[np.bool_] = finite & (np.abs(offset[:, :, :2]).max(axis=(1, 2)) > 0)
    return result


def to_common_frame(
    landmarks: Floats,
    convention: Convention,
    image_sizes: Floats | None,
    aspect_ratio: float | None,
) -> Floats:
    """Convert landmarks (n, 21, 3) of one convention to the common frame.

    Args:
        landmarks: as in the source.
        convention: what x and y are.
        image_sizes: width and height of each picture (n, 2), if known; used for `normalized` only.
        aspect_ratio: width / height of all pictures, if x and y have lost it.

    Raises:
        DataError: x and y are fractions of sides whose ratio is unknown.
    """
    common = landmarks.astype(np.float64, copy=True)
    if convention == "normalized" and image_sizes is not None:
        common[:, :, :2] *= image_sizes[:, None, :]
    elif convention == "normalized" and aspect_ratio is None:
        raise DataError(
            "x and y are fractions (0..1) of the picture's width and height, and there are no "
            "columns width and height: the hand's proportions are lost. Add the two columns, or "
            "give the pictures' width / height: --set params.aspect_ratio=0.75 (1 for squares)."
        )
    elif convention != "pixels" and aspect_ratio is not None:
        common[:, :, 0] *= aspect_ratio
    return common


def infer_convention(landmarks: Floats) -> InferredConvention:
    """Infer the convention of a whole table (n, 21, 3) from its values.

    Raises:
        DataError: the rows fit none of the three, or not all the same one.
    """
    plane = np.abs(landmarks[:, :, :2])
    largest = plane.max(axis=(1, 2))
    wrist_at_origin = plane[:, 0].max(axis=1) <= 1e-5 * largest
    if wrist_at_origin.all():
        return InferredConvention("wrist_relative", "the wrist of every row is at 0, 0")
    x_and_y = landmarks[:, :, :2]
    inside = float(((x_and_y >= 0) & (x_and_y <= 1)).mean())
    if not wrist_at_origin.any() and largest.max() <= 2 and inside > 0.9:
        reason = f"{inside:.1%} of all x and y are in 0..1, none above 2"
        return InferredConvention("normalized", reason)
    if not wrist_at_origin.any() and largest.min() > 10:
        reason = f"the largest x or y of a row is {largest.min():.0f} to {largest.max():.0f}"
        return InferredConvention("pixels", reason)
    raise DataError(_unclear(largest, wrist_at_origin))


def convention_of_hand(hand: Floats) -> Convention | None:
    """The convention that a single hand (21, 3) fits; None where it fits none."""
    plane = hand[:, :2]
    largest = float(np.abs(plane).max())
    if not np.abs(plane[0]).max() > 1e-5 * largest:
        return "wrist_relative"
    if largest <= 2 and float(((plane >= 0) & (plane <= 1)).mean()) > 0.5:
        return "normalized"
    return "pixels" if largest > 10 else None


def as_array(points: Sequence[Sequence[float]]) -> Floats:
    """The landmarks of one hand as an array (1, 21, 3)."""
    return np.asarray(points, dtype=np.float64).reshape(1, 21, 3)


def _divide_by_rms(offset: Floats) -> Floats:
    # Divided by the peak first, so that squares of huge or tiny units stay within range.
    peak = np.abs(offset).max(axis=(1, 2), keepdims=True)
    unit = np.divide(offset, peak, out=np.zeros_like(offset), where=peak > 0)
    rms = np.sqrt((unit**2).sum(axis=2).mean(axis=1))[:, None, None]
    scaled: Floats = np.divide(unit, rms, out=np.zeros_like(unit), where=rms > 0)
    return scaled


def _unclear(largest: Floats, wrist_at_origin: NDArray[np.bool_]) -> str:
    low, high = float(largest.min()), float(largest.max())
    return (
        "the convention of x and y is unclear: expected the wrist at 0, 0 in every row, fractions "
        f"of 0..1, or pixels above 10; found {int(wrist_at_origin.sum())} of {len(largest)} rows "
        f"with the wrist at 0, 0, and the largest value of a row from {low:.3g} to {high:.3g}. "
        "Split rows of two conventions into two files, or give the convention: "
        "--set params.convention=pixels (or normalized, or wrist_relative)."
    )
