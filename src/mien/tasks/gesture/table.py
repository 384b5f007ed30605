"""Labelled hands of a source as rows, and tables of them.

`columns.py` says where a table holds what, `csv_text.py` reads its cells. Rows that cannot be used
are counted and skipped; a table that cannot be read ends with a `DataError`. Photos and annotations
become a `SourceTable` too, in files of their own.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

from . import csv_text
from .columns import (
    COLUMNS,
    POINTS,
    ROW_NAME,
    SUBJECT_SIZE,
    Columns,
    read_columns,
    role_cells,
)
from .csv_text import Line
from .landmarks import Convention, Floats

_SAMPLE_LINES = 200
"""Lines by which the columns of a table are recognised."""
_UNKNOWN_SIZE = (float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One labelled hand of a source, usable or not."""

    name: str
    label: str
    """As in the source; "" if there is none."""
    landmarks: Floats | None
    """(21, 3), as in the source; None if there are not 63 numbers."""
    user: str = ""
    split: str = ""
    image_size: tuple[float, float] = _UNKNOWN_SIZE
    """Width and height of the picture, NaN if unknown."""
    facts: Mapping[str, str | float] = field(default_factory=dict)
    """See `Sample.facts`."""
    image_path: Path | None = None
    skip_reason: str = ""
    """Slug of the check that reports it, if there are no landmarks for another reason than missing
    numbers."""
    subject_size: float = float("nan")
    """Of a row of prepared data, see `SUBJECT_SIZE`."""


@dataclass(frozen=True)
class SourceTable:
    """One table, or all photos or all annotations of a source, row by row."""

    title: str
    rows: Sequence[SourceRow]
    convention: Convention | None = None
    """What x and y are; None if it has to be inferred from the values."""
    has_image_sizes: bool = False
    """Whether the source has columns for the sizes of pictures."""
    note: str = ""
    """For the user."""
    skip_reasons: tuple[str, ...] = ()
    """Further reasons for rows without landmarks, as slugs of checks."""
    default_aspect_ratio: float | None = None
    """Width / height of the pictures of such a source, where neither it nor the user names it."""
    excluded: int = 0
    """Rows of the source that `splits.csv` excludes; they are not among `rows`."""


@dataclass(frozen=True)
class LandmarkTable:
    """n usable rows as arrays."""

    landmarks: NDArray[np.float64]
    """(n, 21, 3), as in the file."""
    labels: tuple[str, ...]
    users: tuple[str, ...]
    """Who showed the gesture; "" if unknown."""
    splits: tuple[str, ...]
    """The split that the file asks for; "" if none."""
    names: tuple[str, ...]
    """File and line of each row."""
    image_sizes: NDArray[np.float64] | None
    """Width and height of each picture (n, 2), NaN if missing; None without the columns."""
    metadata: tuple[Mapping[str, str | float], ...]
    """See `Example.metadata`."""


MISSING_VALUES = "missing_values"
IGNORED_LABEL = "ignored_label"


def find_tables(raw: Path) -> tuple[list[Path], list[Path]]:
    """Delimited files of a folder in order of their names: those with hands, and the others.

    Raises:
        DataError: a file cannot be read as what it is.
    """
    files = [
        path
        for path in sorted(raw.rglob("*"))
        if path.suffix.lower() in csv_text.SUFFIXES and path.is_file()
    ]
    tables = [path for path in files if _open(path, path.name, labelled=False)]
    return tables, [path for path in files if path not in tables]


def read_landmarks(path: Path, ignore: Sequence[str], skipped: Counter[str]) -> LandmarkTable:
    """Read one table; rows that cannot be used are counted in `skipped`.

    Raises:
        DataError: the table cannot be read, or no row is usable.
    """
    return usable_rows(read_source_table(path), ignore, skipped)


def has_labels(path: Path) -> bool:
    """Whether a table has a column of labels.

    Raises:
        DataError: the table cannot be read.
    """
    opened = _open(path, path.name, labelled=False)
    return opened is not None and "label" in opened[0].roles


def read_source_table(path: Path, title: str = "", label: str = "") -> SourceTable:
    """Read all rows of one table.

    Args:
        path: the table.
        title: prefix of the names of its rows, by default the file's name.
        label: of all its rows, for a table without a column of labels.

    Raises:
        DataError: the table cannot be read, or can be read in two ways.
    """
    title = title or path.name
    opened = _open(path, title, labelled=not label)
    if opened is None:
        raise DataError(
            f"{title}: expected 63 columns x1, y1, z1 .. x21, y21, z21 and label, found none of "
            "them. Give a table of hands."
        )
    columns, lines = opened
    rows = [_to_row(cells, columns, f"{title}:{line}", title) for line, cells in lines]
    note = columns.note
    if label:
        rows = [replace(row, label=label, facts=_without_file(row.facts)) for row in rows]
        note = f"{note} Its {len(rows):,} rows have the label {label!r} by its name.".strip()
    has_sizes = {"width", "height"} <= set(columns.roles)
    return SourceTable(title, rows, has_image_sizes=has_sizes, note=note)


def _without_file(facts: Mapping[str, str | float]) -> Mapping[str, str | float]:
    """What may reveal the label of a row whose label is the name of its file or folder."""
    return {name: value for name, value in facts.items() if name != "file"}


def open_table(path: Path) -> tuple[Columns, Iterator[Line]]:
    """The columns of a table, and its lines below the header.

    Raises:
        DataError: the table cannot be read.
    """
    opened = _open(path, path.name, labelled=False)
    assert opened is not None, "a table that find_tables lists"
    return opened


def usable_rows(
    source_table: SourceTable, ignore: Sequence[str], skipped: Counter[str]
) -> LandmarkTable:
    """The rows that can be used; the others are counted in `skipped` by slug.

    Raises:
        DataError: no row is usable.
    """
    usable = []
    for row in source_table.rows:
        reason = skip_reason(row, ignore)
        if reason:
            skipped[reason] += 1
        else:
            usable.append(row)
    if not usable:
        counts = ", ".join(f"{reason}: {count}" for reason, count in skipped.items())
        raise DataError(
            f"{source_table.title}: expected usable rows, found none "
            f"({counts or 'it has only a header'})."
        )
    return to_landmark_table(usable, source_table.has_image_sizes)


def skip_reason(row: SourceRow, ignore: Sequence[str]) -> str:
    """Slug of the check that reports why a row cannot be used; "" if it can be used."""
    if row.label in ignore:
        return IGNORED_LABEL
    if not row.label:
        return MISSING_VALUES
    return "" if row.landmarks is not None else row.skip_reason or MISSING_VALUES


def to_landmark_table(rows: Sequence[SourceRow], has_image_sizes: bool) -> LandmarkTable:
    """Rows with landmarks as arrays."""
    sizes = np.array([row.image_size for row in rows]).reshape(-1, 2) if has_image_sizes else None
    return LandmarkTable(
        landmarks=np.array([row.landmarks for row in rows], dtype=np.float64).reshape(-1, 21, 3),
        labels=tuple(row.label for row in rows),
        users=tuple(row.user for row in rows),
        splits=tuple(row.split for row in rows),
        names=tuple(row.name for row in rows),
        image_sizes=sizes,
        metadata=tuple(_metadata(row) for row in rows),
    )


def _metadata(row: SourceRow) -> dict[str, str | float]:
    """What slices of an evaluation are made of: no names of people, which a card would show."""
    values = {key: row.facts.get(key, "") for key in _FACT_COLUMNS}
    if row.user.isdigit():
        values["session"] = row.user
    if np.isfinite(row.subject_size):
        values["subject_size"] = row.subject_size
    return {name: value for name, value in values.items() if value != ""}


@dataclass(frozen=True)
class UnlabelledHands:
    """The hands of a table of any length, one after the other."""

    has_depth: bool
    rows: Iterator[tuple[list[float] | None, tuple[float, float]]]
    """63 numbers, or None, and the picture's width and height, or NaN, of each row."""


def read_hands(path: Path) -> UnlabelledHands | None:
    """The hands of a table; needs no labels and not the whole file.

    Returns None for a table without hands.

    Raises:
        DataError: the table cannot be read, or can be read in two ways.
    """
    opened = _open(path, path.name, labelled=False)
    if opened is None:
        return None
    columns, lines = opened

    def hands() -> Iterator[tuple[list[float] | None, tuple[float, float]]]:
        for _, cells in lines:
            by_role = dict(role_cells(cells, columns))
            yield _numbers(cells, columns), _size(by_role)

    return UnlabelledHands(columns.has_depth, hands())


def concatenate(tables: Sequence[LandmarkTable]) -> LandmarkTable:
    """All tables as one, without picture sizes, which are used table by table."""
    return LandmarkTable(
        landmarks=np.concatenate([table.landmarks for table in tables]),
        labels=tuple(each for table in tables for each in table.labels),
        users=tuple(each for table in tables for each in table.users),
        splits=tuple(each for table in tables for each in table.splits),
        names=tuple(each for table in tables for each in table.names),
        image_sizes=None,
        metadata=tuple(each for table in tables for each in table.metadata),
    )


def select_rows(rows: LandmarkTable, indices: Sequence[int]) -> LandmarkTable:
    """The rows with these indices, in this order."""
    return LandmarkTable(
        landmarks=rows.landmarks[list(indices)],
        labels=tuple(rows.labels[index] for index in indices),
        users=tuple(rows.users[index] for index in indices),
        splits=tuple(rows.splits[index] for index in indices),
        names=tuple(rows.names[index] for index in indices),
        image_sizes=None if rows.image_sizes is None else rows.image_sizes[list(indices)],
        metadata=tuple(rows.metadata[index] for index in indices),
    )


def write_landmarks(rows: LandmarkTable, path: Path) -> None:
    """Write rows as a table for `read_landmarks`; numbers keep every bit."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        facts = (*_FACT_COLUMNS, "subject_size")
        writer.writerow([*COLUMNS, "label", "user", ROW_NAME, *_FACT_COLUMNS, SUBJECT_SIZE])
        for hand, label, user, name, metadata in zip(
            rows.landmarks, rows.labels, rows.users, rows.names, rows.metadata, strict=True
        ):
            more = [metadata.get(key, "") for key in facts]
            writer.writerow([*map(repr, hand.ravel().tolist()), label, user, name, *more])


def _open(path: Path, title: str, labelled: bool = True) -> tuple[Columns, Iterator[Line]] | None:
    """The columns of a table and its lines below the header; None for a table without hands."""
    lines = csv_text.read_lines(path)
    first = list(islice(lines, _SAMPLE_LINES))
    columns = read_columns([cells for _, cells in first], title, labelled)
    if columns is None:
        return None
    return columns, chain(first[columns.header_lines :], lines)


def _numbers(cells: Sequence[str], columns: Columns) -> list[float] | None:
    """63 numbers of a line, depth 0 where there is none; None for a line without a hand."""
    if len(cells) <= max(columns.numbers) or any(cells[columns.width :]):
        return None
    selected = [cells[position] for position in columns.numbers]
    numbers = csv_text.to_numbers(selected, columns.decimal_comma)
    if numbers is not None and not any(numbers):
        return None  # zeros stand for a hand that was not detected
    if numbers is None or columns.has_depth:
        return numbers
    return [each for x, y in zip(numbers[::2], numbers[1::2], strict=True) for each in (x, y, 0.0)]


_FACT_COLUMNS = ("handedness", "source")


def _to_row(cells: Sequence[str], columns: Columns, name: str, title: str) -> SourceRow:
    by_role = dict(role_cells(cells, columns))
    numbers = _numbers(cells, columns)
    size = _size(by_role)
    facts: dict[str, str | float] = {"file": title}
    facts |= {key: by_role[key] for key in _FACT_COLUMNS if by_role.get(key)}
    if np.isfinite(size).all():
        facts["picture"] = f"{size[0]:g}x{size[1]:g}"
    return SourceRow(
        name=by_role.get(ROW_NAME) or name,
        label=_label(by_role.get("label", "")),
        landmarks=None if numbers is None else np.array(numbers).reshape(POINTS, 3),
        user=by_role.get("user", ""),
        split=by_role.get("split", ""),
        image_size=size,
        facts=facts,
        subject_size=csv_text.to_size(by_role.get(SUBJECT_SIZE, "")),
    )


def _label(cell: str) -> str:
    """A label without quotes around it; a class number that became a float, as a number again."""
    label = cell.strip("'\"").strip()
    return label.removesuffix(".0") if re.fullmatch(r"\d+\.0", label) else label


def _size(by_role: Mapping[str, str]) -> tuple[float, float]:
    width, height = (csv_text.to_size(by_role.get(side, "")) for side in ("width", "height"))
    return width, height
