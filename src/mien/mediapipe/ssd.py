"""Anchors and output decoding of MediaPipe's single-shot detectors (SSD) for faces and palms.

Both published graphs have four output layers with the strides 8, 16, 16 and 16 and two anchors of
fixed size in each cell; layers of one stride share their cells. What follows are the options of
SsdAnchorsCalculator and TensorsToDetectionsCalculator in those graphs.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
STRIDES = ((8, 2), (16, 6))
"""Stride in pixels and anchors in each cell."""


@cache
def anchor_centres(input_side: int) -> NDArray[np.float64]:
    """Centres (n, 2) of the anchors of a detector with a square input, as fractions of its side."""
    grids = []
    for stride, anchors_per_cell in STRIDES:
        centres = (np.arange(input_side // stride) + 0.5) * stride / input_side
        grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, anchors_per_cell, axis=0))
    return np.concatenate(grids)


def decode(
    raw_detections: Floats, raw_scores: Floats, input_side: int, min_score: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Decode the detections with a score of at least `min_score`.

    Args:
        raw_detections: (n, 4 + 2k) box centre, box size and k keypoints, in pixels of the input
            and relative to the anchor.
        raw_scores: (n, 1) logits.
        input_side: width and height of the input in pixels.
        min_score: 0..1.

    Returns:
        Detections (m, 4 + 2k), a box as xyxy and k keypoints, as fractions of the input's side;
        and their scores (m,) in 0..1. Several of them may show the same object.
    """
    logits = raw_scores[:, 0]
    selected = np.flatnonzero(logits >= np.log(min_score / (1 - min_score)))
    scores = 1 / (1 + np.exp(-logits[selected].astype(np.float64)))
    anchors = anchor_centres(input_side)[selected, None]
    pairs = raw_detections[selected].astype(np.float64) / input_side
    pairs = pairs.reshape(len(selected), raw_detections.shape[1] // 2, 2)
    centre, half, keypoints = pairs[:, :1] + anchors, pairs[:, 1:2] / 2, pairs[:, 2:] + anchors
    detections = np.concatenate([centre - half, centre + half, keypoints], axis=1)
    return detections.reshape(len(selected), raw_detections.shape[1]), scores
