"""Sources that fail one data check each: `SOURCES[task][slug]` writes one into a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.tasks.gesture.drawing import load_sample_picture
from mien.tasks.gesture.sample import landmark_rows
from mien.tasks.gesture.table import COLUMNS

from . import sets

Source = Callable[[Path], object]
NO_PICTURE = b"\x89PNG\r\n\x1a\n cut off"
ROWS = 8
"""Of each label; a label of a model needs three."""
_GESTURES = ("fist", "like", "palm")
_Row = dict[str, object]


@dataclass(frozen=True)
class Faces:
    """The drawn pictures of `sets.distinct`, changed."""

    add: Mapping[str, Sequence[tuple[str, str, int]]] = field(default_factory=dict)
    """By folder of the split: name, label and number of a picture; retouched below 0."""
    label: str | None = ""
    """The text of one label file of train; None: there is no file; "": as it is."""
    names: Sequence[str] = ()
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """More files by path, or others."""
    rename: Callable[[str, str, int], str] | None = None
    """The name of a picture by split, label and number."""
    copies: int = 2
    """Pictures of each label in each split."""
    without: tuple[str, str] = ("", "")
    """A split and a label that it lacks."""

    def __call__(self, folder: Path) -> None:
        drawn = sets.distinct(self.copies)
        number = count()
        for split, pictures in drawn.items():
            if self.rename:
                names = [self.rename(split, label, next(number)) for _, label, _ in pictures]
                drawn[split] = [
                    (name, *each[1:]) for name, each in zip(names, pictures, strict=True)
                ]
            if split == self.without[0]:
                drawn[split] = [each for each in pictures if each[1] != self.without[1]]
        for split, more in self.add.items():
            for name, label, seed in more:
                pixels = sets.portrait(abs(seed))
                drawn[split].append((name, label, sets.retouched(pixels) if seed < 0 else pixels))
        sets.yolo(folder, drawn)
        if self.names:
            (folder / "data.yaml").write_text(json.dumps({"names": list(self.names)}))
        label = folder / "train" / "labels" / "1.txt"
        if self.label is None:
            label.unlink()
        elif self.label:
            label.write_text(self.label)
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            (folder / path).write_bytes(data)


def _person(split: str, label: str, number: int) -> str:
    """One person in two splits; 70 others."""
    return f"Anna_{_word(number % 71)}_{number:04d}.png"


def _word(number: int) -> str:
    return f"{chr(65 + number // 26)}{chr(97 + number % 26)}"


def _camera(split: str, label: str, number: int) -> str:
    """Each label has a source of its own."""
    return f"cam{_word(sets.LABELS.index(label)).lower()}_{number}.png"


def _rows(change: Callable[[int, _Row], _Row | None] = lambda n, row: row) -> Source:
    """A table of hands; `change` gets the number of each row, and returns None for no row."""

    def write(folder: Path) -> None:
        points, names = landmark_rows(ROWS, 3)
        pairs = [pair for pair in zip(points, names, strict=True) if pair[1] in _GESTURES]
        rows = []
        for number, (hand, label) in enumerate(pairs):
            numbers = dict(zip(COLUMNS, hand.ravel().tolist(), strict=True))
            rows.append(change(number, {**numbers, "label": label}))
        _write(folder / "hands.csv", [row for row in rows if row])

    return write


def _write(path: Path, rows: Sequence[_Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))


def _scaled(row: _Row, divisor: float) -> _Row:
    return {
        name: float(str(value)) / divisor if name[0] in "xy" and name[1:].isdigit() else value
        for name, value in row.items()
    }


def _split(number: int) -> str:
    return ("train", "train", "val", "test")[number % 4]


def _copy_of_first(number: int, split: str, shift: float = 0.0, label: str = "") -> Source:
    """A row with the points of the first one, which is in train."""
    first: _Row = {}

    def change(n: int, row: _Row) -> _Row:
        if n == 0:
            first.update(row)
        moved = {k: float(str(first[k])) + shift if shift else first[k] for k in COLUMNS}
        points = moved if n == number else {}
        named = {"label": label} if label and n == number else {}
        return {**row, **points, **named, "split": split if n == number else _split(n)}

    return _rows(change)


def _reordered(n: int, row: _Row) -> _Row:
    cells = [row[column] for column in COLUMNS]
    return {**row, **dict(zip(COLUMNS, cells[0::3] + cells[1::3] + cells[2::3], strict=True))}


def _many_rows(folder: Path) -> None:
    """Enough hands to know what is usual, and one with a shuffled depth."""
    points, names = landmark_rows(40, 3)
    rows: list[_Row] = [
        {**dict(zip(COLUMNS, hand.ravel().tolist(), strict=True)), "label": label}
        for hand, label in zip(points, names, strict=True)
    ]
    depths = [column for column in COLUMNS if column[0] == "z"]
    rows[100] |= {column: 500 * (-1) ** place for place, column in enumerate(depths)}
    _write(folder / "hands.csv", rows)


def _photos(**more: Image.Image | bytes) -> Source:
    """Photos of one drawn hand as `<label>/<file>`, and more in the folder of likes."""

    def write(folder: Path) -> None:
        for number in range(12):
            picture = Image.new("RGB", (580, 512), (180, 180, 180))
            picture.paste(load_sample_picture(), (number * 5, 0))
            path = folder / ("like", "fist", "palm")[number % 3] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
        for name, content in more.items():
            path = folder / "like" / f"{name}.png"
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.save(path)

    return write


def _annotations(folder: Path) -> None:
    """HaGRID's, of which one hand has no points."""
    points, names = landmark_rows(ROWS, 3)
    document: dict[str, Any] = {
        f"p{number}": {
            "bboxes": [[0.0, 0.0, 1.0, 1.0]],
            "labels": [label],
            "hand_landmarks": [(hand[:, :2] / 4000).tolist() if number else []],
            "user_id": f"u{number % 17}",
        }
        for number, (hand, label) in enumerate(zip(points, names, strict=True))
    }
    (folder / "all.json").write_text(json.dumps(document))


_WALL = Image.fromarray(np.full((512, 580, 3), 180, np.uint8))
_FACE = "0 0.5 0.5 0.4 0.6\n"
_LEGEND = "user.id,image,emotion\n"
_LISTED = "".join(f"1,{n}.png,{sets.LABELS[n // 2 % 8]}\n" for n in range(48))
EMOTION: Mapping[str, Source] = {
    "unreadable": Faces(files={"train/images/1.png": NO_PICTURE}),
    "duplicates": Faces(add={"train": [("again.png", "anger", 1)]}),
    "split_leakage": Faces(add={"test": [("again.png", "anger", 1)]}),
    "near_duplicates": Faces(add={"train": [("again.png", "anger", -1)]}),
    "near_split_leakage": Faces(add={"test": [("again.png", "anger", -1)]}),
    "group_leakage": Faces(rename=_person, copies=3),
    "label_conflict": Faces(add={"train": [("again.png", "happy", 1)]}),
    "empty_class": Faces(without=("train", "sad")),
    "class_imbalance": Faces(add={"train": [("more.png", "sad", 999)]}),
    "spurious_correlation": Faces(rename=_camera, copies=3),
    "no_subject": Faces(),
    "multiple_subjects": Faces(),
    "missing_label_file": Faces(label=None),
    "orphan_label_file": Faces(files={"train/labels/nobody.txt": _FACE}),
    "image_outside_splits": Faces(files={"more/images/a.png": NO_PICTURE}),
    "empty_label_file": Faces(files={"train/labels/1.txt": ""}),
    "unknown_class": Faces(label="8 0.5 0.5 0.4 0.6\n", names=[*sets.LABELS, "not, sure"]),
    "mixed_case_label": Faces(names=["Anger", *sets.LABELS[1:]]),
    "malformed_label": Faces(label="five 0.5\n"),
    "duplicate_label_line": Faces(label=2 * _FACE),
    "polygon_label": Faces(label="0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n"),
    "extra_label_columns": Faces(label="0 0.5 0.5 0.4 0.6 0.9\n"),
    "box_out_of_bounds": Faces(label="0 0.9 0.5 0.4 0.6\n"),
    "degenerate_box": Faces(label="0 0.5 0.5 0 0.6\n"),
    "whole_image_box": Faces(label="0 0.5 0.5 1 1\n"),
    "csv_row_without_image": Faces(files={"legend.csv": f"{_LEGEND}{_LISTED}1,gone.png,sad\n"}),
    "image_without_csv_row": Faces(files={"legend.csv": f"{_LEGEND}1,1.png,anger\n"}),
    "csv_unknown_label": Faces(files={"legend.csv": f"{_LEGEND}1,1.png,bored\n"}),
    "csv_conflicting_labels": Faces(
        files={"legend.csv": f"{_LEGEND}1,1.png,anger\n2,1.png,fear\n"}
    ),
    "csv_label_mismatch": Faces(files={"legend.csv": f"{_LEGEND}1,1.png,fear\n"}),
}
GESTURE: Mapping[str, Source] = {
    "unreadable": _photos(broken=NO_PICTURE),
    "no_hand_detected": _photos(wall=_WALL),
    "no_subject": _photos(),
    "multiple_subjects": _photos(),
    "duplicates": _copy_of_first(4, "train"),
    "split_leakage": _copy_of_first(3, "test"),
    "near_duplicates": _copy_of_first(4, "train", 1e-3),
    "near_split_leakage": _copy_of_first(3, "test", 1e-3),
    "group_leakage": _rows(lambda n, row: {**row, "user": f"u{n % 5}", "split": _split(n)}),
    "label_conflict": _copy_of_first(4, "train", label="palm"),
    "empty_class": _rows(
        lambda n, row: {
            **row,
            "split": ("val", "test")[n % 2] if row["label"] == "palm" else _split(n),
        }
    ),
    "class_imbalance": _rows(lambda n, row: row if n else None),
    "spurious_correlation": _rows(
        lambda n, row: {**row, "handedness": "Left" if row["label"] == "like" else "Right"}
    ),
    "missing_values": _rows(lambda n, row: row if n else {**row, "x3": "abc"}),
    "rare_label": _rows(lambda n, row: row if n else {**row, "label": "a: 'rare' one"}),
    "impossible_hand": _rows(lambda n, row: row if n else {**row, "x9": 9000, "y9": 9000}),
    "landmark_order": _rows(_reordered),
    "outlier_hand": _many_rows,
    "ambiguous_units": _rows(lambda n, row: _scaled(row, 300)),
    "mixed_units": _rows(lambda n, row: row if n else _scaled(row, 4000)),
    "missing_image_size": _rows(
        lambda n, row: {**_scaled(row, 4000), "width": 4000 if n else "", "height": 4000}
    ),
    "unknown_split": _rows(lambda n, row: {**row, "split": _split(n) if n else "extra"}),
    "missing_depth": _rows(lambda n, row: {**row, **{c: 0 for c in COLUMNS if c[0] == "z"}}),
    "missing_landmarks": _annotations,
}
SOURCES: Mapping[str, Mapping[str, Source]] = {"emotion": EMOTION, "gesture": GESTURE}
