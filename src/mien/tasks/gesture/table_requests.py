"""From a CSV table of landmarks to JSON requests, row by row, for tables of any length.

The convention of the coordinates is inferred from the first rows; training infers it from all.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from mien.errors import DataError, MienError, RequestError

from . import landmarks, table
from .landmarks import Convention
from .params import Body

ROWS_FOR_CONVENTION = 1000
"""Rows from which the convention is inferred."""
Values = tuple[list[float] | None, tuple[float, float]]
"""63 numbers or None, and the picture's width and height or NaN."""


def read_table_requests(path: Path) -> Iterator[Body | MienError] | None:
    """Yield each row as a request or an error; return None for a table without landmarks.

    Raises:
        DataError: the table cannot be read, or its convention is unclear.
    """
    rows = table.iter_hands(path)
    if rows is None:
        return None
    first = list(islice(rows, ROWS_FOR_CONVENTION))
    convention = _infer_convention(first, path)
    return (_to_body(row, convention) for row in chain(first, rows))


def _infer_convention(first: list[Values], path: Path) -> Convention:
    usable = [numbers for numbers, _ in first if numbers is not None]
    if not usable:
        return "pixels"  # each row will be an error
    try:
        inferred = landmarks.infer_convention(np.array(usable).reshape(-1, 21, 3)).convention
    except DataError:
        raise DataError(
            f"{path.name}: the convention of x and y is unclear in the first {len(first)} rows: "
            "expected in all rows pixels above 10, or fractions of 0..1 with the picture's width "
            "and height in columns, or the wrist at 0, 0. Convert the rows to one of these."
        ) from None
    if inferred == "normalized" and not any(np.isfinite(size).all() for _, size in first):
        raise DataError(
            f"{path.name}: x and y are fractions (0..1) of the picture's sides, and no row has its "
            "width and height: the hand's proportions are lost. Add the columns width and height."
        )
    return inferred


def _to_body(row: Values, convention: Convention) -> Body | MienError:
    numbers, size = row
    if numbers is None:
        return RequestError("expected 63 numbers x1, y1, z1 .. x21, y21, z21 in the row")
    points = np.array(numbers).reshape(21, 3)
    if convention == "normalized":
        if not np.isfinite(size).all():
            return RequestError("expected width and height in the row, to multiply x and y with")
        points[:, :2] *= size
    return Body(landmarks=points.tolist())
