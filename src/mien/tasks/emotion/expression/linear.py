"""The last layer of the public network for other labels: a logistic regression on its features."""

import numpy as np
from numpy.typing import NDArray

from ..params import LABELS

Floats = NDArray[np.float32]
Layer = dict[str, Floats]
"""Kernel and bias under their names in the package."""


def fit_layer(values: Floats, labels: NDArray[np.int64], strength: float) -> dict[str, Floats]:
    """The last layer in the layout of the package: a logistic regression on scaled features.

    Args:
        values: (faces, images of each, channels).
        labels: (faces,).
        strength: C of scikit-learn.
    """
    from sklearn.linear_model import LogisticRegression

    flat, repeated = (
        values.reshape(-1, values.shape[2]).astype(np.float64),
        labels.repeat(values.shape[1]),
    )
    mean, deviation = flat.mean(0), flat.std(0) + 1e-3
    model = LogisticRegression(C=strength, max_iter=1000).fit((flat - mean) / deviation, repeated)
    kernel = np.zeros((len(mean), len(LABELS)))
    # A label without a face is never named.
    bias = np.full(len(LABELS), -1e4)
    kernel[:, model.classes_] = (model.coef_ / deviation).T
    bias[model.classes_] = model.intercept_ - (model.coef_ / deviation) @ mean
    return {"fc/weights": kernel.astype(np.float32), "fc/bias": bias.astype(np.float32)}
