"""Labelled hands of a source as rows, and CSV tables of them.

Knows the columns x1, y1, z1 .. x21, y21, z21 and label, and the optional ones. Does not know the
labels, conventions or splits of the task. Rows that cannot be used are counted and skipped; a table
that cannot be read ends with a `DataError`. Photos and annotations become a `SourceTable` too, in
files of their own.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

from .landmarks import Convention, Floats

COLUMNS = tuple(f"{axis}{point}" for point in range(1, 22) for axis in "xyz")
ROW_NAME = "mien_row"
"""Column of prepared and repaired tables with file and line of the source."""
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


MISSING_VALUES = "missing_values"
IGNORED_LABEL = "ignored_label"


def find_tables(raw: Path) -> tuple[list[Path], list[Path]]:
    """CSV files of a folder in order of their names: those with landmark columns, and the others.

    Raises:
        DataError: a file of that name is not CSV in UTF-8.
    """
    files = [
        path for path in sorted(raw.rglob("*")) if path.suffix.lower() == ".csv" and path.is_file()
    ]
    tables = [path for path in files if set(read_header(path)) & set(COLUMNS)]
    return tables, [path for path in files if path not in tables]


def read_header(path: Path) -> list[str]:
    """The columns of a CSV file; none if the file is empty.

    Raises:
        DataError: the file is not CSV in UTF-8.
    """
    return _header(_lines(path))


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a CSV file below its header, without blank lines.

    Raises:
        DataError: the file is not CSV in UTF-8.
    """
    lines = _lines(path)
    _header(lines)
    yield from lines


def read_landmarks(path: Path, ignore: Sequence[str], skipped: Counter[str]) -> LandmarkTable:
    """Read one table; rows that cannot be used are counted in `skipped`.

    Raises:
        DataError: a column is missing or duplicated, the file is not CSV, or no row is usable.
    """
    return usable_rows(read_source_table(path), ignore, skipped)


def read_source_table(path: Path, title: str = "") -> SourceTable:
    """Read all rows of one table.

    Args:
        path: the table.
        title: prefix of the names of its rows, by default the file's name.

    Raises:
        DataError: a column is missing or duplicated, or the file is not CSV.
    """
    lines = _lines(path)
    header = _header(lines)
    positions = _column_positions(header, path, (*COLUMNS, "label"))
    title = title or path.name
    rows = [_to_row(cells, positions, f"{title}:{line}", title) for line, cells in lines]
    return SourceTable(title, rows, has_image_sizes={"width", "height"} <= set(header))


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
    )


def iter_hands(path: Path) -> Iterator[tuple[list[float] | None, tuple[float, float]]] | None:
    """Yield 63 numbers, or None, and the picture's width and height, or NaN, of each row.

    Returns None for a table without any landmark column. Needs no labels and not the whole file.

    Raises:
        DataError: some columns are missing or duplicated, or the file is not CSV.
    """
    lines = _lines(path)
    header = _header(lines)
    if not set(header) & set(COLUMNS):
        return None
    positions = _column_positions(header, path, COLUMNS)

    def hands() -> Iterator[tuple[list[float] | None, tuple[float, float]]]:
        for _, cells in lines:
            row = _named_cells(cells, positions)
            yield _numbers(row), (_size(row, "width"), _size(row, "height"))

    return hands()


def concatenate(tables: Sequence[LandmarkTable]) -> LandmarkTable:
    """All tables as one, without picture sizes, which are used table by table."""
    return LandmarkTable(
        landmarks=np.concatenate([table.landmarks for table in tables]),
        labels=tuple(each for table in tables for each in table.labels),
        users=tuple(each for table in tables for each in table.users),
        splits=tuple(each for table in tables for each in table.splits),
        names=tuple(each for table in tables for each in table.names),
        image_sizes=None,
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
    )


def write_landmarks(rows: LandmarkTable, path: Path) -> None:
    """Write rows as a table for `read_landmarks`; numbers keep every bit."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, "label", "user", ROW_NAME])
        for hand, label, user, name in zip(
            rows.landmarks, rows.labels, rows.users, rows.names, strict=True
        ):
            writer.writerow([*map(repr, hand.ravel().tolist()), label, user, name])


def _header(lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, cells = next(lines, (0, []))
    return [cell.strip() for cell in cells]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not blank, including the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            for cells in reader:
                if any(cells):
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name}: expected a CSV file in UTF-8 ({error}). Export it again as one."
        ) from None


def _column_positions(header: list[str], path: Path, required: Sequence[str]) -> Mapping[str, int]:
    missing = [column for column in required if column not in header]
    if missing:
        present = sum(column in header for column in COLUMNS)
        raise DataError(
            f"{path.name}: expected 63 columns x1, y1, z1 .. x21, y21, z21"
            f"{' and label' if 'label' in required else ''}; found {present} of the 63, missing: "
            f"{', '.join(missing)}."
        )
    duplicates = sorted({column for column in header if column and header.count(column) > 1})
    if duplicates:
        raise DataError(
            f"{path.name}: expected each column once, found several: {', '.join(duplicates)}. "
            "Remove or rename the others."
        )
    return {column: position for position, column in enumerate(header)}


def _named_cells(cells: Sequence[str], positions: Mapping[str, int]) -> dict[str, str]:
    return {
        column: cells[position].strip()
        for column, position in positions.items()
        if position < len(cells)
    }


def _numbers(row: Mapping[str, str]) -> list[float] | None:
    try:
        numbers = [float(row[column]) for column in COLUMNS]
    except (KeyError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


_FACT_COLUMNS = ("handedness", "source")


def _to_row(cells: Sequence[str], positions: Mapping[str, int], name: str, title: str) -> SourceRow:
    row = _named_cells(cells, positions)
    numbers = _numbers(row)
    size = _size(row, "width"), _size(row, "height")
    facts = {"file": title, **{key: row[key] for key in _FACT_COLUMNS if row.get(key)}}
    if np.isfinite(size).all():
        facts["picture"] = f"{size[0]:g}x{size[1]:g}"
    return SourceRow(
        name=row.get(ROW_NAME) or name,
        label=row.get("label", ""),
        landmarks=None if numbers is None else np.array(numbers).reshape(21, 3),
        user=row.get("user", ""),
        split=row.get("split", ""),
        image_size=size,
        facts=facts,
    )


def _size(row: Mapping[str, str], column: str) -> float:
    try:
        size = float(row.get(column, ""))
    except ValueError:
        return float("nan")
    return size if 0 < size < float("inf") else float("nan")
