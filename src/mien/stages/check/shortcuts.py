"""How well labels are guessed from what says nothing of the subject: a trap for any model.

Where every happy face is a PNG and no other is, a model may learn the marks of PNG and call it
happiness. A decision table (Kohavi, The Power of Decision Tables, 1995) guesses labels from file
types, sources, sizes and mean colours, always on samples that it has not seen: the commonest label
among the seen ones that share these facts. Knows neither pictures nor tasks. Decision 0017 has why
this is no tree of scikit-learn.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
SAMPLES = 10_000
"""More are not asked: the share of right answers is then known to half a per cent."""
VALUES = 30
"""Words of a fact that are told apart, the commonest; the others are one."""
RANGES = (4, 16, 64)
"""Into how many ranges of equally many samples a number is cut; which cut serves is found out."""
Facts = Mapping[str, str | float]
_Codes = NDArray[np.intp]
"""(n,): which samples share a value, from 0 on."""


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
    ways = {name: _ways(chosen, name) for name in sorted({key for each in facts for key in each})}
    majority = float(np.bincount(classes).max() / len(classes))
    if not ways or len(np.unique(folds)) < 2:
        return Shortcut(majority, majority, (), majority)
    alone = [(name, _right(each, classes, folds)) for name, each in ways.items()]
    together = [codes for each in ways.values() for codes in each]
    return Shortcut(
        accuracy=_right(together, classes, folds),
        majority=majority,
        by_fact=tuple(sorted(alone, key=lambda each: -each[1])),
        chance=_right(together, rng.permutation(classes), folds),
    )


def _folds(groups: Sequence[str] | None, count: int, rng: np.random.Generator) -> _Codes:
    """Which of the folds every sample is in; all of a group in one, and folds of like size."""
    if groups is None:
        number = np.arange(count)
    else:
        own = [name or str(place) for place, name in enumerate(groups)]
        number = np.unique(np.asarray(own), return_inverse=True)[1]
    result: _Codes = (rng.permutation(int(number.max()) + 1) % FOLDS)[number]
    return result


def _ways(facts: Sequence[Facts], name: str) -> list[_Codes]:
    """A fact as codes of its values: a word in one way, a number in finer and finer ranges."""
    values = [each.get(name) for each in facts]
    if any(isinstance(value, str) for value in values):
        words = ["" if value is None else str(value) for value in values]
        common = {word: place for place, (word, _) in enumerate(Counter(words).most_common(VALUES))}
        return [np.array([common.get(word, VALUES) for word in words])]
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    there = np.isfinite(numbers)
    ways = []
    for count in RANGES if there.any() else ():
        edges = np.quantile(numbers[there], np.linspace(0, 1, count + 1)[1:-1])
        ways.append(np.where(there, np.searchsorted(edges, numbers, side="right"), count))
    return ways


def _right(ways: Sequence[_Codes], classes: _Codes, folds: _Codes) -> float:
    """The share of samples that a table guesses right which has seen the other folds."""
    right = 0
    for fold in np.unique(folds):
        seen = folds != fold
        cells = _cells(ways, classes, seen)
        guessed = _counts(cells, classes, seen)[cells[~seen]].argmax(axis=1)
        right += int((guessed == classes[~seen]).sum())
    return right / len(classes)


def _cells(ways: Sequence[_Codes], classes: _Codes, seen: NDArray[np.bool_]) -> _Codes:
    """The cells of a table: fact is added to fact while each seen sample, when it is left out, is
    guessed right more often by it."""
    cells, most, left = np.zeros_like(classes), -1, [np.zeros_like(classes), *ways]
    while left:
        joint = [cells * (1 + each.max()) + each for each in left]
        finer = [np.unique(each, return_inverse=True)[1] for each in joint]
        right = [_left_out(each, classes, seen) for each in finer]
        best = int(np.argmax(right))
        if right[best] <= most:
            break
        cells, most = finer[best], right[best]
        del left[best]
    return cells


def _left_out(cells: _Codes, classes: _Codes, seen: NDArray[np.bool_]) -> int:
    """How many of the seen samples are guessed right from the others."""
    others = _counts(cells, classes, seen)[cells[seen]]
    others[np.arange(len(others)), classes[seen]] -= 1
    return int((others.argmax(axis=1) == classes[seen]).sum())


def _counts(cells: _Codes, classes: _Codes, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Seen samples of each class in each cell; where they are none or equal, the commonest class of
    all has a little more."""
    shape = int(cells.max()) + 1, int(classes.max()) + 1
    joint = cells[seen] * shape[1] + classes[seen]
    table = np.bincount(joint, minlength=shape[0] * shape[1]).reshape(shape)
    common: NDArray[np.float64] = np.bincount(classes[seen], minlength=shape[1]) / seen.sum()
    return table + common / 2
