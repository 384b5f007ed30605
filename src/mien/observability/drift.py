"""Compares live predictions with those on the validation data. Numbers in, numbers out.

A *quantity* is one of: `label` (the predicted label, `none` for no subject),
`confidence`, and each input statistic of a task. A reference has the counts of every quantity in
bins; a window of live predictions is counted in the same bins and compared by the population
stability index. Its distribution without drift is drawn, not assumed: see `thresholds`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError

Counts = NDArray[np.int64]

FORMAT = 2
NO_LABEL = "none"
"""Stands for 'no subject' among the labels."""
WINDOW_ROWS = 1000
"""Predictions in the sliding window."""
MIN_ROWS = 200
"""Predictions under which there is no score."""
FALSE_ALARMS = 0.01
"""Share of windows without drift in which any quantity exceeds its threshold."""
_SIZES = (200, 500, 1000)
_DRAWS = 10_000
_MAX_DISCRETE_VALUES = 10
"""A statistic with at most so many different values has a bin for each value."""


@dataclass(frozen=True)
class DriftRow:
    """The quantities of one prediction."""

    label: str | None
    confidence: float
    input_stats: Mapping[str, float]
    outcome: str = "ok"


@dataclass(frozen=True)
class DriftScore:
    """Population stability index of one quantity, and the threshold that chance seldom exceeds."""

    score: float
    limit: float


def make_reference(rows: Sequence[DriftRow], labels: Sequence[str]) -> dict[str, Any]:
    """Count every quantity of the validation split, and draw the thresholds.

    Returns:
        JSON values: `rows`; `quantities`, each with `counts` and either `values` (of the label)
        or `edges` (bins are (-inf, e0], (e0, e1], ... , (en, inf)); `false_alarm_rate`; and
        `thresholds` by window size and quantity.
    """
    quantities: dict[str, Any] = {
        "label": {"values": [*labels, NO_LABEL], "counts": _by_label(rows, [*labels, NO_LABEL])}
    }
    for name, values in _numbers(rows).items():
        # What never varied there was fixed by how the data were made, as the one hand of a table
        # of landmarks; users vary it by nature, and every window would alarm.
        if values.min() == values.max():
            continue
        edges = _edges(values)
        quantities[name] = {"edges": edges.tolist(), "counts": _binned(values, edges).tolist()}
    return {
        "format": FORMAT,
        "rows": len(rows),
        "quantities": quantities,
        "false_alarm_rate": FALSE_ALARMS,
        "thresholds": thresholds({name: each["counts"] for name, each in quantities.items()}),
    }


def thresholds(counts: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float]]:
    """Draw how far clean windows lie from a clean reference, for each size of window.

    Both are drawn from the counted distribution: the reference too is a sample, and of a small
    one the windows differ more. The rate of false alarms is shared out among the quantities
    (Bonferroni), so that it holds for all of them together, whatever hangs together with what.
    """
    chance = np.random.default_rng(0)
    level = 1 - FALSE_ALARMS / max(len(counts), 1)
    return {
        str(size): {
            name: _drawn(np.asarray(each), size, level, chance) for name, each in counts.items()
        }
        for size in _SIZES
    }


def compare(rows: Sequence[DriftRow], reference: Mapping[str, Any]) -> dict[str, DriftScore]:
    """Compare every quantity that the reference has and enough rows have.

    Raises:
        BundleError: the reference is of another format.
    """
    quantities = read(reference)["quantities"]
    live = {"label": np.array(_by_label(rows, quantities["label"]["values"]))}
    for name, values in _numbers(rows).items():
        if name in quantities:
            live[name] = _binned(values, np.array(quantities[name]["edges"]))
    return {
        name: DriftScore(
            population_stability_index(counts, _of(quantities[name])),
            _limit(name, counts, reference),
        )
        for name, counts in live.items()
        if counts.sum() >= MIN_ROWS
    }


def shares(reference: Mapping[str, Any]) -> dict[str, float]:
    """Share of each label, and of no subject, in the reference."""
    label = read(reference)["quantities"]["label"]
    total = max(sum(label["counts"]), 1)
    return {
        name: count / total for name, count in zip(label["values"], label["counts"], strict=True)
    }


def population_stability_index(live: Counts, expected: Counts) -> float:
    """Population stability index of two rows of counts over the same bins.

    Half an observation is added to every bin (Jeffreys), so that an empty one has a logarithm.
    """
    return float(_stability(live[None], expected[None])[0])


def read(reference: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reference if it is of this format.

    Raises:
        BundleError: it is not.
    """
    if reference.get("format") != FORMAT:
        raise BundleError(
            f"reference.json is of format {reference.get('format')!r}, expected {FORMAT}: "
            "train the model again to watch it for drift."
        )
    return reference


def _stability(live: Counts, expected: Counts) -> NDArray[np.float64]:
    p, q = _smooth(live), _smooth(expected)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1), dtype=np.float64)


def _smooth(counts: Counts) -> NDArray[np.float64]:
    more = counts.astype(np.float64) + 0.5
    return np.asarray(more / more.sum(axis=1, keepdims=True), dtype=np.float64)


def _drawn(counts: Counts, size: int, level: float, chance: np.random.Generator) -> float:
    share = _smooth(counts[None])[0]
    windows = chance.multinomial(size, share, _DRAWS)
    references = chance.multinomial(int(counts.sum()), share, _DRAWS)
    return round(float(np.quantile(_stability(windows, references), level)), 6)


def _limit(name: str, counts: Counts, reference: Mapping[str, Any]) -> float:
    """The threshold that was drawn for the next smaller window."""
    size = max(each for each in map(int, reference["thresholds"]) if each <= counts.sum())
    return float(reference["thresholds"][str(size)][name])


def _numbers(rows: Sequence[DriftRow]) -> dict[str, NDArray[np.float64]]:
    """Confidence of the rows with a label, and every measure, as arrays."""
    columns: dict[str, list[float]] = {"confidence": []}
    for row in rows:
        if row.label is not None:
            columns["confidence"].append(row.confidence)
        for name, value in row.input_stats.items():
            columns.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in columns.items() if values}


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    different = np.unique(values)
    if len(different) > _MAX_DISCRETE_VALUES:
        deciles: NDArray[np.float64] = np.unique(np.percentile(values, range(10, 100, 10)))
        return deciles
    # One bin for each value, and one on either side for values never seen.
    between = (different[1:] + different[:-1]) / 2
    return np.array([np.nextafter(different[0], -np.inf), *between, different[-1]])


def _binned(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Counts:
    result: Counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return result


def _by_label(rows: Sequence[DriftRow], values: Sequence[str]) -> list[int]:
    labels = [row.label or NO_LABEL for row in rows]
    return [labels.count(value) for value in values]


def _of(quantity: Mapping[str, Any]) -> Counts:
    return np.array(quantity["counts"], dtype=np.int64)
