"""What each finger of a hand does, in the frame of its palm: features of the rejection model.

The frame has the wrist at its origin, the knuckles upwards at distance 1 and the index finger on
the left: a hand and its mirror image, near or far and turned in the picture, look the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
"""Landmarks of thumb, index, middle, ring and little finger, from the palm to the tip."""
KNUCKLES = [5, 9, 13, 17]
TIPS = [4, 8, 12, 16, 20]
_THUMB_TARGETS = [5, 8, 6, 9, 12, 10, 13, 17]
"""Joints whose distance from the tip of the thumb says what it does."""
_TINY = 1e-6
Floats = NDArray[np.float64]
Points = NDArray[np.complex128]


def shape_features(features: NDArray[np.float32]) -> Floats:
    """Features (n, 163) of normalized hands (n, 63); see `landmarks.normalize`."""
    count = len(features)
    plane, depth, up, size = _palm_frame(features)
    # The 20 landmarks after the wrist are five fingers of four.
    fingers, depths = plane[:, 1:].reshape(count, 5, 4), depth[:, 1:].reshape(count, 5, 4)
    offset = fingers[:, :, 1:] - fingers[:, :, :1]
    parts: list[NDArray[Any]] = [
        features,
        _straightness(fingers, depths),
        offset.real,
        offset.imag,
        depths[:, :, 1:] - depths[:, :, :1],
        _gaps(fingers),
        np.abs(plane[:, TIPS[:1]] - plane[:, _THUMB_TARGETS]),
        up.real,
        up.imag,
        np.log(size),
        np.abs(plane[:, 17].real - plane[:, 5].real),
    ]
    return np.concatenate([each.reshape(count, -1) for each in parts], axis=1, dtype=np.float64)


def _palm_frame(
    features: NDArray[np.float32],
) -> tuple[Points, Floats, Points, Floats]:
    """Points (n, 21) as complex numbers, depths (n, 21), direction and size of the palm (n,)."""
    hands = features.reshape(-1, 21, 3).astype(np.float64)
    points = hands[:, :, 0] - 1j * hands[:, :, 1]
    knuckles = points[:, KNUCKLES].mean(axis=1)
    size = np.maximum(np.abs(knuckles), 1e-3)
    up = np.where(np.abs(knuckles) > 0, knuckles, 1e-3 + 0j) / size
    turned = points / (up * size)[:, None] * 1j
    mirrored = turned[:, 17].real < turned[:, 5].real
    plane = np.where(mirrored[:, None], -turned.conj(), turned)
    return plane, hands[:, :, 2] / size[:, None], np.where(mirrored, -up.conj(), up), size


def _straightness(fingers: Points, depths: Floats) -> Floats:
    """How straight fingers are in the picture and in space, how far out, and where they point:
    (n, 5, 5)."""
    bones, along = np.diff(fingers, axis=2), fingers[:, :, 3] - fingers[:, :, 0]
    flat, reach = np.abs(bones), np.abs(along)
    length = np.sqrt(flat**2 + np.diff(depths, axis=2) ** 2)
    span = np.sqrt(reach**2 + (depths[:, :, 3] - depths[:, :, 0]) ** 2)
    cosine = (bones[:, :, 0] * bones[:, :, 2].conj()).real / (flat[:, :, 0] * flat[:, :, 2] + _TINY)
    columns = [
        reach / (flat.sum(axis=2) + _TINY),
        span / (length.sum(axis=2) + _TINY),
        np.abs(fingers[:, :, 3]) / (np.abs(fingers[:, :, 1]) + _TINY),
        np.angle(along / 1j),
        cosine,
    ]
    return np.stack(columns, axis=2)


def _gaps(fingers: Points) -> Floats:
    """How far neighbours among the four fingers are apart, and how far each is out: (n, 3, 6)."""
    tips, middles = fingers[:, 1:, 3], fingers[:, 1:, 1]
    between = tips[:, :-1] - tips[:, 1:]
    out = np.abs(tips - fingers[:, 1:, 0])
    columns = [
        np.abs(between),
        np.abs(middles[:, :-1] - middles[:, 1:]),
        between.real,
        between.imag,
        out[:, :-1],
        out[:, 1:],
    ]
    return np.stack(columns, axis=2)
