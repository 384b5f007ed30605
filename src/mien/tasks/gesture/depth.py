"""Imputes the depth of hands that have none, so that a classifier learns to ignore it.

Served hands have a depth, and a model that was trained without it may fail on them: an RBF SVM
trained on hands with depth 0 scores 0.795 on photos instead of 0.977. Each such hand is therefore
given the depth of a hand drawn by `sample.py`, selected by its own content and not by its label:
then the SVM scores 0.967. Estimating the depth from x and y does not help (`bench photosource`).
"""

from functools import cache
from hashlib import sha256

import numpy as np

from .landmarks import Floats
from .sample import landmark_rows

IMPUTED_DEPTH_NOTE = (
    "There is no depth: each hand is given that of a drawn hand, so that a model learns to ignore "
    "it. Scores are slightly lower than with depth; photos give it."
)
_DONORS_PER_LABEL, _SEED = 60, 0


def has_no_depth(landmarks: Floats) -> bool:
    """Whether the depth of all hands (n, 21, 3) is 0, which no landmarker gives for a real hand."""
    return bool(len(landmarks)) and not landmarks[:, :, 2].any()


def impute_depth(landmarks: Floats) -> Floats:
    """The same hands (n, 21, 3), each with the depth of a drawn one; equal hands, equal depth."""
    donors = _donor_depths()
    imputed = landmarks.copy()
    for hand in imputed:
        donor = int.from_bytes(sha256(hand[:, :2].tobytes()).digest()[:8], "big")
        hand[:, 2] = donors[donor % len(donors)]
    return imputed


@cache
def _donor_depths() -> Floats:
    """(n, 21), the wrist at 0."""
    hands, _ = landmark_rows(_DONORS_PER_LABEL, _SEED)
    depths: Floats = np.asarray(hands, dtype=np.float64)[:, :, 2]
    return depths
