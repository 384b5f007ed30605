"""Whether a hand shows none of the gestures: the probability of a class of its own.

A small network over the shape of the hand, learnt from hands that show a gesture and hands that
show none (`rejection_training.py`), and how far each part of the hand is from the training hands of
the gesture. The bundle's decision holds the threshold. Numpy alone.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hand_shape import part_distances, reference_parts, shape_features

Floats = NDArray[np.float64]
Steps = NDArray[np.int16]
MAX_DEVIATION = 6.0
"""Standard deviations to which inputs are limited: a hand far from all others stays computable."""
STEP = 2.0**-12
"""Features of the training hands in a bundle are multiples of it; none exceeds 5."""
PART_WEIGHT = 2.0
"""Of the logarithm of the largest distance of a part, beside the logarithm of the odds."""
_FLOOR = 1e-3
"""Added to a distance, for a hand that is a training hand."""


@dataclass(frozen=True)
class TrainingHands:
    """The training hands of each gesture, with which a hand is compared part by part."""

    hands: tuple[Steps, ...]
    """Normalized hands (n, 63) of each gesture in multiples of `STEP`."""
    limits: Floats
    """Distance (gestures, parts) that one in ten of these hands exceeds."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "TrainingHands":
        """Make it from the values of `as_json`."""
        hands = (np.frombuffer(b64decode(each), "<i2") for each in document["hands"])
        return cls(tuple(each.reshape(-1, 63) for each in hands), np.array(document["limits"]))

    def as_json(self) -> dict[str, list[Any]]:
        """The fields as JSON values, for a bundle."""
        hands = [b64encode(each.astype("<i2").tobytes()).decode() for each in self.hands]
        return {"hands": hands, "limits": self.limits.tolist()}


@dataclass(frozen=True)
class RejectionModel:
    """One hidden layer of rectified units; the last output is the class of no gesture."""

    mean: Floats
    scale: Floats
    weights: tuple[Floats, Floats]
    biases: tuple[Floats, Floats]
    training_hands: TrainingHands | None = None
    """None: the network alone decides, as in bundles of before."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RejectionModel":
        """Make it from the values of `as_json`."""
        hidden, output = (np.array(each) for each in document["weights"])
        first, second = (np.array(each) for each in document["biases"])
        mean, scale = np.array(document["mean"]), np.array(document["scale"])
        hands = document.get("training_hands")
        known = TrainingHands.from_json(hands) if hands else None
        return cls(mean, scale, (hidden, output), (first, second), known)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values, for a bundle."""
        known = self.training_hands
        return {
            **({"training_hands": known.as_json()} if known else {}),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": [each.tolist() for each in self.weights],
            "biases": [each.tolist() for each in self.biases],
        }

    def novelty(self, features: NDArray[np.float32]) -> Floats:
        """Of normalized hands (n, 63): the logarithm of the odds that they show no gesture, and
        twice that of how far the part that is least like the gesture is from its hands."""
        inputs = standardize(shape_features(features), self.mean, self.scale)
        hidden = np.maximum(inputs @ self.weights[0] + self.biases[0], 0)
        logits = hidden @ self.weights[1] + self.biases[1]
        gestures = logits[:, :-1]
        peak = gestures.max(axis=1)
        odds: Floats = logits[:, -1] - peak - np.log(np.exp(gestures - peak[:, None]).sum(axis=1))
        if self.training_hands:
            odds = odds + PART_WEIGHT * np.log(self._distance(inputs, gestures.argmax(1)) + _FLOOR)
        return np.round(odds, 4)

    def _distance(self, inputs: Floats, classes: NDArray[np.int64]) -> Floats:
        """Of standardized shapes (n, 163): the largest distance of a part, 1 for a rare one."""
        assert self.training_hands is not None
        result = np.empty(len(inputs))
        for each in np.unique(classes):
            own = classes == each
            distances = part_distances(inputs[own], self._references[each])
            result[own] = (distances / self.training_hands.limits[each]).max(axis=1)
        return result

    @cached_property
    def _references(self) -> list[list[Floats]]:
        """The parts of the training hands of each gesture."""
        assert self.training_hands is not None
        return [
            reference_parts(standardize(shape_features(features_of(each)), self.mean, self.scale))
            for each in self.training_hands.hands
        ]


def features_of(hands: Steps) -> NDArray[np.float32]:
    """Normalized hands of multiples of `STEP`."""
    return hands.astype(np.float32) * np.float32(STEP)


def standardize(shapes: Floats, mean: Floats, scale: Floats) -> Floats:
    """Shape features with mean 0 and deviation 1 over the hands that show a gesture, limited."""
    result: Floats = np.clip((shapes - mean) / scale, -MAX_DEVIATION, MAX_DEVIATION)
    return result
