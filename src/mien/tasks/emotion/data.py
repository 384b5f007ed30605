"""From a YOLO data set, as such sets are shipped, to what the trainer reads.

    raw/[one folder/]{train,valid|val,test}/{images,labels}/ + data.yaml
    -> ready/{train,val,test}/{images,labels}/

Knows what becomes of faults; how a set lies in folders is known by `yolo.py`. Pictures that
cannot be decoded are counted and left out; what cannot be understood at all ends with a
`DataError`.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.boxes import Box
from mien.errors import DataError, ImageError, TooLargeError
from mien.reporting import console
from mien.task import SPLITS, Check, DataReport, Example, Request, Split

from . import yolo
from .params import LABELS, MIN_SIDE, Params
from .yolo import Shares

_NAMED = 5


@dataclass
class _Count:
    """What was found so far; the examples name a few of the files at fault."""

    pictures: int = 0
    boxes: int = 0
    found: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, fault: str, name: str) -> None:
        self.found[fault] = self.found.get(fault, 0) + 1
        named = self.examples.setdefault(fault, [])
        if len(named) < _NAMED:
            named.append(name)


def prepare(raw: Path, ready: Path, params: Params, cache: Path | None = None) -> DataReport:
    """Copy every usable picture with cleaned labels, and count what was found.

    Raises:
        DataError: no split folders, a class that the task does not know, a split without pictures.
    """
    root = yolo.find(raw)
    names, notes = _names(root)
    counts: dict[str, dict[str, int]] = {}
    count = _Count()
    for split in SPLITS:
        source = yolo.split_folder(root, split)
        counts[split] = _prepare_split(source, ready / split, names, count)
        if not sum(counts[split].values()):
            raise DataError(f"{source.name}/ holds no picture with a usable label; {yolo.EXPECTED}")
    notes += _whole_picture_note(count)
    return DataReport(counts=counts, checks=_checks(count), notes=tuple(notes))


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the pictures of a split; the label is that of the largest box, None without a box."""
    for path in sorted((ready / split / "images").iterdir()):
        request = Request.read(path.read_bytes(), min_side=MIN_SIDE)
        boxes = read_boxes(label_path(path), *request.size)
        largest = max(boxes, key=lambda each: _area(each[1]), default=None)
        yield Example(
            request=request,
            label=largest[0] if largest else None,
            boxes=tuple(boxes),
            name=f"{split}/{path.name}",
        )


def label_path(picture: Path) -> Path:
    """The label file of a prepared picture."""
    return picture.parent.parent / "labels" / f"{picture.stem}.txt"


def read_boxes(path: Path, width: int, height: int) -> list[tuple[str, Box]]:
    """Read a prepared label file: labels with boxes in pixels of a picture of that size."""
    boxes = []
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *shares = line.split()
        cx, cy, w, h = (float(share) for share in shares)
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        x1, y1, x2, y2 = (
            value * side
            for value, side in zip(corners, (width, height, width, height), strict=True)
        )
        boxes.append((LABELS[int(number)], (x1, y1, x2, y2)))
    return boxes


def link(source: Path, target: Path) -> None:
    """Same bytes without a second copy where the file system can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _names(root: Path) -> tuple[list[str], list[str]]:
    """Return the label of each class number, and a note where it had to be assumed."""
    written = yolo.written_names(root)
    if written is None:
        order = ", ".join(f"{number} {label}" for number, label in enumerate(LABELS))
        return list(LABELS), [f"There is no data.yaml; class numbers were read as {order}."]
    for name in written:
        fault = yolo.unknown(name)
        if fault:
            raise DataError(f"{fault} It knows: {', '.join(LABELS)}.")
    return [yolo.plain(name) for name in written], []


def _prepare_split(
    source: Path, target: Path, names: Sequence[str], count: _Count
) -> dict[str, int]:
    for folder in ("images", "labels"):
        (target / folder).mkdir(parents=True)
    names_of = yolo.pictures(source)
    stems = {yolo.stem(name) for name in names_of}
    for name in yolo.label_files(source):
        if yolo.stem(name) not in stems:
            count.add("label without picture", f"{source.name}/{name}")
    tally = dict.fromkeys(LABELS, 0)
    for name in console.track(names_of, f"prepare {source.name}"):
        path = source / "images" / name
        for label in _prepare_picture(path, source, target, names, count):
            tally[label] += 1
    return tally


def _prepare_picture(
    path: Path, source: Path, target: Path, names: Sequence[str], count: _Count
) -> list[str]:
    """Copy one picture and its cleaned boxes; return the labels of the boxes."""
    name = f"{source.name}/{path.name}"
    count.pictures += 1
    try:
        Request.read(path.read_bytes(), min_side=MIN_SIDE)
    except (ImageError, TooLargeError):
        count.add("unreadable picture", name)
        return []
    label = source / "labels" / f"{path.stem}.txt"
    if not label.is_file():
        count.add("picture without label file", name)
        return []
    rows = _read_rows(label, names, name, count)
    if rows is None:
        return []
    link(path, target / "images" / path.name)
    lines = [yolo.line(LABELS.index(label), box) for label, box in rows]
    clean = target / "labels" / f"{path.stem}.txt"
    clean.write_text("".join(lines), encoding="utf-8")
    return [row[0] for row in rows]


def _read_rows(
    path: Path, names: Sequence[str], name: str, count: _Count
) -> list[tuple[str, Shares]] | None:
    """Return label and box of each usable line, or None where the picture is of no use."""
    told: list[str] = []
    rows = []
    for number, written in yolo.lines(path.read_text("utf-8", "replace"), told.append):
        count.boxes += 1
        box = yolo.cut(written, told.append)
        if box:
            rows.append((_label(number, names, name), box))
    for fault in told:
        count.add(fault, name)
    if yolo.SENSELESS in told:
        return None
    # A face whose box is lost is still a face: such a picture must not pass for an empty one.
    return rows if rows or yolo.EMPTY in told else None


def _label(number: int, names: Sequence[str], name: str) -> str:
    if not 0 <= number < len(names):
        raise DataError(
            f"{name} has class {number}; data.yaml names {len(names)} classes (0 to "
            f"{len(names) - 1}). Mend the label file or data.yaml."
        )
    return names[number]


def _checks(count: _Count) -> tuple[Check, ...]:
    meanings: dict[str, tuple[int, str]] = {
        "unreadable picture": (count.pictures, "left out"),
        "picture without label file": (count.pictures, "left out"),
        "label without picture": (count.pictures, "left out"),
        yolo.SENSELESS: (count.pictures, "picture left out"),
        yolo.EMPTY: (count.pictures, "kept, as a picture without a face"),
        yolo.OUTSIDE: (count.boxes, "cut at the border"),
        yolo.DEGENERATE: (count.boxes, "box left out, and the picture if it has no other"),
        yolo.WHOLE_PICTURE: (count.boxes, "says nothing about where the face is"),
    }
    return tuple(
        Check(name, count.found.get(name, 0), total, text, tuple(count.examples.get(name, ())))
        for name, (total, text) in meanings.items()
    )


def _whole_picture_note(count: _Count) -> list[str]:
    whole = count.found.get(yolo.WHOLE_PICTURE, 0)
    if whole * 2 < count.boxes or not whole:
        return []
    share = "Every box" if whole == count.boxes else f"{whole / count.boxes:.0%} of the boxes"
    return [
        f"{share} ({whole:,} of {count.boxes:,}) is the whole picture: no face was ever marked. A "
        "detector trained on this learns to draw the border of the picture. Its labels can be "
        "judged (accuracy, macro-F1), its boxes cannot (mAP)."
    ]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
