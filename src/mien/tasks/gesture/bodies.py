"""From a CSV table of landmarks to JSON requests, row by row, however long the table is.

The convention of the coordinates is told by the table's first rows, as in training by all of them.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from mien.errors import DataError, MienError, RequestError

from . import landmarks, table
from .params import Body

FIRST = 1000
"""Rows by which the convention is told."""
Row = tuple[list[float] | None, tuple[float, float]]


def bodies(path: Path) -> Iterator[Body | MienError] | None:
    """Yield each row as a request, or why it is none; None for a table without landmarks.

    Raises:
        DataError: the table or its convention cannot be understood.
    """
    rows = table.hands(path)
    if rows is None:
        return None
    first = list(islice(rows, FIRST))
    known = _convention(first, path)
    return (_body(row, known) for row in chain(first, rows))


def _convention(first: list[Row], path: Path) -> landmarks.Known:
    usable = [numbers for numbers, _ in first if numbers is not None]
    if not usable:
        return "pixels"  # no row has numbers, and each will be told so
    try:
        known = landmarks.recognise(np.array(usable).reshape(-1, 21, 3)).convention
    except DataError:
        raise DataError(
            f"{path.name}: it cannot be told what x and y are by the first {len(first)} rows. "
            "Expected one of these in all rows: pixels above 10; shares of 0..1 with the picture's "
            "width and height in columns; or the wrist at 0, 0."
        ) from None
    if known == "unit" and not any(np.isfinite(size).all() for _, size in first):
        raise DataError(
            f"{path.name}: x and y are shares (0..1) of the picture's sides, and no row tells its "
            "width and height: the hand's proportions are lost. Add the columns width and height."
        )
    return known


def _body(row: Row, known: landmarks.Known) -> Body | MienError:
    numbers, size = row
    if numbers is None:
        return RequestError("The row has not 63 numbers: x1, y1, z1 .. x21, y21, z21.")
    points = np.array(numbers).reshape(21, 3)
    if known == "unit":
        if not np.isfinite(size).all():
            return RequestError("The row has no width and height to multiply x and y with.")
        points[:, :2] *= size
    return Body(landmarks=points.tolist())
