"""Rows of landmarks, and CSV tables of them: which columns there are, which rows can be used.

Knows the columns x1, y1, z1 .. x21, y21, z21 and label, and the optional ones. Does not know the
labels, conventions or splits of the task. Rows that cannot be used are counted and left out;
a table that cannot be understood ends with a `DataError`. What is no table but ends as rows too
(photos, annotations) is brought into the form of this file, `Part`, by files of its own.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

from .landmarks import Floats, Known

COLUMNS = tuple(f"{axis}{point}" for point in range(1, 22) for axis in "xyz")
NAME = "mien_row"
"""Column of prepared and mended tables that keeps file and line of the source."""
_UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled hand of a source, whether it can be used or not."""

    name: str
    label: str
    """As the source has it; "" where it has none."""
    points: Floats | None
    """(21, 3), as they stand in the source; None where there are not 63 numbers."""
    user: str = ""
    split: str = ""
    size: tuple[float, float] = _UNKNOWN
    """Width and height of the picture, NaN where they are not known."""
    facts: Mapping[str, str | float] = field(default_factory=dict)
    """What a survey tells of the row, see `Sample.facts`."""
    picture: Path | None = None
    fault: str = ""
    """Why there are no points, where it is another reason than missing numbers."""


@dataclass(frozen=True)
class Part:
    """One table, or all photos or all annotations of a source, row by row."""

    title: str
    rows: Sequence[Row]
    convention: Known | None = None
    """What x and y are; None where the values have to tell."""
    sized: bool = False
    """Whether the source has a place for the sizes of pictures."""
    note: str = ""
    """What the user must know of it."""
    reasons: tuple[str, ...] = ()
    """Reasons of its own for which rows may have no points."""


@dataclass(frozen=True)
class Rows:
    """Usable rows of one table: n hands and what is known of each."""

    landmarks: NDArray[np.float64]
    """(n, 21, 3), as they stand in the file."""
    labels: tuple[str, ...]
    users: tuple[str, ...]
    """Who showed the gesture; "" where that is not known."""
    splits: tuple[str, ...]
    """The split that the file asks for; "" where it asks for none."""
    names: tuple[str, ...]
    """File and line of each row."""
    sizes: NDArray[np.float64] | None
    """Width and height of each picture (n, 2), NaN where missing; None without the columns."""


MISSING_VALUES = "missing_values"
IGNORED_LABEL = "ignored_label"


def find(raw: Path) -> tuple[list[Path], list[Path]]:
    """CSV files of a folder in order of their names: those with landmark columns, and the others.

    Raises:
        DataError: a file of that name is not CSV in UTF-8.
    """
    files = [
        path for path in sorted(raw.rglob("*")) if path.suffix.lower() == ".csv" and path.is_file()
    ]
    tables = [path for path in files if set(columns(path)) & set(COLUMNS)]
    return tables, [path for path in files if path not in tables]


def columns(path: Path) -> list[str]:
    """The header of a CSV file; nothing where the file is empty.

    Raises:
        DataError: the file is not CSV in UTF-8.
    """
    return _header(_lines(path))


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a CSV file below its header, blank lines left out.

    Raises:
        DataError: the file is not CSV in UTF-8.
    """
    lines = _lines(path)
    _header(lines)
    yield from lines


def read(path: Path, ignore: Sequence[str], skipped: Counter[str]) -> Rows:
    """Read one table; rows that cannot be used are added to `skipped`.

    Raises:
        DataError: a column is missing or named twice, the file is not CSV, or no row is usable.
    """
    return usable(part(path), ignore, skipped)


def part(path: Path, title: str = "") -> Part:
    """Read all rows of one table.

    Args:
        path: the table.
        title: what its rows are named by, where that is not the file's name.

    Raises:
        DataError: a column is missing or named twice, or the file is not CSV.
    """
    lines = _lines(path)
    header = _header(lines)
    place = _places(header, path, (*COLUMNS, "label"))
    title = title or path.name
    told = [column for column in _FACTS if column in place]
    rows = [_row(cells, place, f"{title}:{line}", told, title) for line, cells in lines]
    return Part(title, rows, sized={"width", "height"} <= set(header))


def usable(part: Part, ignore: Sequence[str], skipped: Counter[str]) -> Rows:
    """The rows of a part that can be used; the others are added to `skipped`.

    Raises:
        DataError: no row is usable.
    """
    kept = []
    for row in part.rows:
        why = reason(row, ignore)
        if why:
            skipped[why] += 1
        else:
            kept.append(row)
    if not kept:
        reasons = ", ".join(f"{why}: {count}" for why, count in skipped.items())
        raise DataError(f"{part.title} has no usable row ({reasons or 'it has only a header'}).")
    return rows_of(kept, part.sized)


def reason(row: Row, ignore: Sequence[str]) -> str:
    """Why a row cannot be used; "" where it can."""
    if row.label in ignore:
        return IGNORED_LABEL
    if not row.label:
        return MISSING_VALUES
    return "" if row.points is not None else row.fault or MISSING_VALUES


def rows_of(kept: Sequence[Row], sized: bool) -> Rows:
    """Rows with points as arrays."""
    return Rows(
        landmarks=np.array([row.points for row in kept], dtype=np.float64).reshape(-1, 21, 3),
        labels=tuple(row.label for row in kept),
        users=tuple(row.user for row in kept),
        splits=tuple(row.split for row in kept),
        names=tuple(row.name for row in kept),
        sizes=np.array([row.size for row in kept]).reshape(-1, 2) if sized else None,
    )


def hands(path: Path) -> Iterator[tuple[list[float] | None, tuple[float, float]]] | None:
    """Yield 63 numbers, or None, and the picture's width and height, or NaN, of each row.

    None for a table without any landmark column. Neither labels nor the whole file are needed.

    Raises:
        DataError: some columns are missing or named twice, or the file is not CSV.
    """
    lines = _lines(path)
    header = _header(lines)
    if not set(header) & set(COLUMNS):
        return None
    place = _places(header, path, COLUMNS)

    def read_on() -> Iterator[tuple[list[float] | None, tuple[float, float]]]:
        for _, cells in lines:
            row = {name: cells[at].strip() for name, at in place.items() if at < len(cells)}
            yield _numbers(row), (_size(row, "width"), _size(row, "height"))

    return read_on()


def join(tables: Sequence[Rows]) -> Rows:
    """All tables as one; picture sizes are dropped, because only the single table needs them."""
    return Rows(
        landmarks=np.concatenate([table.landmarks for table in tables]),
        labels=tuple(each for table in tables for each in table.labels),
        users=tuple(each for table in tables for each in table.users),
        splits=tuple(each for table in tables for each in table.splits),
        names=tuple(each for table in tables for each in table.names),
        sizes=None,
    )


def take(rows: Rows, kept: Sequence[int]) -> Rows:
    """The rows of these places, in this order."""
    return Rows(
        landmarks=rows.landmarks[list(kept)],
        labels=tuple(rows.labels[place] for place in kept),
        users=tuple(rows.users[place] for place in kept),
        splits=tuple(rows.splits[place] for place in kept),
        names=tuple(rows.names[place] for place in kept),
        sizes=None if rows.sizes is None else rows.sizes[list(kept)],
    )


def write(rows: Rows, path: Path) -> None:
    """Write rows as a table that `read` takes; numbers survive to the last bit."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, "label", "user", NAME])
        for hand, label, user, name in zip(
            rows.landmarks, rows.labels, rows.users, rows.names, strict=True
        ):
            writer.writerow([*map(repr, hand.ravel().tolist()), label, user, name])


def _header(lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, cells = next(lines, (0, []))
    return [cell.strip() for cell in cells]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not blank, the header among them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            for cells in reader:
                if any(cells):
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name} is not a CSV file in UTF-8 ({error}). Export it again as one."
        ) from None


def _places(header: list[str], path: Path, wanted: Sequence[str]) -> Mapping[str, int]:
    missing = [column for column in wanted if column not in header]
    if missing:
        found = sum(column in header for column in COLUMNS)
        raise DataError(
            f"{path.name}: expected 63 columns x1, y1, z1 .. x21, y21, z21"
            f"{' and label' if 'label' in wanted else ''}; found {found} of the 63, missing: "
            f"{', '.join(missing)}."
        )
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise DataError(f"{path.name}: these columns stand more than once: {', '.join(twice)}.")
    return {column: place for place, column in enumerate(header)}


def _numbers(row: Mapping[str, str]) -> list[float] | None:
    try:
        numbers = [float(row[column]) for column in COLUMNS]
    except (KeyError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


_FACTS = ("handedness", "source")


def _row(
    cells: Sequence[str], place: Mapping[str, int], name: str, told: Sequence[str], title: str
) -> Row:
    row = {column: cells[at].strip() for column, at in place.items() if at < len(cells)}
    numbers = _numbers(row)
    width, height = _size(row, "width"), _size(row, "height")
    facts = {"file": title, **{column: row[column] for column in told if row.get(column)}}
    if np.isfinite((width, height)).all():
        facts["picture"] = f"{width:g}x{height:g}"
    return Row(
        name=row.get(NAME) or name,
        label=row.get("label", ""),
        points=None if numbers is None else np.array(numbers).reshape(21, 3),
        user=row.get("user", ""),
        split=row.get("split", ""),
        size=(width, height),
        facts=facts,
    )


def _size(row: Mapping[str, str], column: str) -> float:
    try:
        size = float(row.get(column, ""))
    except ValueError:
        return float("nan")
    return size if 0 < size < float("inf") else float("nan")
