"""HaGRID's annotations as rows: the landmarks that its authors made with MediaPipe.

    { "<image>": { "bboxes": [[x, y, width, height], ...], "labels": ["like", "no_gesture"],
                   "hand_landmarks": [[[x, y] x 21], []], "user_id": "...", ... }, ... }

The form is that of the annotation section of https://github.com/hukenovs/hagrid (README.md, state
of September 2024): one entry for a picture, named as its file without the suffix; lists that run
over its hands; landmarks as fractions of width and height, without depth; an empty list or null
where MediaPipe detected no hand. The first release calls them `landmarks`; the second of 2023 has
none. The sets come as folders `train`, `val` and `test`, or `ann_train_val` and `ann_test`, one
file for each gesture. One file at a time is parsed, at about five times its size in memory.
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
from .table import MISSING_VALUES, SourceRow, SourceTable

MISSING_LANDMARKS = "missing_landmarks"
ASPECT_RATIO = 0.75
"""Median width / height of HaGRID's pictures, whose size the annotations do not name. With it an
SVM is as good as with each picture's own (`bench photosource`)."""
_NOTE = "These are HaGRID's annotations: landmarks made with MediaPipe, not reviewed."
_LANDMARK_KEYS = ("hand_landmarks", "landmarks")
_HEAD_BYTES = 1 << 16
"""By which annotations are distinguished from other JSON."""
_LANDMARKS = 21
_MAX_COORDINATE = 1e6
"""No fraction of a picture's side is larger; NaN is not smaller either."""


@dataclass(frozen=True)
class PhotoAnnotation:
    """Annotations of a whole picture."""

    user: str
    path: Path
    """The file of annotations that names it."""


def find_annotations(raw: Path) -> list[Path]:
    """The files of a folder with annotations in this form, in order of their paths."""
    return [path for path in sorted(raw.rglob("*.json")) if path.is_file() and _is_annotation(path)]


def read_photo_annotations(paths: Sequence[Path]) -> dict[str, PhotoAnnotation]:
    """The annotation of each picture, by its name without the suffix.

    Raises:
        DataError: a file is not in this form.
    """
    return {
        image: PhotoAnnotation(str(entry.get("user_id") or ""), path)
        for path in paths
        for image, entry in _entries(path)
    }


def read_annotations(titles: Mapping[Path, str], splits: Mapping[Path, str]) -> SourceTable:
    """Every hand of some files of annotations as a row `<file>:<image>:<hand>`.

    Args:
        titles: prefix of the names of each file's rows.
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
    return SourceTable(
        f"{names[0]} and {len(names) - 1} more files" if len(names) > 1 else names[0],
        rows,
        convention="normalized",
        skip_reasons=(MISSING_LANDMARKS,),
        note=_NOTE,
        default_aspect_ratio=ASPECT_RATIO,
    )


def _rows(name: str, entry: Mapping[str, Any], title: str, split: str) -> Iterator[SourceRow]:
    labels = _list(entry.get("labels"))
    hands = _list(next((entry[key] for key in _LANDMARK_KEYS if key in entry), None))
    user = str(entry.get("user_id") or "")
    # With lists of different lengths it is unknown which landmarks belong to which label.
    matched = not hands or len(hands) == len(labels)
    for number, label in enumerate(labels):
        value = hands[number] if hands and matched else None
        landmarks = _landmarks(value) if value else None
        facts: dict[str, str | float] = {"file": title}
        if entry.get("leading_hand") and label != "no_gesture":
            facts["handedness"] = str(entry["leading_hand"]).capitalize()
        reason = MISSING_LANDMARKS if matched and not value else MISSING_VALUES
        yield SourceRow(
            f"{name}:{number + 1}",
            label.strip() if isinstance(label, str) else "",
            landmarks,
            user,
            split,
            facts=facts,
            skip_reason="" if landmarks is not None else reason,
        )


def _landmarks(value: Any) -> Floats | None:
    """(21, 3) with depth 0, or None for anything else than 21 pairs of numbers."""
    if not isinstance(value, list) or len(value) != _LANDMARKS:
        return None
    flat = [number for point in value if isinstance(point, list) for number in point]
    if len(flat) != 2 * _LANDMARKS or any(len(point) != 2 for point in value):
        return None
    if not all(type(each) in (int, float) and abs(each) < _MAX_COORDINATE for each in flat):
        return None
    landmarks = np.zeros((_LANDMARKS, 3))
    landmarks[:, :2] = np.array(flat, dtype=np.float64).reshape(_LANDMARKS, 2)
    return landmarks


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _entries(path: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name}: expected HaGRID annotations as JSON, found a file that cannot be read "
            f"({error}). Download it again."
        ) from None
    if not isinstance(document, dict):
        raise DataError(f"{path.name}: expected an object of pictures by name, found a list.")
    return [(str(image), entry) for image, entry in document.items() if isinstance(entry, dict)]


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return all(re.search(rb'"%s"\s*:' % key, head) for key in (b"labels", b"bboxes"))
