"""From hands of a source to what the trainer reads, and the report on them.

    raw/ -> ready/{train,val,test}.csv (common frame, one row for each hand)

Knows what can be wrong with such hands: rows that cannot be used are counted and left out, what
cannot be understood ends with a `DataError`. Which files hold hands is `sources.py`'s business, the
convention of the coordinates `landmarks.py`'s, the division `splits.py`'s.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, nearest
from mien.task import SPLITS, Check, DataReport, Example, Request, Split

from . import depth, hagrid, landmarks, photos, sources, splits, table
from .landmarks import Floats, Known
from .params import LABELS, Body, Params
from .sources import Source
from .table import Faults, Part, Rows

SIZELESS = "no picture size"
FLAT = "no extent"
_NAMED = 5

_MEANING = {
    "pixels": "pixels",
    "unit": "shares of the picture's width and height",
    "wrist": "relative to the wrist",
}

Counts = dict[str, dict[str, int]]
"""Rows by split and label."""


def prepare(raw: Path, ready: Path, params: Params, cache: Path) -> DataReport:
    """Bring all hands into the common frame, divide them and count what was found.

    Raises:
        DataError: nothing that holds hands, a missing column, an unknown label, coordinates of a
            convention that cannot be told, or too few rows to divide.
    """
    faults = Faults()
    source = sources.find(raw, params.ignore_labels)
    _check_photos(source, params)
    read = sources.parts(source, cache, lambda label: label in LABELS)
    parts = [_rows(part, params, faults) for part in read]
    rows = table.join([part for part, _ in parts])
    chosen, rule = splits.assign(rows, params.val, params.test)
    counts: Counts = {split: _count(rows, chosen, split) for split in SPLITS}
    for split in SPLITS:
        if not sum(counts[split].values()):
            raise DataError(f"{len(rows.labels)} rows are too few: none is left for {split}.")
        places = [place for place, each in enumerate(chosen) if each == split]
        table.write(table.take(rows, places), ready / f"{split}.csv")
    notes = [note for _, told in parts for note in told] + [rule] + sources.notes(source)
    return DataReport(counts, _checks(rows, chosen, counts, faults), tuple(notes))


def common(part: Part, params: Params, faults: Faults) -> tuple[Rows, str]:
    """The rows of a part that can be learned from, in the common frame, and a note on them.

    Raises:
        DataError: an unknown label, a convention that cannot be told, or no row is usable.
    """
    rows = table.usable(part, params.ignore_labels, faults)
    _check_labels(rows.labels, rows.names, part.title)
    told, why = convention(part, rows.landmarks, params)
    note = f"{part.title}: x and y were taken as {_MEANING[told]} ({why})."
    sizes = rows.sizes if told == "unit" else None
    if sizes is not None:
        rows = _without(rows, np.isfinite(sizes.sum(axis=1)), SIZELESS, faults)
        note += " They were multiplied by the row's width and height."
    elif told == "unit" or (told == "wrist" and params.aspect is not None):
        note += f" x was multiplied by params.aspect = {params.aspect}."
    try:
        points = landmarks.to_common(rows.landmarks, told, rows.sizes, params.aspect)
    except DataError as error:
        raise DataError(f"{part.title}: {error}") from None
    rows = replace(rows, landmarks=points)
    rows = _without(rows, landmarks.measurable(points), FLAT, faults)
    return rows, f"{note} {part.note}".strip()


def convention(part: Part, points: Floats, params: Params) -> tuple[Known, str]:
    """What x and y of a part's hands (n, 21, 3) are, and by what it is known.

    Raises:
        DataError: the values do not tell.
    """
    if part.convention is not None:
        return part.convention, "as in every such source"
    if params.convention != "auto":
        return params.convention, f"params.convention = {params.convention}"
    try:
        guess = landmarks.recognise(points)
    except DataError as error:
        raise DataError(f"{part.title}: {error}") from None
    return guess.convention, guess.why


def lent(rows: Rows, title: str) -> tuple[Rows, tuple[str, ...]]:
    """The rows, with a borrowed depth where there is none, and then a note on it."""
    if not depth.unknown(rows.landmarks):
        return rows, ()
    points = depth.borrowed(rows.landmarks)
    return replace(rows, landmarks=points), (f"{title}: {depth.NOTE}",)


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


def _rows(part: Part, params: Params, faults: Faults) -> tuple[Rows, tuple[str, ...]]:
    rows, note = common(part, params, faults)
    for why in part.reasons:
        faults.count.setdefault(why, 0)
    filled, more = lent(rows, part.title)
    return filled, (note, *more)


def _check_photos(source: Source, params: Params) -> None:
    """Labels of photos are checked before anybody looks for hands, which takes its time."""
    if source.photos and not source.tables:
        ignored = (*params.ignore_labels, "")
        known = [each for each in source.photos if each.label not in ignored]
        _check_labels([each.label for each in known], [each.name for each in known], "photos")


def _check_labels(labels: Sequence[str], names: Sequence[str], title: str) -> None:
    unknown = Counter(label for label in labels if label not in LABELS)
    if not unknown:
        return
    told = "; ".join(
        _told(label, count, labels, names) for label, count in unknown.most_common(_NAMED)
    )
    raise DataError(
        f"{title}: {len(unknown)} unknown labels. {told}. Known labels: {', '.join(LABELS)}. "
        "Mend the label column, or leave such rows out: "
        f"--set params.ignore_labels=[{','.join(sorted(unknown))}]."
    )


def _told(label: str, count: int, labels: Sequence[str], names: Sequence[str]) -> str:
    found = [name for name, each in zip(names, labels, strict=True) if each == label]
    text = f"{label!r} in {count} rows ({', '.join(found[:3])})"
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
        for why, name, text in (*_LEFT_OUT, *(each for each in _SEEN if each[0] in faults.count))
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
_SEEN = (
    (photos.NO_HAND, "photos without a hand", "left out: the landmarker finds no hand"),
    (photos.BROKEN, "photos that cannot be read", "left out: damaged, or of another type"),
    (hagrid.NO_POINTS, "hands without landmarks", "left out: MediaPipe found no hand there"),
)
"""Of sources that are no tables, where it was found."""
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
