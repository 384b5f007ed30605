"""How unusual a hand is among those that a model was trained on: one number over all landmarks.

The squared Mahalanobis distance to the training hands, split as probabilistic PCA splits it
(Tipping and Bishop 1999): the directions in which hands differ most have a variance of their
own, all others share one. Knows arrays alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEASURE = "landmark_distance"
_DIRECTIONS = 12
"""Enough for nine tenths of the variance of hands; the rest is shared noise."""
_DIGITS = 6


def describe(features: NDArray[np.float32]) -> dict[str, Any]:
    """Describe normalised hands (n, 63) by mean, directions and variances, as JSON values."""
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(rows - mean, rowvar=False, bias=True))
    main = directions[:, ::-1][:, :_DIRECTIONS].T
    # The sign of a direction is nobody's choice; its largest part shall be positive.
    main *= np.sign(main[np.arange(len(main)), np.abs(main).argmax(axis=1)])[:, None]
    # A floor, for hands that do not differ at all along a direction.
    floor = max(float(variances[-1]) * 1e-6, 1e-12)
    return {
        "mean": _plain(mean),
        "directions": [_plain(row) for row in main],
        "variances": _plain(np.maximum(variances[::-1][:_DIRECTIONS], floor)),
        "noise": _plain(np.maximum(variances[:-_DIRECTIONS].mean(), floor)),
    }


@dataclass(frozen=True)
class Typical:
    """A description, ready to be computed with."""

    mean: Floats
    directions: Floats
    variances: Floats
    noise: float

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> "Typical":
        """Make it from what `describe` gave."""
        return cls(
            mean=np.array(known["mean"]),
            directions=np.array(known["directions"]),
            variances=np.array(known["variances"]),
            noise=float(known["noise"]),
        )

    def distance(self, features: NDArray[np.float32]) -> float:
        """Distance of one normalised hand (63,), divided by 63: about 1 for a typical hand."""
        offset = features.astype(np.float64) - self.mean
        along = self.directions @ offset
        rest = max(float(offset @ offset - along @ along), 0.0)
        return float((along**2 / self.variances).sum() + rest / self.noise) / len(features)


def _plain(values: Any) -> Any:
    """Plain numbers of few digits: the last ones of an eigenvector hang on the processor."""
    return np.vectorize(lambda value: float(f"{value:.{_DIGITS}g}"))(values).tolist()
