"""How unusual a hand is: about 1 for hands like the training ones, far more for what is no hand."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.tasks.gesture import landmarks
from mien.tasks.gesture.outlier_model import GaussianOutlierModel, fit_outlier_model
from mien.tasks.gesture.sample import landmark_rows

Features = NDArray[np.float32]


@cache
def hands(seed: int, per_label: int = 40) -> landmarks.Floats:
    rows, _ = landmark_rows(per_label, seed)
    rows.flags.writeable = False  # shared by all tests
    return rows


TRAINING = landmarks.normalize(hands(0))
FITTED = fit_outlier_model(TRAINING).as_json()
TYPICAL = GaussianOutlierModel.from_json(json.loads(json.dumps(FITTED)))


def distances(features: Features) -> NDArray[np.float64]:
    return np.array([TYPICAL.distance(row) for row in features])


def test_training_hands_have_a_mean_distance_of_one() -> None:
    """Exactly for the training hands themselves; few are far away."""
    assert distances(TRAINING).mean() == pytest.approx(1, abs=0.01)
    others = distances(landmarks.normalize(hands(1)))
    assert others.mean() == pytest.approx(1, abs=0.2)
    assert np.quantile(others, 0.99) < 5


def test_shuffled_landmarks_are_far_away() -> None:
    """The same points in another order are no hand."""
    chance = np.random.default_rng(0)
    shuffled = np.stack([chance.permutation(hand) for hand in hands(1, 5)])
    found = distances(landmarks.normalize(shuffled))
    assert found.min() > np.quantile(distances(TRAINING), 0.99)
    assert np.median(found) > 20


def test_one_misplaced_fingertip_increases_the_distance() -> None:
    """A point at the wrist that belongs to the middle finger's tip."""
    broken = hands(1, 5).copy()
    broken[:, 12] = broken[:, 0]
    straight = distances(landmarks.normalize(hands(1, 5)))
    assert np.median(distances(landmarks.normalize(broken))) > 2 * np.median(straight)


@given(st.integers(0, 719), st.floats(0.01, 100), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_the_distance_is_invariant_to_position_and_scale(
    number: int, scale: float, right: float, down: float
) -> None:
    """It is computed from normalized features."""
    hand = hands(0)[number : number + 1]
    moved = hand * scale + np.array([right, down, 0.0])
    there = TYPICAL.distance(landmarks.normalize(moved)[0])
    assert there == pytest.approx(
        TYPICAL.distance(landmarks.normalize(hand)[0]), rel=0.02, abs=0.01
    )


def test_the_fit_is_deterministic() -> None:
    """In any order of rows: JSON values of few digits, for a bundle's checksum."""
    again = json.dumps(fit_outlier_model(landmarks.normalize(hands(0))).as_json())
    assert again == json.dumps(FITTED)
    turned = fit_outlier_model(TRAINING[::-1].copy())
    assert np.allclose(turned.variances, FITTED["variances"], rtol=1e-4)
    digits = [f"{value:.6g}" for value in FITTED["mean"]]
    assert [float(digit) for digit in digits] == FITTED["mean"]


def test_components_are_orthonormal() -> None:
    """Twelve, the largest variance first, each with its largest element positive."""
    components = np.array(FITTED["components"])
    assert components.shape == (12, 63)
    np.testing.assert_allclose(components @ components.T, np.eye(12), atol=1e-4)
    assert FITTED["variances"] == sorted(FITTED["variances"], reverse=True)
    assert (components[np.arange(12), np.abs(components).argmax(axis=1)] > 0).all()
    assert FITTED["variances"][-1] >= FITTED["noise_variance"] > 0


def test_identical_hands_can_be_fitted() -> None:
    """There is no division by zero; the same hand has distance 0, another is far away."""
    known = fit_outlier_model(np.repeat(TRAINING[:1], 5, axis=0))
    # Few digits of the mean are kept, so it is near 0 in the measure of the others only.
    assert np.isfinite(known.distance(TRAINING[0]))
    assert known.distance(TRAINING[0]) < 1e-3 * known.distance(TRAINING[1])
