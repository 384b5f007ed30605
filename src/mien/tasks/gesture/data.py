"""From CSV tables of hand landmarks to what the trainer reads, and the report on them.

    raw/**/*.csv -> ready/{train,val,test}.csv (common frame, one row for each hand)

Knows what can be wrong with such tables: rows that cannot be used are counted and left out, what
cannot be understood ends with a `DataError`. Columns are `table.py`'s business, the convention of
the coordinates `landmarks.py`'s, the division `splits.py`'s.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, nearest
from mien.task import SPLITS, Check, DataReport, Example, Request, Split

from . import landmarks, splits, table
from .params import LABELS, Body, Params
from .table import Faults, Rows

SIZELESS = "no picture size"
FLAT = "no extent"
_NAMED = 5

Counts = dict[str, dict[str, int]]
"""Rows by split and label."""


def prepare(raw: Path, ready: Path, params: Params) -> DataReport:
    """Bring all tables into the common frame, divide them and count what was found.

    Raises:
        DataError: no table, a missing column, an unknown label, coordinates of a convention that
            cannot be told, or too few rows to divide.
    """
    faults = Faults()
    paths, others = table.find(raw)
    parts = [_read(path, params, faults) for path in paths]
    rows = table.join([part for part, _ in parts])
    chosen, rule = splits.assign(rows, params.val, params.test)
    counts: Counts = {split: _count(rows, chosen, split) for split in SPLITS}
    for split in SPLITS:
        if not sum(counts[split].values()):
            raise DataError(f"{len(rows.labels)} rows are too few: none is left for {split}.")
        places = [place for place, each in enumerate(chosen) if each == split]
        table.write(table.take(rows, places), ready / f"{split}.csv")
    notes = [note for _, note in parts] + [rule]
    notes += [f"{path.name} was passed over: it has no landmark columns." for path in others]
    return DataReport(counts, _checks(rows, chosen, counts, faults), tuple(notes))


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the rows of a split as JSON requests."""
    rows = read(ready, split)
    for hand, label, name in zip(rows.landmarks, rows.labels, rows.names, strict=True):
        body = Body(landmarks=hand.tolist())
        yield Example(request=Request(body=body), label=label, name=name)


def read(ready: Path, split: Split) -> Rows:
    """Read a prepared split: landmarks of the common frame.

    Raises:
        DataError: the folder holds no prepared data.
    """
    path = ready / f"{split}.csv"
    if not path.is_file():
        raise DataError(f"{ready} holds no {path.name}; prepare the data with `mien data`.")
    return table.read(path, (), Faults())


def _read(path: Path, params: Params, faults: Faults) -> tuple[Rows, str]:
    rows = table.read(path, params.ignore_labels, faults)
    _check_labels(rows, path)
    convention, why = _convention(rows, path, params)
    note = f"{path.name}: x and y were taken as {_MEANING[convention]} ({why})."
    sizes = rows.sizes if convention == "unit" else None
    if sizes is not None:
        rows = _without(rows, np.isfinite(sizes.sum(axis=1)), SIZELESS, faults)
        note += " They were multiplied by the row's width and height."
    elif convention == "unit" or (convention == "wrist" and params.aspect is not None):
        note += f" x was multiplied by params.aspect = {params.aspect}."
    try:
        common = landmarks.to_common(rows.landmarks, convention, rows.sizes, params.aspect)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None
    rows = replace(rows, landmarks=common)
    return _without(rows, landmarks.measurable(common), FLAT, faults), note


_MEANING = {
    "pixels": "pixels",
    "unit": "shares of the picture's width and height",
    "wrist": "relative to the wrist",
}


def _convention(rows: Rows, path: Path, params: Params) -> tuple[landmarks.Known, str]:
    if params.convention != "auto":
        return params.convention, f"params.convention = {params.convention}"
    try:
        guess = landmarks.recognise(rows.landmarks)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None
    return guess.convention, guess.why


def _check_labels(rows: Rows, path: Path) -> None:
    unknown = Counter(label for label in rows.labels if label not in LABELS)
    if not unknown:
        return
    told = "; ".join(_told(label, count, rows) for label, count in unknown.most_common(_NAMED))
    raise DataError(
        f"{path.name}: {len(unknown)} unknown labels. {told}. Known labels: {', '.join(LABELS)}. "
        "Mend the label column, or leave such rows out: "
        f"--set params.ignore_labels=[{','.join(sorted(unknown))}]."
    )


def _told(label: str, count: int, rows: Rows) -> str:
    names = [name for name, each in zip(rows.names, rows.labels, strict=True) if each == label]
    text = f"{label!r} in {count} rows ({', '.join(names[:3])})"
    if label == "no_gesture":
        return text + " is HaGRID's class of hands that show nothing, not one of the gestures"
    return text + nearest(label.lower(), LABELS).removesuffix("?")


def _without(rows: Rows, usable: NDArray[np.bool_], why: str, faults: Faults) -> Rows:
    for place in np.flatnonzero(~usable):
        faults.add(why, rows.names[place])
    if not usable.any():
        raise DataError(f"no row of {rows.names[0].partition(':')[0]} is usable: {why} in all.")
    return table.take(rows, np.flatnonzero(usable).tolist())


def _count(rows: Rows, chosen: Sequence[Split], split: Split) -> dict[str, int]:
    found = Counter(label for label, each in zip(rows.labels, chosen, strict=True) if each == split)
    return {label: found[label] for label in LABELS}


def _checks(
    rows: Rows, chosen: Sequence[Split], counts: Counts, faults: Faults
) -> tuple[Check, ...]:
    left_out = [
        Check(
            name, faults.count.get(why, 0), faults.total, text, tuple(faults.examples.get(why, []))
        )
        for why, name, text in _LEFT_OUT
    ]
    missing = [
        f"{label} in {split}" for split in SPLITS for label in LABELS if not counts[split][label]
    ]
    pairs = len(SPLITS) * len(LABELS)
    completeness = Check("labels without a row in a split", len(missing), pairs, _MISSING)
    completeness = replace(completeness, examples=tuple(missing[:_NAMED]))
    return (*left_out, *_copies(rows, chosen), _people(rows, chosen), completeness)


_LEFT_OUT = (
    (table.UNREADABLE, "rows without 63 numbers", "left out: no hand to learn from"),
    (table.UNLABELLED, "rows without a label", "left out: nothing to learn"),
    (table.IGNORED, "rows of ignored labels", "left out, as params.ignore_labels says"),
    (SIZELESS, "rows without width and height", "left out: the hand's proportions are lost"),
    (FLAT, "hands without extent", "left out: all points lie in one place"),
)
_MISSING = "the model cannot learn, or the score cannot show, these labels"


def _copies(rows: Rows, chosen: Sequence[Split]) -> tuple[Check, Check, Check]:
    """Exact copies of rows: in all, across splits, and under different labels."""
    groups: dict[str, list[int]] = {}
    for place, content in enumerate(splits.fingerprints(rows)):
        groups.setdefault(content, []).append(place)
    repeated = [places for places in groups.values() if len(places) > 1]
    again = [place for places in repeated for place in places[1:]]
    across = [each for each in repeated if len({chosen[place] for place in each}) > 1]
    torn = [each for each in repeated if len({rows.labels[place] for place in each}) > 1]
    total = len(rows.labels)
    return (
        Check("exact copies of a row", len(again), total, "they weigh double", _names(rows, again)),
        Check(
            "rows with a copy in another split",
            sum(map(len, across)),
            total,
            "the scores look better than they are",
            _names(rows, [place for places in across for place in places]),
        ),
        Check(
            "equal rows with different labels",
            sum(map(len, torn)),
            total,
            "no model can get all of them right",
            _names(rows, [place for places in torn for place in places]),
        ),
    )


def _people(rows: Rows, chosen: Sequence[Split]) -> Check:
    seen: dict[str, set[Split]] = {}
    for user, split in zip(rows.users, chosen, strict=True):
        if user:
            seen.setdefault(user, set()).add(split)
    shared = sorted(user for user, where in seen.items() if len(where) > 1)
    text = "scores on new people may be lower than they look"
    return Check(
        "users in more than one split", len(shared), len(seen), text, tuple(shared[:_NAMED])
    )


def _names(rows: Rows, places: Sequence[int]) -> tuple[str, ...]:
    return tuple(rows.names[place] for place in places[:_NAMED])
