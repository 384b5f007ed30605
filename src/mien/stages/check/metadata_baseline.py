"""How well labels are predicted from metadata alone: the trap of a spurious correlation.

Where every happy face is a PNG and no other is, a model may learn the artefacts of PNG instead of
happiness. A small decision tree predicts labels from file types, sources, sizes and mean colours,
always for samples that it was not fitted on. Knows neither images nor tasks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import decision_tree
from .decision_tree import Column

FOLDS = 5
MAX_LEAVES = 32
"""Leaves of the tree: enough for a few features of a few values for each label, too few for single
samples."""
MAX_SAMPLES = 10_000
"""With so many samples the accuracy is known to half a per cent."""
MAX_CATEGORIES = 30
"""Values of a feature with a column of their own, the most common ones; the others share none."""
Metadata = Mapping[str, str | float]


@dataclass(frozen=True)
class MetadataBaseline:
    """Shares of labels that are predicted right."""

    accuracy: float
    """From all features."""
    majority: float
    """By always predicting the most common label."""
    by_feature: tuple[tuple[str, float], ...]
    """From each feature alone, the best first."""
    chance: float
    """From all features after a shuffle of the labels: the accuracy of features without
    information. Its standard deviation is about sqrt(accuracy * (1 - accuracy) / n)."""


def measure(
    metadata: Sequence[Metadata], labels: Sequence[str], groups: Sequence[str] | None = None
) -> MetadataBaseline:
    """Cross-validate a tree that predicts `labels` from `metadata`. The result is deterministic.

    Args:
        metadata: features of each sample by name; words or numbers, and some may be missing.
        labels: one for each sample.
        groups: samples of one group, such as images of a person or duplicates, are always in the
            same fold; "" is a group of its own.

    Raises:
        ValueError: no samples, or lists of different lengths.
    """
    count = len(labels)
    if not count or len(metadata) != count or (groups is not None and len(groups) != count):
        raise ValueError(
            f"metadata: expected one row and one label per sample, found {len(metadata)} rows and "
            f"{count} labels"
        )
    rng = np.random.default_rng(0)
    selected = np.sort(rng.permutation(count)[:MAX_SAMPLES])
    folds = _folds(groups, count, rng)[selected]
    classes = np.unique(np.asarray(labels), return_inverse=True)[1][selected]
    rows = [metadata[index] for index in selected]
    names = dict.fromkeys(name for row in metadata for name in row)
    columns = {name: _column(rows, name) for name in names}
    majority = float(np.bincount(classes).max() / len(classes))
    if not columns or len(np.unique(folds)) < 2:
        return MetadataBaseline(majority, majority, (), majority)
    alone = [(name, _accuracy([column], classes, folds)) for name, column in columns.items()]
    together = list(columns.values())
    return MetadataBaseline(
        accuracy=_accuracy(together, classes, folds),
        majority=majority,
        by_feature=tuple(sorted(alone, key=lambda each: (-each[1], each[0]))),
        chance=_accuracy(together, rng.permutation(classes), folds),
    )


def _folds(groups: Sequence[str] | None, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The fold of every sample; all of a group in one, and folds of similar size."""
    if groups is None:
        number = np.arange(count)
    else:
        own = [name or str(index) for index, name in enumerate(groups)]
        number = np.unique(np.asarray(own), return_inverse=True)[1]
    result: NDArray[np.intp] = (rng.permutation(int(number.max()) + 1) % FOLDS)[number]
    return result


def _column(rows: Sequence[Metadata], name: str) -> Column:
    """A feature: numbers as they are, NaN where missing; words by their rank, the most common 0."""
    values = [row.get(name) for row in rows]
    if not any(isinstance(value, str) for value in values):
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        usable = np.abs(numbers) <= np.finfo(np.float32).max
        return np.where(usable, numbers, np.nan).astype(np.float32)
    texts = ["" if value is None else str(value) for value in values]
    ranks = {
        text: rank for rank, (text, _) in enumerate(Counter(texts).most_common(MAX_CATEGORIES))
    }
    return np.array([ranks.get(text, -1) for text in texts])


def _accuracy(
    columns: Sequence[Column], classes: NDArray[np.intp], folds: NDArray[np.intp]
) -> float:
    """The accuracy of a tree on each fold, fitted on the other folds."""
    min_samples = max(1, min(20, len(classes) // 50))
    correct = 0
    for fold in np.unique(folds):
        held_out = folds == fold
        predicted = decision_tree.predict(columns, classes, held_out, MAX_LEAVES, min_samples)
        correct += int((predicted == classes[held_out]).sum())
    return correct / len(classes)
