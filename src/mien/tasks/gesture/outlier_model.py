"""How unusual a hand is among those that a model was trained on: one distance over all landmarks.

The squared Mahalanobis distance to the training hands, with the covariance of probabilistic PCA
(Tipping and Bishop 1999): each principal direction has a variance of its own, all others share one.
Knows arrays only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DISTANCE_STAT = "landmark_distance"
"""Name of the distance among the input statistics of a prediction."""
_COMPONENTS = 12
"""Enough for 90 % of the variance of hands; the rest is shared noise."""
_DIGITS = 6


def fit_outlier_model(features: NDArray[np.float32]) -> "GaussianOutlierModel":
    """Fit normalized hands (n, 63)."""
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(rows - mean, rowvar=False, bias=True))
    components = directions[:, ::-1][:, :_COMPONENTS].T
    # The sign of an eigenvector is arbitrary; its largest element shall be positive.
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    # A floor, for hands that do not vary at all along a direction.
    floor = max(float(variances[-1]) * 1e-6, 1e-12)
    return GaussianOutlierModel(
        mean=_rounded(mean),
        components=_rounded(components),
        variances=_rounded(np.maximum(variances[::-1][:_COMPONENTS], floor)),
        noise_variance=float(_rounded(np.maximum(variances[:-_COMPONENTS].mean(), floor))),
    )


@dataclass(frozen=True)
class GaussianOutlierModel:
    """A fitted model as arrays."""

    mean: Floats
    components: Floats
    variances: Floats
    noise_variance: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "GaussianOutlierModel":
        """Make it from the values of `as_json`."""
        return cls(
            mean=np.array(document["mean"]),
            components=np.array(document["components"]),
            variances=np.array(document["variances"]),
            noise_variance=float(document["noise_variance"]),
        )

    def as_json(self) -> dict[str, list[Any] | float]:
        """The fields as JSON values, for a bundle."""
        return {
            "mean": self.mean.tolist(),
            "components": self.components.tolist(),
            "variances": self.variances.tolist(),
            "noise_variance": self.noise_variance,
        }

    def distance(self, features: NDArray[np.float32]) -> float:
        """Distance of one normalized hand (63,), divided by 63: about 1 for a common hand."""
        offset = features.astype(np.float64) - self.mean
        projected = self.components @ offset
        residual = max(float(offset @ offset - projected @ projected), 0.0)
        squared = float((projected**2 / self.variances).sum() + residual / self.noise_variance)
        return squared / len(features)


def _rounded(values: Floats) -> Floats:
    """Values of few digits: the last ones of an eigenvector depend on the processor."""
    rounded: Floats = np.vectorize(lambda value: float(f"{value:.{_DIGITS}g}"))(values)
    return rounded
