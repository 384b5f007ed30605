"""Which columns of a table are the 21 points of a hand, and which its label, user, split, size.

Decides from the first lines of a file, never from its name. What could be read in two ways is
refused with what was found and what to do.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from mien.errors import DataError

from .coordinate_names import CoordinateColumns, coordinate_columns
from .csv_text import looks_numeric

POINTS = 21
DEPTHS = {63: True, 42: False}
"""Numbers of a row, and whether there is a depth among them."""
COLUMNS = tuple(f"{axis}{point}" for point in range(1, POINTS + 1) for axis in "xyz")
ROW_NAME = "mien_row"
"""Column of prepared and repaired tables with file and line of the source."""
SUBJECT_SIZE = "mien_subject_size"
"""Column of prepared tables with the share of the picture that a hand covers."""
_LABEL_NAMES = (
    *("class_name", "class_label", "gesture_name", "gesture_label", "label_name"),
    *("sign", "letter"),
)
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "label": ("label", "class", "gesture", "labels", "target", "category", *_LABEL_NAMES),
    "user": (
        "user",
        "user_id",
        "person",
        "person_id",
        "subject",
        "subject_id",
        "participant",
        "session",
    ),
    "split": ("split", "subset"),
    "width": ("width", "image_width", "img_width", "frame_width"),
    "height": ("height", "image_height", "img_height", "frame_height"),
    "handedness": ("handedness", "hand", "hand_label", "hand_side"),
    "source": ("source",),
    ROW_NAME: (ROW_NAME,),
    SUBJECT_SIZE: (SUBJECT_SIZE,),
}
"""Names of the other columns, in lower case; the first one present is taken."""
_MAYBE_SPLIT = ("set", "dataset", "partition", "usage", "phase", "fold")
"""Names of a column of splits, where it holds nothing but the names of splits."""
_SPLIT_WORDS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_BLANK = {"", "nan", "none", "null", "na", "n/a"}
_SIDES = {"left", "right", "l", "r"}


@dataclass(frozen=True)
class Columns:
    """Positions of the columns of a table."""

    numbers: tuple[int, ...]
    """63, or 42 without depth: x, y (and z) of one point after the other."""
    has_depth: bool
    roles: Mapping[str, int] = field(default_factory=dict)
    """By key of `SYNONYMS`."""
    header: tuple[str, ...] | None = None
    """None for a file without names of columns."""
    header_lines: int = 1
    width: int = 0
    """Cells of a line; a line with more content is shifted, and cannot be used."""
    decimal_comma: bool = False
    note: str = ""
    """For the user, where the reading is not obvious."""

    def default_header(self) -> tuple[str, ...]:
        """A header for a file that has none."""
        names = [f"column_{number + 1}" for number in range(self.width)]
        axes = COLUMNS if self.has_depth else [name for name in COLUMNS if name[0] != "z"]
        for name, position in (*zip(axes, self.numbers, strict=True), *self.roles.items()):
            names[position] = name
        return tuple(names)


def read_columns(lines: Sequence[Sequence[str]], title: str, labelled: bool) -> Columns | None:
    """The columns of a table by its first lines; None for a table without hands.

    Args:
        lines: the first lines of the file, the header included.
        title: of the table, for messages.
        labelled: whether a label is required.

    Raises:
        DataError: the table holds hands that cannot be read, or could be read in two ways.
    """
    if not lines:
        return None
    header, rows = [cell.strip() for cell in lines[0]], lines[1:]
    columns: Columns | None
    if _is_data(header):
        columns = _without_header(lines, title, labelled)
    elif rows and _counts_all(header):
        unnamed = _without_header(rows, title, labelled)
        columns = unnamed and replace(unnamed, header_lines=1)
    else:
        columns = _with_header(header, rows, title)
        if columns is not None and labelled and "label" not in columns.roles:
            last = [name for name in header if name][-5:]
            raise DataError(
                f"{title}: expected 63 columns x1, y1, z1 .. x21, y21, z21 and a column label (or "
                f"class, gesture, target), found no such column (last ones: {', '.join(last)}). "
                "missing: label. Name the column."
            )
    return columns and _with_decimals(columns, rows, title)


def _is_data(cells: Sequence[str]) -> bool:
    """Whether a first line holds the numbers of a hand; a row of counted columns is a header."""
    numbers = [cell for cell in cells if looks_numeric(cell)]
    return len(numbers) >= min(DEPTHS) and not _is_count(numbers)


def _is_count(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2 .. or 1, 2, 3 .., as writers name columns that have no name."""
    return any(list(cells) == [str(n + first) for n in range(len(cells))] for first in (0, 1))


def _counts_all(header: Sequence[str]) -> bool:
    """Whether a header counts the label too: it names nothing, as if it were not there."""
    return _is_count([cell for cell in header if cell]) and len(header) > min(DEPTHS)


def _with_header(header: list[str], rows: Sequence[Sequence[str]], title: str) -> Columns | None:
    coordinates = coordinate_columns(header, title) or _counted(header)
    if coordinates is None:
        return None
    shift = _row_names(header, rows)
    roles = _roles(header, set(coordinates.positions), rows, shift, title)
    width = len(header) + shift
    _require_width(rows, width, title)
    return Columns(
        numbers=tuple(position + shift for position in coordinates.positions),
        has_depth=coordinates.has_depth,
        roles={key: position + shift for key, position in roles.items()},
        header=("",) * shift + tuple(header),
        width=width,
        note=coordinates.note,
    )


def _counted(header: Sequence[str]) -> CoordinateColumns | None:
    """63 or 42 columns that are only counted, such as 0 .. 62 or f1 .. f42: x, y, z in turn."""
    groups: dict[str, dict[int, int]] = {}
    for position, name in enumerate(header):
        if match := re.fullmatch(r"(\D*?)[\s_.-]*(\d+)", name):
            groups.setdefault(match.group(1).casefold(), {})[int(match.group(2))] = position
    for numbers in groups.values():
        first = min(numbers)
        complete = first in (0, 1) and sorted(numbers) == list(range(first, first + len(numbers)))
        if complete and len(numbers) in DEPTHS:
            positions = tuple(numbers[number] for number in sorted(numbers))
            note = f"The {len(numbers)} counted columns were read as points in turn."
            return CoordinateColumns(positions, DEPTHS[len(numbers)], note)
    return None


def _row_names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """1 where each line has a cell before those of the header, as R writes names of rows."""
    one_more = bool(rows) and all(len(row) == len(header) + 1 for row in rows)
    return int(one_more and all(row[-1] for row in rows))


def _roles(
    header: Sequence[str],
    coordinates: set[int],
    rows: Sequence[Sequence[str]],
    shift: int,
    title: str,
) -> dict[str, int]:
    names = [re.sub(r"[\W_]+", "_", name.casefold()).strip("_") for name in header]
    free = {n: name for n, name in enumerate(names) if n not in coordinates and name}
    roles = {}
    for key, synonyms in SYNONYMS.items():
        positions = [n for synonym in synonyms for n, name in free.items() if name == synonym]
        repeated = len({names[n] for n in positions}) < len(positions)
        if key == "label" and len(positions) > 1 and not repeated:
            positions = _textual(positions, rows, shift)
        if repeated or (key == "label" and len(positions) > 1):
            several = ", ".join(sorted({header[n] for n in positions}))
            raise DataError(
                f"{title}: expected each column once, found several: {several}. Remove or rename "
                "the others."
            )
        if positions:
            roles[key] = positions[0]
    candidates = [n for n, name in free.items() if name in _MAYBE_SPLIT]
    splits = [
        n for n in candidates if (values := _values(rows, n + shift)) and values <= _SPLIT_WORDS
    ]
    if splits:
        roles.setdefault("split", splits[0])
    return roles


def _textual(positions: list[int], rows: Sequence[Sequence[str]], shift: int) -> list[int]:
    """Of a name and a number of the same class, the name."""
    texts = [
        n
        for n in positions
        if not all(looks_numeric(cell) for cell in _cells(rows, n + shift) if cell)
    ]
    return texts if len(texts) == 1 else positions


def _require_width(rows: Sequence[Sequence[str]], width: int, title: str) -> None:
    longer = [len(row) for row in rows if any(row[width:])]
    if rows and len(longer) == len(rows):
        raise DataError(
            f"{title}: expected {width} cells in each line, as in the header, found {longer[0]}. "
            "Numbers with a decimal comma need another delimiter, such as a semicolon."
        )


def _without_header(lines: Sequence[Sequence[str]], title: str, labelled: bool) -> Columns | None:
    width = len(lines[0])
    numeric: list[int] = []
    texts: list[int] = []
    for position in range(width):
        cells = [cell for cell in _cells(lines, position) if cell.casefold() not in _BLANK]
        if cells:
            (numeric if all(map(looks_numeric, cells)) else texts).append(position)
    sides = [n for n in texts if _values(lines, n) <= _SIDES]
    candidates = [n for n in texts if n not in sides]
    labels = candidates or _numeric_labels(numeric, lines, title)
    if len(numeric) > 2 * max(DEPTHS):
        return None
    numbers = [n for n in numeric if n not in labels]
    if len(numbers) - 1 in DEPTHS and _is_index(_cells(lines, numbers[0])):
        numbers = numbers[1:]
    if len(numbers) not in DEPTHS or len(labels) > 1 or (labelled and not labels):
        raise DataError(
            f"{title}: expected 63 or 42 numbers and one label in each line, because the first "
            f"line is no header; found {len(numbers)} columns of numbers and {len(labels)} that "
            "may be labels. Add a header: x1, y1, z1 .. x21, y21, z21, label."
        )
    roles = {"label": labels[0]} if labels else {}
    if len(sides) == 1:
        roles["handedness"] = sides[0]
    where = f"the label is column {labels[0] + 1} of {width}" if labels else "there is no label"
    note = f"There is no header: {where}, and {len(numbers)} numbers are points in turn."
    return Columns(
        tuple(numbers), DEPTHS[len(numbers)], roles, header_lines=0, width=width, note=note
    )


def _numeric_labels(
    numeric: Sequence[int], lines: Sequence[Sequence[str]], title: str
) -> list[int]:
    """The first or the last column, where it is a class number and the other one is not."""
    if len(numeric) in DEPTHS or not numeric:
        return []
    ends = [n for n in (numeric[0], numeric[-1]) if _is_class_number(_cells(lines, n))]
    if len(numeric) - 2 in DEPTHS and _is_index(_cells(lines, numeric[0])):
        ends = [numeric[-1]]  # the first one counts the rows
    if len(lines) > 2 and len(numeric) - 1 in DEPTHS:
        ends = [n for n in ends if not _is_index(_cells(lines, n))]  # such as of one class
    if len(ends) > 1:
        raise DataError(
            f"{title}: expected a label in the first or in the last column, found whole numbers in "
            "both. Add a header: x1, y1, z1 .. x21, y21, z21, label."
        )
    return ends


def _is_class_number(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\d{1,3}", cell) for cell in cells if cell.casefold() not in _BLANK)


def _is_index(cells: Sequence[str]) -> bool:
    """Whether cells count the rows up, from any number."""
    if not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(after == before + 1 for before, after in pairwise(numbers))


def _with_decimals(columns: Columns, rows: Sequence[Sequence[str]], title: str) -> Columns | None:
    """The columns, with the decimal mark of their numbers."""
    cells = [row[n] for row in rows for n in columns.numbers if n < len(row)]
    commas = sum("," in cell for cell in cells if looks_numeric(cell))
    points = sum("." in cell for cell in cells if looks_numeric(cell))
    if commas and points:
        raise DataError(
            f"{title}: expected one decimal mark, found {commas} numbers with a comma and {points} "
            "with a point. Write all with a point."
        )
    return replace(columns, decimal_comma=bool(commas))


def _cells(rows: Sequence[Sequence[str]], position: int) -> list[str]:
    return [row[position] for row in rows if position < len(row)]


def _values(rows: Sequence[Sequence[str]], position: int) -> set[str]:
    return {cell.casefold() for cell in _cells(rows, position)} - _BLANK


def role_cells(cells: Sequence[str], columns: Columns) -> Iterator[tuple[str, str]]:
    """Key and content of the columns with a role of a line."""
    for key, position in columns.roles.items():
        if position < len(cells):
            yield key, cells[position]
