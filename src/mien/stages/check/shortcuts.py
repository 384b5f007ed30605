"""How well labels are guessed from what says nothing of the subject: a trap for any model.

Where every happy face is a PNG and no other is, a model may learn the marks of PNG and call it
happiness. A small decision tree is asked to guess labels from file types, sources, sizes and mean
colours, always on samples that it has not seen. Knows neither pictures nor tasks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
LEAVES = 32
"""Of the tree: room for a few facts of a few values for each label, not for single samples."""
SAMPLES = 10_000
"""More are not asked: the share of right answers is then known to half a per cent."""
VALUES = 30
"""Values of a fact that are told apart, the commonest; the others are one."""
Facts = Mapping[str, str | float]
_Table = NDArray[np.float32]


@dataclass(frozen=True)
class Shortcut:
    """Shares of labels that are guessed right."""

    accuracy: float
    """From all facts."""
    majority: float
    """By always saying the commonest label."""
    by_fact: tuple[tuple[str, float], ...]
    """From each fact alone, the best first."""
    chance: float
    """From all facts where labels are dealt out anew: what `accuracy` is of facts that tell
    nothing. It strays by about sqrt(accuracy * (1 - accuracy) / n)."""


def measure(
    facts: Sequence[Facts], labels: Sequence[str], groups: Sequence[str] | None = None
) -> Shortcut:
    """Ask how well `facts` give `labels` away. The same facts always give the same answer.

    Args:
        facts: for each sample, by name; words or numbers, and some may be left out.
        labels: one for each sample.
        groups: samples of one group, such as pictures of a person or copies, are never both seen
            and asked for; "" is a group of its own.

    Raises:
        ValueError: not as many of one as of the other, or none.
    """
    count = len(labels)
    if not count or len(facts) != count or (groups is not None and len(groups) != count):
        raise ValueError(f"every sample has facts and a label; found {len(facts)} and {count}")
    rng = np.random.default_rng(0)
    kept = np.sort(rng.permutation(count)[:SAMPLES])
    folds = _folds(groups, count, rng)[kept]
    classes = np.unique(np.asarray(labels), return_inverse=True)[1][kept]
    chosen = [facts[place] for place in kept]
    tables = {
        name: _table(chosen, name) for name in sorted({key for each in facts for key in each})
    }
    majority = float(np.bincount(classes).max() / len(classes))
    if not tables or len(np.unique(folds)) < 2:
        return Shortcut(majority, majority, (), majority)
    alone = [(name, _right(table, classes, folds)) for name, table in tables.items()]
    together = np.hstack(list(tables.values()))
    return Shortcut(
        accuracy=_right(together, classes, folds),
        majority=majority,
        by_fact=tuple(sorted(alone, key=lambda each: -each[1])),
        chance=_right(together, rng.permutation(classes), folds),
    )


def _folds(groups: Sequence[str] | None, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Which of the folds every sample is in; all of a group in one, and folds of like size."""
    if groups is None:
        number = np.arange(count)
    else:
        own = [name or str(place) for place, name in enumerate(groups)]
        number = np.unique(np.asarray(own), return_inverse=True)[1]
    result: NDArray[np.intp] = (rng.permutation(int(number.max()) + 1) % FOLDS)[number]
    return result


def _table(facts: Sequence[Facts], name: str) -> _Table:
    """A fact as columns: a number as itself (NaN where left out), a word as a column a value."""
    values = [each.get(name) for each in facts]
    if not any(isinstance(value, str) for value in values):
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        there = np.abs(numbers) <= np.finfo(np.float32).max  # more is none for a tree
        return np.where(there, numbers, np.nan).astype(np.float32)[:, None]
    words = ["" if value is None else str(value) for value in values]
    column = {word: place for place, (word, _) in enumerate(Counter(words).most_common(VALUES))}
    table = np.zeros((len(words), len(column)), dtype=np.float32)
    for row, word in enumerate(words):
        if word in column:
            table[row, column[word]] = 1
    return table


def _right(table: _Table, classes: NDArray[np.intp], folds: NDArray[np.intp]) -> float:
    """The share of samples that a tree guesses right which has seen the other folds."""
    from sklearn.tree import DecisionTreeClassifier

    right = 0
    for fold in np.unique(folds):
        asked = folds == fold
        tree = DecisionTreeClassifier(
            max_leaf_nodes=LEAVES,
            min_samples_leaf=max(1, min(20, len(classes) // 50)),
            random_state=0,
        )
        tree.fit(table[~asked], classes[~asked])
        right += int((tree.predict(table[asked]) == classes[asked]).sum())
    return right / len(classes)
