"""Trains the rejection model on hands that show a gesture, and on hands that show none.

The latter are mixed from the training hands (`mixed_hands.py`) and drawn (`sample.py`): relaxed,
half closed and between two gestures. The choice of the parts: decision 0028.
"""

import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import landmarks
from .hand_shape import shape_features
from .mixed_hands import mix_fingers
from .rejection import Floats, RejectionModel, standardize
from .sample import hands_without_gesture

HIDDEN_UNITS = 64
_EPOCHS = 12
_SAME, _MIXED, _ANY_PALM, _DRAWN = 1.8, 3.2, 0.5, 1.1
"""Hands of each kind for one training hand: mixed within a gesture, between gestures with palms
alike and with any palms, and drawn."""
_SHAKEN, _SHAKE = 0.6, 0.06
"""Share of all hands whose landmarks are moved in the picture, and by how much (standard deviation
of a feature): a hand that is seen a little differently than the training hands is no new one."""
_DIGITS = 5
Features = NDArray[np.float32]
Classes = NDArray[np.int64]


def fit_rejection(features: Features, classes: Classes, seed: int) -> RejectionModel:
    """Fit hands (n, 63) of n classes."""
    return _fit(features.tobytes(), classes.tobytes(), seed)


@lru_cache(maxsize=1)  # every candidate of a run has the same
def _fit(features_bytes: bytes, classes_bytes: bytes, seed: int) -> RejectionModel:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    features = np.frombuffer(features_bytes, np.float32).reshape(-1, 63)
    classes = np.frombuffer(classes_bytes, np.int64)
    rows, targets = training_hands(features, classes, seed)
    own = shape_features(features)
    mean, scale = own.mean(axis=0), np.maximum(own.std(axis=0), 1e-3)
    network = MLPClassifier(
        (HIDDEN_UNITS,),
        max_iter=_EPOCHS,
        batch_size=min(256, len(rows)),
        alpha=1e-3,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(standardize(shape_features(rows), mean, scale), targets)
    hidden, output = map(_rounded, network.coefs_)
    first, second = map(_rounded, network.intercepts_)
    return RejectionModel(_rounded(mean), _rounded(scale), (hidden, output), (first, second))


def training_hands(features: Features, classes: Classes, seed: int) -> tuple[Features, Classes]:
    """Hands with a gesture, as they are and mixed, and hands without one, of the last class."""
    rng = np.random.default_rng(seed)
    same, mixed, any_palm, drawn = (
        round(len(features) * each) for each in (_SAME, _MIXED, _ANY_PALM, _DRAWN)
    )
    showing, palms = mix_fingers(features, classes, rng, same, same=True)
    without = [
        mix_fingers(features, classes, rng, mixed)[0],
        mix_fingers(features, classes, rng, any_palm, any_palm=True)[0],
        landmarks.normalize(hands_without_gesture(drawn, rng)),
    ]
    rows = _shake(np.concatenate([features, showing, *without]), rng)
    none = np.full(sum(map(len, without)), classes.max() + 1)
    return rows, np.concatenate([classes, palms, none])


def _shake(rows: Features, rng: np.random.Generator) -> Features:
    """The same hands (n, 63), a share of them with noise on x and y of each landmark."""
    hands = rows.reshape(-1, 21, 3).astype(np.float64)
    shaken = np.flatnonzero(rng.random(len(hands)) < _SHAKEN)
    hands[shaken, :, :2] += _SHAKE * rng.standard_normal((len(shaken), 21, 2))
    return landmarks.normalize(hands)


def _rounded(values: Floats) -> Floats:
    """Values of few digits: the last ones depend on the processor."""
    rounded: Floats = np.vectorize(lambda value: float(f"{value:.{_DIGITS}g}"))(values)
    return rounded
