"""From a YOLO data set, as such sets are shipped, to what the trainer reads.

    raw/[one folder/]{train,valid|val,test}/{images,labels}/ + data.yaml
    -> ready/{train,val,test}/{images,labels}/

Knows folders, label files and what can be wrong with them. Pictures that cannot be decoded are
counted and left out; what cannot be understood at all ends with a `DataError`.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mien import console
from mien.errors import DataError, ImageError, TooLargeError, nearest
from mien.task import SPLITS, Box, Check, DataReport, Example, Request, Split

from .params import LABELS, Params
from .predict import ENOUGH

_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("valid", "val"),
    "test": ("test",),
}
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WHOLE = 0.98
"""A box at least this wide and high, as a share of the picture, is the whole picture."""
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


def prepare(raw: Path, ready: Path, params: Params) -> DataReport:
    """Copy every usable picture with cleaned labels, and count what was found.

    Raises:
        DataError: no split folders, a class that the task does not know, a split without pictures.
    """
    root = _root(raw)
    names, notes = _names(root)
    counts: dict[str, dict[str, int]] = {}
    count = _Count()
    for split in SPLITS:
        source = _folder(root, split)
        counts[split] = _prepare_split(source, ready / split, names, count)
        if not sum(counts[split].values()):
            raise DataError(f"{source.name}/ holds no picture with a usable label; {_EXPECTED}")
    notes += _whole_picture_note(count)
    return DataReport(counts=counts, checks=_checks(count), notes=tuple(notes))


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the pictures of a split; the label is that of the largest box, None without a box."""
    for path in sorted((ready / split / "images").iterdir()):
        request = Request.read(path.read_bytes(), enough=ENOUGH)
        boxes = read_boxes(label_path(path), *request.size)
        largest = max(boxes, key=lambda each: _area(each[1]), default=None)
        yield Example(
            request=request,
            label=largest[0] if largest else None,
            boxes=tuple(boxes),
            name=path.name,
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


_EXPECTED = (
    "expected a YOLO data set: train/, valid/ (or val/) and test/, each with images/ and labels/, "
    "at the top or one folder deep."
)


def _root(raw: Path) -> Path:
    for folder in [raw, *sorted(raw.glob("*/")), *sorted(raw.glob("*/*/"))]:
        if (folder / "train" / "images").is_dir():
            return folder
    found = ", ".join(sorted(path.name for path in raw.iterdir())[:_NAMED])
    raise DataError(f"The source holds {found}; {_EXPECTED}")


def _folder(root: Path, split: Split) -> Path:
    for name in _FOLDERS[split]:
        if (root / name / "images").is_dir():
            return root / name
    wanted = " or ".join(f"{name}/images" for name in _FOLDERS[split])
    raise DataError(f"The data set has no {wanted}; {_EXPECTED}")


def _names(root: Path) -> tuple[list[str], list[str]]:
    """Return the label of each class number, and a note where it had to be assumed."""
    path = root / "data.yaml"
    if not path.is_file():
        order = ", ".join(f"{number} {label}" for number, label in enumerate(LABELS))
        return list(LABELS), [f"There is no data.yaml; class numbers were read as {order}."]
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"data.yaml is not readable YAML ({error}). Mend or remove it.") from None
    listed = document.get("names") if isinstance(document, dict) else None
    if isinstance(listed, dict):
        if sorted(map(str, listed)) != sorted(map(str, range(len(listed)))):
            raise DataError(
                f"data.yaml numbers its classes {', '.join(map(str, listed))}; expected 0 to "
                f"{len(listed) - 1}, as the label files count."
            )
        listed = [listed[number] for number in sorted(listed, key=int)]
    if not isinstance(listed, list) or not listed:
        raise DataError("data.yaml has no list `names`; it must name the classes by number.")
    return [_known(str(name)) for name in listed], []


def _known(name: str) -> str:
    if name.lower() not in LABELS:
        hint = nearest(name.lower(), LABELS)
        raise DataError(
            f"data.yaml names the class {name!r}, which the task does not know.{hint} "
            f"It knows: {', '.join(LABELS)}."
        )
    return name.lower()


def _prepare_split(
    source: Path, target: Path, names: Sequence[str], count: _Count
) -> dict[str, int]:
    for folder in ("images", "labels"):
        (target / folder).mkdir(parents=True)
    found = sorted(path for path in (source / "images").iterdir() if path.is_file())
    pictures = [path for path in found if path.suffix.lower() in _SUFFIXES]
    stems = {path.stem for path in pictures}
    for path in sorted((source / "labels").glob("*.txt")):
        if path.stem not in stems:
            count.add("label without picture", f"{source.name}/{path.name}")
    tally = dict.fromkeys(LABELS, 0)
    for path in console.track(pictures, f"prepare {source.name}"):
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
        Request.read(path.read_bytes(), enough=ENOUGH)
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
    _link(path, target / "images" / path.name)
    lines = [f"{LABELS.index(row[0])} " + " ".join(f"{x:.6f}" for x in row[1]) for row in rows]
    clean = target / "labels" / f"{path.stem}.txt"
    clean.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [row[0] for row in rows]


def _read_rows(
    path: Path, names: Sequence[str], name: str, count: _Count
) -> list[tuple[str, tuple[float, float, float, float]]] | None:
    """Return label and cx, cy, w, h of each usable box, or None where the picture is of no use."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        count.add("empty label file", name)
    rows = []
    for line in lines:
        try:
            number, cx, cy, w, h = (float(word) for word in line.split())
            if not number.is_integer():
                raise ValueError(number)
            row = (int(number), cx, cy, w, h)
        except ValueError:
            count.add("label line without meaning", name)
            return None
        count.boxes += 1
        box = _clean(row[1:], name, count)
        if box:
            rows.append((_label(row[0], names, name), box))
    # A face whose box is lost is still a face: such a picture must not pass for an empty one.
    return rows if rows or not lines else None


def _clean(
    box: tuple[float, ...], name: str, count: _Count
) -> tuple[float, float, float, float] | None:
    """Cut a box at the picture's border; None where nothing is left."""
    cx, cy, w, h = box
    x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if not (min(x1, y1) >= -0.005 and max(x2, y2) <= 1.005):  # also true for NaN
        count.add("box out of range", name)
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in (x1, y1, x2, y2))
    if not (x2 - x1 > 1e-3 and y2 - y1 > 1e-3):
        count.add("degenerate box", name)
        return None
    if x2 - x1 >= _WHOLE and y2 - y1 >= _WHOLE:
        count.add("whole-picture box", name)
    return ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def _label(number: int, names: Sequence[str], name: str) -> str:
    if not 0 <= number < len(names):
        raise DataError(
            f"{name} has class {number}; data.yaml names {len(names)} classes (0 to "
            f"{len(names) - 1}). Mend the label file or data.yaml."
        )
    return names[number]


def _link(source: Path, target: Path) -> None:
    """Same bytes without a second copy where the file system can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _checks(count: _Count) -> tuple[Check, ...]:
    meanings: dict[str, tuple[int, str]] = {
        "unreadable picture": (count.pictures, "left out"),
        "picture without label file": (count.pictures, "left out"),
        "label without picture": (count.pictures, "left out"),
        "label line without meaning": (count.pictures, "picture left out"),
        "empty label file": (count.pictures, "kept, as a picture without a face"),
        "box out of range": (count.boxes, "cut at the border"),
        "degenerate box": (count.boxes, "box left out, and the picture if it has no other"),
        "whole-picture box": (count.boxes, "says nothing about where the face is"),
    }
    return tuple(
        Check(name, count.found.get(name, 0), total, text, tuple(count.examples.get(name, ())))
        for name, (total, text) in meanings.items()
    )


def _whole_picture_note(count: _Count) -> list[str]:
    whole = count.found.get("whole-picture box", 0)
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
