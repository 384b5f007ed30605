"""Whether a hand shows none of the gestures: the probability of a class of its own.

A small network over the shape of the hand, learnt from hands that show a gesture and hands that
show none (`rejection_training.py`). The bundle's decision holds the threshold. Numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hand_shape import shape_features

Floats = NDArray[np.float64]
MAX_DEVIATION = 6.0
"""Standard deviations to which inputs are limited: a hand far from all others stays computable."""


@dataclass(frozen=True)
class RejectionModel:
    """One hidden layer of rectified units; the last output is the class of no gesture."""

    mean: Floats
    scale: Floats
    weights: tuple[Floats, Floats]
    biases: tuple[Floats, Floats]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RejectionModel":
        """Make it from the values of `as_json`."""
        hidden, output = (np.array(each) for each in document["weights"])
        first, second = (np.array(each) for each in document["biases"])
        mean, scale = np.array(document["mean"]), np.array(document["scale"])
        return cls(mean, scale, (hidden, output), (first, second))

    def as_json(self) -> dict[str, list[Any]]:
        """The fields as JSON values, for a bundle."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": [each.tolist() for each in self.weights],
            "biases": [each.tolist() for each in self.biases],
        }

    def novelty(self, features: NDArray[np.float32]) -> Floats:
        """Of normalized hands (n, 63): the logarithm of the odds that they show no gesture."""
        inputs = standardize(shape_features(features), self.mean, self.scale)
        hidden = np.maximum(inputs @ self.weights[0] + self.biases[0], 0)
        logits = hidden @ self.weights[1] + self.biases[1]
        gestures = logits[:, :-1]
        peak = gestures.max(axis=1)
        odds: Floats = logits[:, -1] - peak - np.log(np.exp(gestures - peak[:, None]).sum(axis=1))
        return np.round(odds, 4)


def standardize(shapes: Floats, mean: Floats, scale: Floats) -> Floats:
    """Shape features with mean 0 and deviation 1 over the hands that show a gesture, limited."""
    result: Floats = np.clip((shapes - mean) / scale, -MAX_DEVIATION, MAX_DEVIATION)
    return result
