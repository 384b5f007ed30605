"""HaGRID's annotations as rows: the landmarks that its makers let MediaPipe find.

    { "<image>": { "bboxes": [[x, y, width, height], ...], "labels": ["like", "no_gesture"],
                   "hand_landmarks": [[[x, y] x 21], []], "user_id": "...", ... }, ... }

The form is that of the annotation section of https://github.com/hukenovs/hagrid (README.md, state
of September 2024): one entry for a picture, named as its file without the ending; lists that run
over its hands; points in shares of width and height, without depth; an empty list or null where
MediaPipe found no hand. The first release calls them `landmarks`; the second of 2023 has none. The
sets come as folders `train`, `val` and `test`, or `ann_train_val` and `ann_test`, one file for each
gesture. One file at a time is held as JSON, at about five times its size in memory.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import DataError

from .landmarks import Floats
from .table import MISSING_VALUES, Part, Row

MISSING_LANDMARKS = "missing_landmarks"
_KEYS = ("hand_landmarks", "landmarks")
_FIRST = 1 << 16
"""Bytes by which annotations are told from other JSON."""
_HAND = 21
_FAR = 1e6
"""No share of a picture's side; not a number is no smaller than it either."""


@dataclass(frozen=True)
class Picture:
    """What the annotations say of a whole picture."""

    user: str
    path: Path
    """The file of annotations that names it."""


def find(raw: Path) -> list[Path]:
    """The files of a folder that hold annotations in this form, in order of their paths."""
    return [path for path in sorted(raw.rglob("*.json")) if path.is_file() and _is_annotation(path)]


def pictures(paths: Sequence[Path]) -> dict[str, Picture]:
    """What is said of each picture, by its name without the ending.

    Raises:
        DataError: a file is not in this form.
    """
    return {
        image: Picture(str(entry.get("user_id") or ""), path)
        for path in paths
        for image, entry in _entries(path)
    }


def part(titles: Mapping[Path, str], splits: Mapping[Path, str]) -> Part:
    """Every hand of some files of annotations as a row `<file>:<image>:<hand>`.

    Args:
        titles: what the rows of each file are named by.
        splits: the split that each file asks for, "" for none.

    Raises:
        DataError: a file is not in this form.
    """
    rows = [
        row
        for path, title in titles.items()
        for image, entry in _entries(path)
        for row in _rows(f"{title}:{image}", entry, title, splits[path])
    ]
    names = list(titles.values())
    return Part(
        f"{names[0]} and {len(names) - 1} more files" if len(names) > 1 else names[0],
        rows,
        convention="unit",
        reasons=(MISSING_LANDMARKS,),
        note="These are HaGRID's annotations: landmarks found by MediaPipe, checked by nobody.",
    )


def _rows(name: str, entry: Mapping[str, Any], title: str, split: str) -> Iterator[Row]:
    labels = _list(entry.get("labels"))
    hands = _list(next((entry[key] for key in _KEYS if key in entry), None))
    user = str(entry.get("user_id") or "")
    # Lists of different lengths: which hand is whose cannot be known.
    matched = not hands or len(hands) == len(labels)
    for number, label in enumerate(labels):
        given = hands[number] if hands and matched else None
        points = _points(given) if given else None
        facts: dict[str, str | float] = {"file": title}
        if entry.get("leading_hand") and label != "no_gesture":
            facts["handedness"] = str(entry["leading_hand"]).capitalize()
        fault = (
            ""
            if points is not None
            else MISSING_LANDMARKS
            if matched and not given
            else MISSING_VALUES
        )
        text = label.strip() if isinstance(label, str) else ""
        yield Row(f"{name}:{number + 1}", text, points, user, split, facts=facts, fault=fault)


def _points(given: Any) -> Floats | None:
    """(21, 3) with depth 0, or None for anything else than 21 pairs of numbers."""
    if not isinstance(given, list) or len(given) != _HAND:
        return None
    flat = [value for point in given if isinstance(point, list) for value in point]
    if len(flat) != 2 * _HAND or any(len(point) != 2 for point in given):
        return None
    if not all(type(value) in (int, float) and abs(value) < _FAR for value in flat):
        return None
    points = np.zeros((_HAND, 3))
    points[:, :2] = np.array(flat, dtype=np.float64).reshape(_HAND, 2)
    return points


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _entries(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name} looks like annotations of HaGRID and is not readable JSON ({error}). "
            "Fetch it again."
        ) from None
    if not isinstance(document, dict):
        raise DataError(f"{path.name}: expected an object of pictures by name, found a list.")
    return [(str(image), entry) for image, entry in document.items() if isinstance(entry, dict)]


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(_FIRST)
    return all(re.search(rb'"%s"\s*:' % key, start) for key in (b"labels", b"bboxes"))
