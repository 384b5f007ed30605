"""From the hands of a source to prepared data, and the report on them.

    raw/ -> ready/{train,val,test}.csv (common frame, one row for each hand)

Rows that cannot be used are skipped and counted by the slug of the check that reports them; sources
that cannot be read end with a `DataError`. The files of a source: `sources.py`; conventions of
coordinates: `landmarks.py`; the division: `splits.py`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.task import SPLITS, DataReport, Example, Request, Split

from . import depth, labels, landmarks, sources, splits, table
from .landmarks import Convention, Floats
from .params import Body, Params
from .table import LandmarkTable, SourceTable

MISSING_IMAGE_SIZE = "missing_image_size"
IMPOSSIBLE_HAND = "impossible_hand"

_DESCRIPTION = {
    "pixels": "pixels",
    "normalized": "fractions of the picture's width and height",
    "wrist_relative": "relative to the wrist",
}

CACHED_BYTES = 2**22
"""Of a prepared split that is read once for all candidates; larger ones would fill the memory."""

Counts = dict[str, dict[str, int]]
"""Rows by split and label."""


def prepare(raw: Path, ready: Path, params: Params, cache: Path) -> DataReport:
    """Convert all hands to the common frame, divide them into splits and count them.

    Raises:
        DataError: no file with hands, a missing column, a label with too few rows, coordinates of
            an unclear convention, or too few rows to divide.
    """
    skipped = Counter[str]()
    source = sources.find_source(raw, params.ignore_labels)
    if source.photos and not source.tables:  # before the slow detection of hands
        counts_by_label = Counter(each.label for each in sources.labelled_photos(source))
        labels.label_set(counts_by_label, {}, params.ignore_labels)
    source_tables = sources.read_tables(source, cache)
    labels.require_ignored(params.ignore_labels, source_tables)
    prepared = [_prepare_table(each, params, skipped) for each in source_tables]
    rows = concatenate([each for each, _ in prepared], params)
    learned = _learned_labels(source_tables, Counter(rows.labels), params)
    assigned, rule = splits.assign_splits(rows, params.val_fraction, params.test_fraction)
    counts: Counts = {split: _count(rows, assigned, split, learned) for split in SPLITS}
    for split in SPLITS:
        if not sum(counts[split].values()):
            raise DataError(
                f"expected rows for {split}, found none among {len(rows.labels)}. Add rows."
            )
        indices = [index for index, each in enumerate(assigned) if each == split]
        table.write_landmarks(table.select_rows(rows, indices), ready / f"{split}.csv")
    skipped.update(sources.excluded_counts(source_tables))
    _require_every_row(source_tables, rows, skipped)
    table_notes = group_notes([note for _, each in prepared for note in each])
    notes = [*table_notes, rule, *sources.notes(source)]
    return DataReport(counts, dict(skipped), (*notes, *labels.notes(learned)))


def concatenate(tables: Sequence[LandmarkTable], params: Params) -> LandmarkTable:
    """All tables as one; without the splits of the source where the params leave them out."""
    rows = table.concatenate(tables)
    return rows if params.splits == "source" else replace(rows, splits=("",) * len(rows.splits))


def _learned_labels(
    source_tables: Sequence[SourceTable], usable: Mapping[str, int], params: Params
) -> tuple[str, ...]:
    """The labels that a model of these tables learns, of which `usable` counts the usable rows."""
    rows = Counter(row.label for each in source_tables for row in each.rows if row.label)
    for label in params.ignore_labels:
        rows.pop(label, None)
    skipped = {label: count - usable.get(label, 0) for label, count in rows.items()}
    return labels.label_set(usable, skipped, params.ignore_labels)


def to_common_frame(
    source_table: SourceTable, params: Params, skipped: Counter[str]
) -> tuple[LandmarkTable, str]:
    """The usable rows of a table in the common frame, and a note on them.

    Raises:
        DataError: an unclear convention, or no row is usable.
    """
    title = source_table.title
    aspect_ratio = params.aspect_ratio or source_table.default_aspect_ratio
    rows = table.usable_rows(source_table, params.ignore_labels, skipped)
    convention, reason = table_convention(source_table, rows.landmarks, params)
    note = f"{title}: x and y were read as {_DESCRIPTION[convention]} ({reason})."
    rows = _with_subject_sizes(rows, convention)
    sizes = rows.image_sizes if convention == "normalized" else None
    if sizes is not None and aspect_ratio is not None:  # for rows that lack theirs
        known = np.isfinite(sizes).all(axis=1, keepdims=True)
        sizes = np.where(known, sizes, (aspect_ratio, 1.0))
        rows = replace(rows, image_sizes=sizes)
    if sizes is not None:
        rows = _drop_unusable(rows, np.isfinite(sizes.sum(axis=1)), MISSING_IMAGE_SIZE, skipped)
        note += " They were multiplied by the row's width and height."
    elif convention == "normalized" or (
        convention == "wrist_relative" and aspect_ratio is not None
    ):
        note += f" x was multiplied by {_aspect_ratio_source(params, aspect_ratio)}."
    try:
        points = landmarks.to_common_frame(
            rows.landmarks, convention, rows.image_sizes, aspect_ratio
        )
    except DataError as error:
        raise DataError(f"{title}: {error}") from None
    rows = replace(rows, landmarks=points)
    rows = _drop_unusable(rows, landmarks.has_extent(points), IMPOSSIBLE_HAND, skipped)
    return rows, f"{note} {source_table.note}".strip()


def _with_subject_sizes(rows: LandmarkTable, convention: Convention) -> LandmarkTable:
    """The rows, with the share of the picture that each hand covers where that is known."""
    extent = np.ptp(rows.landmarks[..., :2], axis=1)
    if convention == "pixels" and rows.image_sizes is not None:
        extent = extent / rows.image_sizes
    elif convention != "normalized":
        return rows
    metadata_of_rows = [
        {**metadata, "subject_size": round(float(size), 4)} if 0 < size <= 1 else metadata
        for metadata, size in zip(rows.metadata, extent.prod(axis=1), strict=True)
    ]
    return replace(rows, metadata=tuple(metadata_of_rows))


def _aspect_ratio_source(params: Params, aspect_ratio: float | None) -> str:
    if params.aspect_ratio is not None:
        return f"params.aspect_ratio = {aspect_ratio}"
    return f"{aspect_ratio}, the usual width / height there; else set params.aspect_ratio"


def table_convention(
    source_table: SourceTable, points: Floats, params: Params
) -> tuple[Convention, str]:
    """The convention of a table's hands (n, 21, 3), and where it comes from.

    Raises:
        DataError: it is unclear.
    """
    if source_table.convention is not None:
        return source_table.convention, "as in every such source"
    if params.convention != "auto":
        return params.convention, f"params.convention = {params.convention}"
    try:
        inferred = landmarks.infer_convention(points)
    except DataError as error:
        raise DataError(f"{source_table.title}: {error}") from None
    return inferred.convention, inferred.reason


def with_depth(rows: LandmarkTable, title: str) -> tuple[LandmarkTable, tuple[str, ...]]:
    """The rows, with an imputed depth and a note if they have none."""
    if not depth.has_no_depth(rows.landmarks):
        return rows, ()
    imputed = depth.impute_depth(rows.landmarks)
    return replace(rows, landmarks=imputed), (f"{title}: {depth.IMPUTED_DEPTH_NOTE}",)


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the rows of a split as JSON requests."""
    rows = read_split(ready, split)
    for hand, label, name, metadata in zip(
        rows.landmarks, rows.labels, rows.names, rows.metadata, strict=True
    ):
        if landmarks.convention_of_hand(hand) == "normalized":
            hand = hand * 1024.0  # the frame has any scale; in a request, fractions need a picture
        body = Body(landmarks=hand.tolist())
        yield Example(request=Request(body=body), label=label, name=name, metadata=metadata)


def read_split(ready: Path, split: Split) -> LandmarkTable:
    """Read a prepared split: landmarks of the common frame.

    Raises:
        DataError: the folder contains no prepared data.
    """
    path = ready / f"{split}.csv"
    if not path.is_file():
        raise DataError(
            f"{ready}: expected {path.name}, found no such file. Prepare the data with `mien data`."
        )
    status = path.stat()
    read = _read_cached if status.st_size <= CACHED_BYTES else _read_prepared
    return read(path, status.st_mtime_ns)


def _read_prepared(path: Path, _: int) -> LandmarkTable:
    rows = table.read_landmarks(path, (), Counter())
    rows.landmarks.setflags(write=False)  # it may be shared
    return rows


_read_cached = lru_cache(maxsize=len(SPLITS))(_read_prepared)


def read_labels(ready: Path) -> tuple[str, ...]:
    """The labels of prepared data, in the order of the alphabet: those that a model learns.

    Raises:
        DataError: the folder contains no prepared data.
    """
    fitted: tuple[Split, ...] = ("train", "val")  # a sweep must work without the test split
    return tuple(sorted({label for split in fitted for label in read_split(ready, split).labels}))


def _prepare_table(
    source_table: SourceTable, params: Params, skipped: Counter[str]
) -> tuple[LandmarkTable, tuple[str, ...]]:
    rows, note = to_common_frame(source_table, params, skipped)
    with_imputed, depth_notes = with_depth(rows, source_table.title)
    return with_imputed, (note, *depth_notes)


def group_notes(notes: Sequence[str]) -> list[str]:
    """Notes `title: text` with one for all tables whose texts differ in numbers only."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        text = note.partition(": ")[2]
        groups.setdefault(re.sub(r"\d[\d.,]*", "0", text), []).append(note)
    return [
        each[0] if len(each) == 1 else f"{len(each)} tables, such as {each[0]}"
        for each in groups.values()
    ]


def _require_every_row(
    source_tables: Sequence[SourceTable], rows: LandmarkTable, skipped: Counter[str]
) -> None:
    """Raise DataError where rows of the source are neither used nor counted as skipped."""
    total = sum(len(each.rows) + each.excluded for each in source_tables)
    if total != len(rows.labels) + skipped.total():
        raise DataError(
            f"expected {total} rows of the source to be used or skipped, found {len(rows.labels)} "
            f"used and {skipped.total()} skipped. This is a fault of mien: please report it."
        )


def _drop_unusable(
    rows: LandmarkTable, usable: NDArray[np.bool_], reason: str, skipped: Counter[str]
) -> LandmarkTable:
    unusable = int((~usable).sum())
    if unusable:
        skipped[reason] += unusable
    if not usable.any():
        file = rows.names[0].partition(":")[0]
        raise DataError(f"{file}: expected usable rows, found {reason} in all of them.")
    return table.select_rows(rows, np.flatnonzero(usable).tolist())


def _count(
    rows: LandmarkTable, assigned: Sequence[Split], split: Split, learned: Sequence[str]
) -> dict[str, int]:
    counts = Counter(
        label for label, each in zip(rows.labels, assigned, strict=True) if each == split
    )
    return {label: counts[label] for label in learned}
