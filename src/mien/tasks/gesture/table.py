"""CSV tables of landmarks as arrays: which columns there are, which rows can be used.

Knows the columns x1, y1, z1 .. x21, y21, z21 and label, and the optional ones. Does not know the
labels, conventions or splits of the task. Rows that cannot be used are counted and left out;
a table that cannot be understood ends with a `DataError`.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

COLUMNS = tuple(f"{axis}{point}" for point in range(1, 22) for axis in "xyz")
_NAME = "mien_row"
"""Column of prepared tables that keeps file and line of the source."""
_NAMED = 5


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


@dataclass
class Faults:
    """Rows that were left out: how many by reason, and the first few of each."""

    total: int = 0
    count: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.count[reason] = self.count.get(reason, 0) + 1
        named = self.examples.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(name)


UNREADABLE = "not 63 numbers"
UNLABELLED = "no label"
IGNORED = "ignored label"


def find(raw: Path) -> tuple[list[Path], list[Path]]:
    """CSV files of a folder in order of their names: those with landmark columns, and the others.

    Raises:
        DataError: there is none.
    """
    files = [
        path for path in sorted(raw.rglob("*")) if path.suffix.lower() == ".csv" and path.is_file()
    ]
    tables = [path for path in files if set(_header(_lines(path))) & set(COLUMNS)]
    if not tables:
        found = ", ".join(path.name for path in files[:_NAMED]) or "no CSV file"
        raise DataError(
            "the source holds no table of landmarks: expected a CSV file with the columns x1, y1, "
            f"z1 .. x21, y21, z21 and label; found {found}."
        )
    return tables, [path for path in files if path not in tables]


def read(path: Path, ignore: Sequence[str], faults: Faults) -> Rows:
    """Read one table; rows that cannot be used are added to `faults`.

    Raises:
        DataError: a column is missing or named twice, the file is not CSV, or no row is usable.
    """
    lines = _lines(path)
    header = _header(lines)
    place = _places(header, path, (*COLUMNS, "label"))
    kept: list[tuple[list[float], dict[str, str], str]] = []
    for line, cells in lines:
        name = f"{path.name}:{line}"
        faults.total += 1
        row = {
            column: cells[index].strip() for column, index in place.items() if index < len(cells)
        }
        numbers = _numbers(row)
        reason = _reason(row, numbers, ignore)
        if reason:
            faults.add(reason, name)
        elif numbers is not None:
            kept.append((numbers, row, name))
    if not kept:
        reasons = ", ".join(f"{count} with {why}" for why, count in faults.count.items())
        raise DataError(f"{path.name} holds no usable row ({reasons or 'it has only a header'}).")
    return _rows(kept, {"width", "height"} <= set(header))


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
        writer.writerow([*COLUMNS, "label", "user", _NAME])
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


def _reason(
    row: Mapping[str, str], numbers: list[float] | None, ignore: Sequence[str]
) -> str | None:
    if row.get("label") in ignore:
        return IGNORED
    if not row.get("label"):
        return UNLABELLED
    return UNREADABLE if numbers is None else None


def _rows(kept: list[tuple[list[float], dict[str, str], str]], sized: bool) -> Rows:
    sizes = [[_size(row, "width"), _size(row, "height")] for _, row, _ in kept]
    return Rows(
        landmarks=np.array([numbers for numbers, _, _ in kept]).reshape(-1, 21, 3),
        labels=tuple(row["label"] for _, row, _ in kept),
        users=tuple(row.get("user", "") for _, row, _ in kept),
        splits=tuple(row.get("split", "") for _, row, _ in kept),
        names=tuple(row.get(_NAME) or name for _, row, name in kept),
        sizes=np.array(sizes) if sized else None,
    )


def _size(row: Mapping[str, str], column: str) -> float:
    try:
        size = float(row.get(column, ""))
    except ValueError:
        return float("nan")
    return size if 0 < size < float("inf") else float("nan")
