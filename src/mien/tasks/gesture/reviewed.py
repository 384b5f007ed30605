"""Writes hands that people reviewed as tables beside those of a repaired source, all in train.

The tables of the source and `params` may use any convention, and a table has one: hands of one
convention come into one table.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mien.errors import DataError
from mien.observability.review.sample import Reviewed

from . import landmarks, table
from .columns import COLUMNS, ROW_NAME
from .landmarks import Convention, Floats
from .params import Body, Params

_HEADER = (*COLUMNS, "label", "split", ROW_NAME)


@dataclass(frozen=True)
class _Hand:
    """A hand as a table has it."""

    convention: Convention
    points: Floats
    sides: tuple[float, ...] = ()
    """Width and height of the picture, where the convention needs them."""


def add_reviewed(raw: Path, samples: Sequence[Reviewed], params: Params) -> None:
    """Add the hands that have landmarks and a label.

    Raises:
        DataError: the source has no tables, or a sample is no hand.
    """
    if not table.find_tables(raw)[0]:
        raise DataError(
            "reviewed samples: expected a champion that was trained on tables of landmarks, found "
            "photos or annotations, beside which a table would replace them. Export the samples "
            "with `mien review export`, and train on a table of both."
        )
    rows: dict[Convention, list[list[object]]] = {}
    for each in samples:
        if each.label is None or each.sample.body is None:
            continue
        hand = _hand(each, params)
        name = f"reviewed:{each.sample.trace_id}"
        line = [*hand.points.ravel().tolist(), each.label, "train", name, *hand.sides]
        rows.setdefault(hand.convention, []).append(line)
    for convention, lines in rows.items():
        sides = ("width", "height") if convention == "normalized" else ()
        with _free(raw, f"reviewed_{convention}").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([(*_HEADER, *sides), *lines])


def _hand(each: Reviewed, params: Params) -> _Hand:
    try:
        points = Body.model_validate(each.sample.body).points()[0]
    except ValueError as error:
        raise DataError(
            f"{each.sample.trace_id}: expected the landmarks of a hand, found others ({error}). "
            "Delete it by `mien forget`."
        ) from None
    wanted = params.convention
    if wanted == "pixels":
        return _Hand("pixels", points)
    if wanted == "auto":
        inferred = landmarks.convention_of_hand(points)
        if inferred in ("pixels", "wrist_relative"):
            return _Hand(inferred, points)
        return _Hand("pixels", points * 1024.0)  # the frame has any scale
    plane = points[:, :2] - points[:1, :2]
    if wanted == "wrist_relative":
        plane[:, 0] /= params.aspect_ratio or 1.0
        return _Hand("wrist_relative", _with_plane(points, plane))
    plane -= plane.min(axis=0)
    side = float(plane.max()) or 1.0
    return _Hand("normalized", _with_plane(points, plane / side), (side, side))


def _with_plane(points: Floats, plane: Floats) -> Floats:
    changed = points.copy()
    changed[:, :2] = plane
    return changed


def _free(raw: Path, stem: str) -> Path:
    """A path that no earlier reviewed samples have."""
    return next(path for n in count(1) if not (path := raw / f"{stem}_{n}.csv").exists())
