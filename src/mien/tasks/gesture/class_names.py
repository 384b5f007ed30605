"""Names of classes in a file beside a table whose labels are numbers, one name in each line.

Such as `keypoint_classifier_label.csv` beside `keypoint.csv`, counted from 0.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mien.errors import DataError

from .csv_text import read_lines
from .table import SourceTable

_SUFFIXES = (".csv", ".tsv", ".txt")
_NAME_PARTS = ("label", "classes")
"""One of them stands in the name of such a file."""


def find_class_names(table: Path) -> Path | None:
    """The list of class names in the folder of a table; None without one, or with several."""
    lists = [
        path
        for path in sorted(table.parent.iterdir())
        if path != table
        and path.suffix.lower() in _SUFFIXES
        and any(part in path.stem.casefold() for part in _NAME_PARTS)
        and _names(path)
    ]
    return lists[0] if len(lists) == 1 else None


def apply_class_names(source_table: SourceTable, path: Path) -> SourceTable:
    """The table with names for labels that are numbers, where a list of names lies beside it.

    Raises:
        DataError: the list has no name for a number.
    """
    numbers = {row.label for row in source_table.rows if row.label}
    if not numbers or not all(label.isascii() and label.isdigit() for label in numbers):
        return source_table
    if (listed := find_class_names(path)) is None:
        return source_table
    names = _names(listed)
    if (largest := max(map(int, numbers))) >= len(names):
        raise DataError(
            f"{source_table.title}: expected labels from 0 to {len(names) - 1}, for which "
            f"{listed.name} has names, found {largest}. Complete the list of names."
        )
    rows = [
        replace(row, label=names[int(row.label)] if row.label else "") for row in source_table.rows
    ]
    note = f"{source_table.note} Its labels are numbers, named in {listed.name}."
    return replace(source_table, rows=rows, note=note.strip())


def _names(path: Path) -> Sequence[str]:
    """The cells of a file with one cell in each line; none for another file."""
    try:
        lines = [cells for _, cells in read_lines(path)]
    except DataError:
        return ()
    return [cells[0] for cells in lines] if all(len(cells) == 1 for cells in lines) else ()
