"""Delimited text as public writers make it: encodings, delimiters, numbers. Knows no landmarks.

UTF-8 or UTF-16 with a byte order mark; comma, semicolon, tab or bar; `sep=;` as a first line;
numbers with a decimal point or a decimal comma
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from mien.errors import DataError

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ("\t", ";", "|")
"""Beside the comma, which may also be the decimal comma of the same file."""
_MANY = 41
"""Delimiters of a line with 21 points: at least two numbers each."""
_SEP_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)

Line = tuple[int, list[str]]
"""Number of a line, and its cells without the spaces around them."""


def read_lines(path: Path) -> Iterator[Line]:
    """Every line that has a cell with content, the header included.

    Raises:
        DataError: the file is not delimited text, or a quotation mark is not closed.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as stream:
            delimiter, skip = _delimiter(stream)
            yield from _records(path, stream, delimiter, skip)
    except (UnicodeError, csv.Error) as error:
        raise DataError(
            f"{path.name}: expected a CSV file in UTF-8 ({error}). Export it again as one."
        ) from None


def read_header(path: Path) -> list[str]:
    """The first line of a file; no cells if it is empty.

    Raises:
        DataError: as `read_lines`.
    """
    return next(read_lines(path), (0, []))[1]


def read_records(path: Path) -> Iterator[Line]:
    """The lines below the first one.

    Raises:
        DataError: as `read_lines`.
    """
    lines = read_lines(path)
    next(lines, None)
    yield from lines


def looks_numeric(cell: str) -> bool:
    """Whether a cell is a number in any of the forms that are read."""
    return _NUMBER.fullmatch(cell) is not None


def to_numbers(cells: Sequence[str], decimal_comma: bool) -> list[float] | None:
    """Finite numbers, or None where one of the cells is none.

    Stricter than Python's float, which reads `1_0`, `nan` and digits of other scripts.
    """
    text = "\0".join(cells)
    if "_" in text or not text.isascii():
        return None
    if decimal_comma:
        if "." in text:
            return None
        cells = text.replace(",", ".").split("\0")
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def to_size(cell: str) -> float:
    """Width or height in pixels; NaN for anything that is none."""
    numbers = to_numbers([cell.strip()], "," in cell) or [float("nan")]
    return numbers[0] if numbers[0] > 0 else float("nan")


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        mark = stream.read(2)
    return "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _delimiter(stream: IO[str]) -> tuple[str, int]:
    """The delimiter, and how many lines to skip; the stream is at its begin again."""
    first = next((line for line in stream if line.strip()), "")
    stream.seek(0)
    if stated := _SEP_LINE.fullmatch(first):
        return stated.group(1), 1
    commas = first.count(",")
    enough = min(_MANY, max(commas, 1))
    return next((each for each in _DELIMITERS if first.count(each) >= enough), ","), 0


def _records(path: Path, stream: IO[str], delimiter: str, skip: int) -> Iterator[Line]:
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
    width, before = 0, 0
    for record in reader:
        lines, before = reader.line_num - before, reader.line_num
        cells = [cell.strip() for cell in record]
        if not any(cells):
            continue
        if skip:
            skip -= 1
            continue
        width = width or len(cells)
        if lines > 1 and len(cells) != width:
            raise DataError(
                f"{path.name}: line {reader.line_num - lines + 1}: expected a line of {width} "
                f"cells, found {len(cells)} in {lines} lines. Close the quotation mark there."
            )
        yield reader.line_num, cells
