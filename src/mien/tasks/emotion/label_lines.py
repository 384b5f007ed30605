"""Reads the text of YOLO label files: class number and box of each line, and every oddity.

A line is `class cx cy w h`, the box in shares of width and height. Other public forms become such
a box: polygons and oriented boxes (their bounding box), a score in the sixth column, keypoints
after the box; commas, semicolons or tabs between the numbers; UTF-16 and byte order marks. Decodes
no image and knows no class.
"""

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

XcYcWh = tuple[float, float, float, float]
"""Centre x, centre y, width and height of a box, in shares of the image's width and height."""

EMPTY_LABEL_FILE = "empty_label_file"
MALFORMED_LABEL = "malformed_label"
DUPLICATE_LABEL_LINE = "duplicate_label_line"
POLYGON_LABEL = "polygon_label"
EXTRA_LABEL_COLUMNS = "extra_label_columns"
CONVERSIONS = (POLYGON_LABEL, EXTRA_LABEL_COLUMNS, DUPLICATE_LABEL_LINE)
"""Oddities of lines that are read; the others mark lines that are not."""
MAX_SHARE = 2.0
"""A larger number is no share of an image, even of a box that reaches beyond it: pixels."""
_BOX_COLUMNS = 5
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.ASCII | re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)
_SEPARATORS = re.compile(r"[\s,;]+")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like that of UTF-16
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class LabelledBox:
    """A line that could be read."""

    number: int
    """Of the class, as written."""
    box: XcYcWh
    line: int
    """Counted from 1."""


@dataclass(frozen=True)
class LabelIssue:
    """An oddity of a label file, by the slug of its check."""

    slug: str
    line: int
    """Counted from 1; 1 for an empty file."""
    reason: str = ""
    """Of a malformed line: what was expected and found."""


@dataclass(frozen=True)
class LabelFile:
    """The content of a label file."""

    boxes: tuple[LabelledBox, ...]
    """Those before the first malformed line: the lines after it cannot be trusted either."""
    issues: tuple[LabelIssue, ...]

    @property
    def malformed(self) -> LabelIssue | None:
        """The line at which reading ended; None where every line was read."""
        return next((each for each in self.issues if each.slug == MALFORMED_LABEL), None)

    @property
    def empty(self) -> bool:
        """Whether it says that the image shows no face."""
        return any(each.slug == EMPTY_LABEL_FILE for each in self.issues)


class _MalformedLineError(ValueError):
    """The reason why a line cannot be read."""


def decode_text(content: bytes) -> str:
    """The text of a small file in UTF-8 or UTF-16, with or without a byte order mark."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    if b"\0" in content[:2] and len(content) > 1:
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", "replace")
    return content.decode("utf-8", "replace")


def parse(content: bytes, has_keypoints: bool = False) -> LabelFile:
    """Read a label file.

    Args:
        content: the bytes of the file.
        has_keypoints: whether columns after the box are keypoints (`kpt_shape` in data.yaml), and
            not the corners of a polygon.
    """
    boxes: dict[tuple[int, XcYcWh], LabelledBox] = {}
    issues: list[LabelIssue] = []
    lines = list(_lines(decode_text(content)))
    if not lines:
        issues.append(LabelIssue(EMPTY_LABEL_FILE, 1))
    for line, columns in lines:
        try:
            number, box, slug = _parse_line(columns, has_keypoints)
        except _MalformedLineError as error:
            issues.append(LabelIssue(MALFORMED_LABEL, line, str(error)))
            break
        if slug:
            issues.append(LabelIssue(slug, line))
        if (number, box) in boxes:
            issues.append(LabelIssue(DUPLICATE_LABEL_LINE, line))
        boxes.setdefault((number, box), LabelledBox(number, box, line))
    return LabelFile(tuple(boxes.values()), tuple(issues))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and columns of each line that is not blank."""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.replace('"', " ")  # as writers of CSV put around a cell
        columns = line.split()
        if "," in line or ";" in line:
            columns = _split_separated(line)
        if columns:
            yield number, columns


def _split_separated(line: str) -> list[str]:
    """The columns of a line with commas or semicolons; a comma may be the decimal one."""
    columns = [each for each in re.split(r"[\s;]+", line) if each]
    decimal = "." not in line and len(columns) >= _BOX_COLUMNS
    if decimal and all(map(_DECIMAL_COMMA.fullmatch, columns)):
        return [each.replace(",", ".") for each in columns]
    return [each for each in _SEPARATORS.split(line) if each]


def _parse_line(columns: Sequence[str], has_keypoints: bool) -> tuple[int, XcYcWh, str]:
    """Class number, box, and the slug of what was converted or ignored ("" for nothing)."""
    numbers = [_number(each) for each in columns]
    count = len(numbers)
    if count < _BOX_COLUMNS:
        raise _MalformedLineError(f"expected 5 numbers `class cx cy w h`, found {count}")
    if not numbers[0].is_integer():
        raise _MalformedLineError(f"expected a class number, found {columns[0]}")
    number, values = int(numbers[0]), numbers[1:]
    if count == _BOX_COLUMNS or has_keypoints:
        _require_shares(values[:4])
        return number, _box(values), EXTRA_LABEL_COLUMNS if count > _BOX_COLUMNS else ""
    if count == _BOX_COLUMNS + 1:
        _require_shares(values[:4])
        if not 0 <= values[4] <= 1:
            raise _MalformedLineError(f"expected a score of 0 to 1 in column 6, found {columns[5]}")
        return number, _box(values), EXTRA_LABEL_COLUMNS
    if not count % 2:
        raise _MalformedLineError(
            f"expected 5 numbers, 6 with a score, or a class and pairs x y, found {count}"
        )
    _require_shares(values)
    return number, _bounding_box(values), POLYGON_LABEL


def _number(text: str) -> float:
    # float() alone also reads 1_0 as ten, and digits of other scripts.
    if not _NUMBER.fullmatch(text):
        raise _MalformedLineError(f"expected numbers, found {text[:20]!r}")
    return float(text)


def _require_shares(values: Sequence[float]) -> None:
    largest = max(values, key=abs)
    if MAX_SHARE < abs(largest) < math.inf:
        raise _MalformedLineError(
            f"expected shares of the image (0 to 1), found {largest:g}: these are pixels. Divide "
            "x by the width and y by the height"
        )


def _box(values: Sequence[float]) -> XcYcWh:
    cx, cy, w, h = values[:4]
    return cx, cy, w, h


def _bounding_box(values: Sequence[float]) -> XcYcWh:
    xs, ys = values[::2], values[1::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
