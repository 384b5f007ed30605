"""Writes landmark tables in the forms in which people pass them on; every hand is drawn."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mien.tasks.gesture.landmarks import Floats
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tasks.gesture.sample import landmark_rows

PER_LABEL = 8
LABELS = ("fist", "like", "palm")
AXES = [f"{axis}{point}" for point in range(1, 22) for axis in "xyz"]
JOINTS = [
    "WRIST",
    *(f"THUMB_{joint}" for joint in ("CMC", "MCP", "IP", "TIP")),
    *(
        f"{finger}_{joint}"
        for finger in ("INDEX_FINGER", "MIDDLE_FINGER", "RING_FINGER", "PINKY")
        for joint in ("MCP", "PIP", "DIP", "TIP")
    ),
]

Hand = tuple[str, Floats]
"""A label, and 21 points x, y, z in pixels."""
Cells = Callable[[int, str, list[str]], list[str]]
"""The cells of a line from the number of the row, its label and its numbers as text."""


def hands(labels: Sequence[str] = LABELS, per_label: int = PER_LABEL, seed: int = 3) -> list[Hand]:
    """Drawn hands of gestures, in turn."""
    by_label = _drawn(per_label, seed)
    return [(label, by_label[label][n]) for n in range(per_label) for label in labels]


@cache
def _drawn(per_label: int, seed: int) -> dict[str, Floats]:
    points, names = landmark_rows(per_label, seed)
    points.flags.writeable = False  # shared by all tests
    return {label: points[np.array(names) == label] for label in HAGRID_LABELS}


def with_label(_: int, label: str, numbers: list[str]) -> list[str]:
    """The numbers and then the label."""
    return [*numbers, label]


def table(
    path: Path,
    rows: Sequence[Hand] | None = None,
    *,
    header: Sequence[str] | None = (*AXES, "label"),
    cells: Cells = with_label,
    depth: bool = True,
    encoding: str = "utf-8",
    first: str = "",
    **how: Any,
) -> None:
    """Write a table; without depth the header is to have none either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as stream:
        stream.write(first)
        # Written apart: csv takes no line end with the delimiter in it, as lines of commas have.
        line_end = how.pop("lineterminator", "\n")
        writer = csv.writer(stream, lineterminator="", **how)
        if header is not None:
            writer.writerow(header)
            stream.write(line_end)
        for number, (label, points) in enumerate(hands() if rows is None else rows):
            numbers = (points if depth else points[:, :2]).ravel().tolist()
            writer.writerow(cells(number, label, [repr(each) for each in numbers]))
            stream.write(line_end)


def relabelled(rows: Sequence[Hand], **names: str) -> list[Hand]:
    """Hands with other names for their labels."""
    return [(names.get(label, label), points) for label, points in rows]


def parts(rows: Sequence[Hand]) -> Iterator[tuple[str, Sequence[Hand]]]:
    """Five, two and one of each label for train, val and test."""
    count = len(LABELS)
    yield "train", rows[: 5 * count]
    yield "val", rows[5 * count : 7 * count]
    yield "test", rows[7 * count :]


def annotations(path: Path, rows: Sequence[Hand], key: str = "hand_landmarks") -> None:
    """HaGRID's annotations of pictures of 3000 x 4000 pixels; each shows a resting hand too."""
    document = {
        f"picture{number}": {
            "bboxes": [[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]],
            "labels": [label, "no_gesture"],
            key: [(points[:, :2] / (3000, 4000)).tolist(), []],
            "leading_hand": "right",
            "leading_conf": 1.0,
            "user_id": f"user{number}",
        }
        for number, (label, points) in enumerate(rows)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
