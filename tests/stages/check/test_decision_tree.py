"""The tree of the metadata baseline predicts what scikit-learn's tree predicts."""

import numpy as np
import pytest

from mien.stages.check.decision_tree import Column, predict


def _columns(rng: np.random.Generator, count: int, missing: float) -> list[Column]:
    """Two columns of numbers, one of them rounded and one with missing ones, and one of words."""
    rounded = rng.normal(size=count).round(1).astype(np.float32)
    numbers = rng.random(count).astype(np.float32)
    numbers[rng.random(count) < missing] = np.nan
    return [rounded, numbers, rng.integers(-1, 4, count)]


def _one_hot(column: Column) -> np.ndarray:
    """What scikit-learn gets: words as columns of 0 and 1."""
    if column.dtype.kind == "f":
        return column[:, None]
    return (column[:, None] == np.arange(column.max() + 1)).astype(np.float32)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_predictions_are_those_of_scikit_learn(seed: int, missing: float) -> None:
    """Of numbers, of missing ones and of words, with limits on leaves and on their samples."""
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(seed)
    columns = _columns(rng, 1000, missing)
    signal = np.nan_to_num(columns[1], nan=0.8) + 0.2 * (columns[2] == 2) + 0.05 * columns[0]
    classes = np.digitize(signal + rng.normal(scale=0.2, size=1000), [0.2, 0.5, 0.8])
    held_out = rng.random(1000) < 0.2
    table = np.hstack([_one_hot(each) for each in columns])
    tree = DecisionTreeClassifier(max_leaf_nodes=12, min_samples_leaf=15, random_state=0)
    tree.fit(table[~held_out], classes[~held_out])
    predicted = predict(columns, classes, held_out, max_leaves=12, min_samples=15)
    assert predicted.tolist() == tree.predict(table[held_out]).tolist()
    assert len(set(predicted.tolist())) > 2


def test_a_missing_number_without_one_among_the_fitted_follows_most_samples() -> None:
    """Three quarters of the fitted samples lie on one side: a missing number goes there."""
    numbers = np.array([1, 1, 1, 2, np.nan], dtype=np.float32)
    held_out = np.array([False] * 4 + [True])
    for classes in ([0, 0, 0, 1, 1], [1, 1, 1, 0, 0]):
        predicted = predict([numbers], np.array(classes), held_out, max_leaves=2, min_samples=1)
        assert predicted.tolist() == [classes[0]]


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(np.full(20, np.nan, dtype=np.float32), id="missing"),
        pytest.param(np.ones(20, dtype=np.float32), id="one number"),
        pytest.param(np.zeros(20, dtype=np.intp), id="one word"),
        pytest.param(np.full(20, -1), id="rare words"),
    ],
)
def test_a_column_of_one_value_predicts_the_most_common_class(column: Column) -> None:
    """Nothing can be split."""
    classes = np.array([0, 1, 1, 2] * 5)
    held_out = np.arange(20) >= 16
    predicted = predict([column], classes, held_out, max_leaves=32, min_samples=1)
    assert predicted.tolist() == [1] * 4
