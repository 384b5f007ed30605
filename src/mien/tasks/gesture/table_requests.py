"""From a table of landmarks to JSON requests, row by row, for tables of any length.

The convention of the coordinates is inferred from the first rows; training infers it from all.
Hands without depth are given the depth that they have in training.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from mien.errors import DataError, MienError, RequestError

from . import depth, landmarks, table
from .landmarks import Convention, Floats
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
    hands = table.read_hands(path)
    if hands is None:
        return None
    first = list(islice(hands.rows, ROWS_FOR_CONVENTION))
    convention = _infer_convention(first, path)
    has_depth = hands.has_depth and not depth.has_no_depth(_usable(first))
    return (_to_body(row, convention, has_depth) for row in chain(first, hands.rows))


def _usable(rows: list[Values]) -> Floats:
    """The hands (n, 21, 3) of the rows that have one."""
    return np.array([numbers for numbers, _ in rows if numbers is not None]).reshape(-1, 21, 3)


def _infer_convention(first: list[Values], path: Path) -> Convention:
    usable = _usable(first)
    if not len(usable):
        return "pixels"  # each row will be an error
    try:
        inferred = landmarks.infer_convention(usable).convention
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


def _to_body(row: Values, convention: Convention, has_depth: bool) -> Body | MienError:
    numbers, size = row
    if numbers is None:
        return RequestError("expected the 63 (or 42) numbers of 21 points in the row")
    points = np.array(numbers).reshape(21, 3)
    if convention == "normalized":
        if not np.isfinite(size).all():
            return RequestError("expected width and height in the row, to multiply x and y with")
        points[:, :2] *= size
    if not has_depth:
        points = depth.impute_depth(points[None])[0]
    try:
        return Body(landmarks=points.tolist())
    except ValidationError:
        return RequestError("expected x and y as in the first rows, found fractions (0..1)")
