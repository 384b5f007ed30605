"""From the hands of a source to what the trainer reads.

    raw/ -> ready/{train,val,test}.csv (common frame, one row for each hand)

Rows that cannot be used are left out and counted by the slug of the check that reports them; a
source that cannot be read at all ends with a `DataError`. `sources.py` knows which files hold
hands, `landmarks.py` the convention of the coordinates, `splits.py` the splits.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, nearest
from mien.task import SPLITS, DataReport, Example, Request, Split

from . import depth, landmarks, sources, splits, table
from .landmarks import Floats, Known
from .params import LABELS, Body, Params
from .sources import Source
from .table import Part, Rows

MISSING_IMAGE_SIZE = "missing_image_size"
IMPOSSIBLE_HAND = "impossible_hand"
_NAMED = 5

_MEANING = {
    "pixels": "pixels",
    "unit": "shares of the picture's width and height",
    "wrist": "relative to the wrist",
}

Counts = dict[str, dict[str, int]]
"""Rows by split and label."""


def prepare(raw: Path, ready: Path, params: Params, cache: Path) -> DataReport:
    """Bring all hands into the common frame and split them.

    Raises:
        DataError: nothing that holds hands, a missing column, an unknown label, coordinates of a
            convention that cannot be told, or too few rows to divide.
    """
    skipped = Counter[str]()
    source = sources.find(raw, params.ignore_labels)
    _check_photos(source, params)
    read = sources.parts(source, cache, lambda label: label in LABELS)
    parts = [_rows(part, params, skipped) for part in read]
    rows = table.join([part for part, _ in parts])
    chosen, rule = splits.assign(rows, params.val, params.test)
    counts: Counts = {split: _count(rows, chosen, split) for split in SPLITS}
    for split in SPLITS:
        if not sum(counts[split].values()):
            raise DataError(f"{len(rows.labels)} rows are too few: none is left for {split}.")
        places = [place for place, each in enumerate(chosen) if each == split]
        table.write(table.take(rows, places), ready / f"{split}.csv")
    notes = [note for _, told in parts for note in told] + [rule] + sources.notes(source)
    return DataReport(counts, dict(skipped), tuple(notes))


def common(part: Part, params: Params, skipped: Counter[str]) -> tuple[Rows, str]:
    """The rows of a part that can be learned from, in the common frame, and a note on them.

    Raises:
        DataError: an unknown label, a convention that cannot be told, or no row is usable.
    """
    rows = table.usable(part, params.ignore_labels, skipped)
    _check_labels(rows.labels, rows.names, part.title)
    told, why = convention(part, rows.landmarks, params)
    note = f"{part.title}: x and y were taken as {_MEANING[told]} ({why})."
    sizes = rows.sizes if told == "unit" else None
    if sizes is not None:
        rows = _without(rows, np.isfinite(sizes.sum(axis=1)), MISSING_IMAGE_SIZE, skipped)
        note += " They were multiplied by the row's width and height."
    elif told == "unit" or (told == "wrist" and params.aspect is not None):
        note += f" x was multiplied by params.aspect = {params.aspect}."
    try:
        points = landmarks.to_common(rows.landmarks, told, rows.sizes, params.aspect)
    except DataError as error:
        raise DataError(f"{part.title}: {error}") from None
    rows = replace(rows, landmarks=points)
    rows = _without(rows, landmarks.measurable(points), IMPOSSIBLE_HAND, skipped)
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
    return table.read(path, (), Counter())


def _rows(part: Part, params: Params, skipped: Counter[str]) -> tuple[Rows, tuple[str, ...]]:
    rows, note = common(part, params, skipped)
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


def _without(rows: Rows, usable: NDArray[np.bool_], why: str, skipped: Counter[str]) -> Rows:
    left_out = int((~usable).sum())
    if left_out:
        skipped[why] += left_out
    if not usable.any():
        raise DataError(f"no row of {rows.names[0].partition(':')[0]} is usable: {why} in all.")
    return table.take(rows, np.flatnonzero(usable).tolist())


def _count(rows: Rows, chosen: Sequence[Split], split: Split) -> dict[str, int]:
    found = Counter(label for label, each in zip(rows.labels, chosen, strict=True) if each == split)
    return {label: found[label] for label in LABELS}
