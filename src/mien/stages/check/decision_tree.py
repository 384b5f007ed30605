"""A small decision tree (CART) in numpy: it grows by the split that lowers Gini impurity most.

    predict(columns, classes, held_out, max_leaves, min_samples) -> classes of the held-out samples

It predicts what scikit-learn's tree with `max_leaf_nodes` and `min_samples_leaf` does. The import
of that library takes longer than all trees of a check.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Column = NDArray[np.float32] | NDArray[np.intp]
"""A feature of n samples: numbers, NaN where missing; or words as ranks from 0, -1 for all words
without one."""
_Ints = NDArray[np.intp]
_Mask = NDArray[np.bool_]
_Sums = NDArray[np.intp]
"""(3, k), of the left side of k splits: its samples; the sum of their squared counts by class; the
sum of these counts times those of both sides."""
_MIN_STEP = np.float32(1e-7)
"""Numbers that differ by less are one value."""


@dataclass(frozen=True)
class _Split:
    """A condition that divides the samples of a node."""

    gain: float
    """By how much it lowers the impurity, times the number of samples."""
    column: int
    value: float
    """On the left: numbers up to this one; the word of this rank."""
    missing_left: bool

    def left(self, column: Column) -> _Mask:
        """Which samples are on the left."""
        if column.dtype.kind != "f":
            return np.asarray(column == self.value)
        return np.asarray((column <= self.value) | (np.isnan(column) & self.missing_left))


@dataclass(frozen=True, eq=False)
class _Node:
    """A leaf, and how it is best split."""

    fitted: _Ints
    held_out: _Ints
    by_column: tuple[_Ints, ...]
    """`fitted` sorted by each column of numbers, missing ones last; empty for words."""
    split: _Split | None


def predict(
    columns: Sequence[Column],
    classes: NDArray[np.intp],
    held_out: _Mask,
    max_leaves: int,
    min_samples: int,
) -> NDArray[np.intp]:
    """Fit a tree to all samples but the held-out ones, and predict their classes, in their order.

    Args:
        columns: features of n samples, at least one.
        classes: (n,), from 0.
        held_out: (n,); at least one sample is not.
        max_leaves: of the tree.
        min_samples: fitted samples of each leaf, at least 1.
    """

    def node(fitted: _Ints, others: _Ints, *by_column: _Ints) -> _Node:
        split = _best_split(columns, classes, fitted, by_column, min_samples)
        return _Node(fitted, others, by_column, split)

    rows = np.flatnonzero(~held_out)
    by_column = (
        rows[np.argsort(column[rows], kind="stable")] if column.dtype.kind == "f" else rows[:0]
        for column in columns
    )
    leaves = [node(rows, np.flatnonzero(held_out), *by_column)]
    while len(leaves) < max_leaves:
        best = max(leaves, key=lambda leaf: leaf.split.gain if leaf.split else -np.inf)
        if best.split is None:
            break
        leaves.remove(best)
        left = best.split.left(columns[best.split.column])
        for side in (left, ~left):
            parts = (best.fitted, best.held_out, *best.by_column)
            leaves.append(node(*(part[side[part]] for part in parts)))
    predicted = np.empty_like(classes)
    for leaf in leaves:
        predicted[leaf.held_out] = np.bincount(classes[leaf.fitted]).argmax()
    return predicted[held_out]


def _best_split(
    columns: Sequence[Column],
    classes: _Ints,
    fitted: _Ints,
    by_column: Sequence[_Ints],
    min_samples: int,
) -> _Split | None:
    """The split with the highest gain, of equal ones the last; None where there is none."""
    own = classes[fitted]
    total = np.bincount(own)
    if len(fitted) < 2 * min_samples or total.max() == len(fitted):
        return None
    splits: list[_Split] = []
    for number, (column, ordered) in enumerate(zip(columns, by_column, strict=True)):
        if column.dtype.kind == "f":
            values = column[ordered].astype(np.float32, copy=False)
            splits += _number_splits(number, values, classes[ordered], total, min_samples)
        else:
            ranks, count = column[fitted].astype(np.intp, copy=False) + 1, len(total)
            size = count * (int(ranks.max()) + 1)
            counts = np.bincount(count * ranks + own, minlength=size).reshape(-1, count)[1:]
            sums = np.stack((counts.sum(axis=1), (counts**2).sum(axis=1), counts @ total))
            gains = _gains(sums, total, min_samples)
            splits += _best(number, gains, np.arange(len(gains)), False)
    return max(reversed(splits), key=lambda split: split.gain, default=None)


def _number_splits(
    column: int, values: NDArray[np.float32], classes: _Ints, total: _Ints, min_samples: int
) -> list[_Split]:
    """The best split of numbers; with missing ones two, which put them right and left.

    Args:
        column: its index.
        values: (m,), sorted, missing ones last.
        classes: (m,), in the same order.
        total: samples by class.
        min_samples: on either side.
    """
    missing = np.bincount(classes[np.isnan(values)], minlength=len(total))
    present = len(values) - int(missing.sum())
    if not present:
        return []
    classes = classes[:present]
    # Left of each value lie `rank` samples of its own class: a square grows by 2 * rank + 1.
    order = np.argsort(classes.astype(np.uint16), kind="stable")
    rank = np.empty(present, dtype=np.intp)
    sizes = total - missing
    rank[order] = np.arange(present) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    sums = np.stack((np.arange(1, present + 1), np.cumsum(2 * rank + 1), np.cumsum(total[classes])))
    last = np.flatnonzero(values[1:present] > values[: present - 1] + _MIN_STEP)  # on the left
    thresholds = (values[last].astype(float) + values[last + 1]) / 2
    if present == len(values):  # a missing one that was held out follows the most samples
        gains = _gains(sums[:, last], total, min_samples)
        return _best(column, gains, thresholds, 2 * (last + 1) > present)
    right = _gains(sums[:, np.append(last, present - 1)], total, min_samples)
    sums += np.array([[missing.sum()], [missing @ missing], [missing @ total]])
    sums[1] += 2 * np.cumsum(missing[classes])
    left = _gains(sums[:, last], total, min_samples)
    return [
        *_best(column, right, np.append(thresholds, np.inf), False),
        *_best(column, left, thresholds, True),
    ]


def _best(
    column: int, gains: NDArray[np.float64], values: ArrayLike, missing_left: ArrayLike
) -> list[_Split]:
    """The first split with the highest gain; none where no split has enough samples."""
    if not len(gains) or gains.max() == -np.inf:
        return []
    index = int(gains.argmax())
    where = np.broadcast_to(missing_left, gains.shape)
    return [
        _Split(float(gains[index]), column, float(np.asarray(values)[index]), bool(where[index]))
    ]


def _gains(left: _Sums, total: _Ints, min_samples: int) -> NDArray[np.float64]:
    """The gains of k splits; -inf where a side has too few samples.

    Gini impurity times n samples is n minus the sum of squared counts over n (Breiman et al.,
    Classification and Regression Trees, 1984).
    """
    n_left, square_left, product = left
    n, square = total.sum(), total @ total
    enough = (n_left >= min_samples) & (n - n_left >= min_samples)
    n_right, square_right = n - n_left, square - 2 * product + square_left
    gains = square_left / np.maximum(n_left, 1) + square_right / np.maximum(n_right, 1) - square / n
    return np.where(enough, gains, -np.inf)
