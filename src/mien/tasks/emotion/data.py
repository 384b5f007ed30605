"""From a YOLO data set, as such sets are shipped, to what the trainer reads.

    raw/[one folder/]{train,valid|val,test}/{images,labels}/ + data.yaml
    -> ready/{train,val,test}/{images,labels}/

Skips what cannot be used and counts it by the slug of the check that reports it; a set that cannot
be read at all ends with a `DataError`. The format itself is in `yolo.py`.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.boxes import Box
from mien.errors import DataError, ImageError, TooLargeError
from mien.reporting import console
from mien.task import SPLITS, DataReport, Example, Request, Split

from . import yolo
from .params import LABELS, MIN_SIDE, Params
from .yolo import XcYcWh

MISSING_LABEL_FILE = "missing_label_file"


def prepare(raw: Path, ready: Path, params: Params, cache: Path | None = None) -> DataReport:
    """Copy every usable image with clipped boxes.

    Raises:
        DataError: no split folders, an unknown class, or a split without images.
    """
    root = yolo.find_root(raw)
    names, notes = _class_names(root)
    counts: dict[str, dict[str, int]] = {}
    skipped = Counter[str]()
    for split in SPLITS:
        source = yolo.split_folder(root, split)
        counts[split] = _prepare_split(source, ready / split, names, skipped)
        if not sum(counts[split].values()):
            raise DataError(f"{source.name}/ has no image with a usable label; {yolo.EXPECTED}")
    return DataReport(counts, dict(skipped), tuple(notes))


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the images of a split; the label is that of the largest box, None without a box."""
    for path in sorted((ready / split / "images").iterdir()):
        request = Request.read(path.read_bytes(), min_side=MIN_SIDE)
        boxes = [
            (LABELS[number], yolo.corners(box, *request.size))
            for number, box in yolo.read_prepared_labels(path, len(LABELS))
        ]
        largest = max(boxes, key=lambda each: _area(each[1]), default=None)
        yield Example(
            request=request,
            label=largest[0] if largest else None,
            boxes=tuple(boxes),
            name=f"{split}/{path.name}",
        )


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _class_names(root: Path) -> tuple[list[str], list[str]]:
    """The label of each class number, and a note where it had to be assumed."""
    names = yolo.class_names(root)
    if names is None:
        order = ", ".join(f"{number} {label}" for number, label in enumerate(LABELS))
        return list(LABELS), [f"There is no data.yaml; class numbers were read as {order}."]
    for name in names:
        message = yolo.unknown_class(name)
        if message:
            raise DataError(f"{message} It knows: {', '.join(LABELS)}.")
    return [yolo.normalize(name) for name in names], []


def _prepare_split(
    source: Path, target: Path, names: Sequence[str], skipped: Counter[str]
) -> dict[str, int]:
    for folder in ("images", "labels"):
        (target / folder).mkdir(parents=True)
    counts = dict.fromkeys(LABELS, 0)
    for name in console.track(yolo.image_names(source), f"prepare {source.name}"):
        for label in _prepare_image(source / "images" / name, target, names, skipped):
            counts[label] += 1
    return counts


def _prepare_image(
    path: Path, target: Path, names: Sequence[str], skipped: Counter[str]
) -> list[str]:
    """Copy one image and its clipped boxes; return the labels of the boxes."""
    try:
        Request.read(path.read_bytes(), min_side=MIN_SIDE)
    except (ImageError, TooLargeError):
        skipped["unreadable"] += 1
        return []
    label_file = yolo.label_path(path)
    if not label_file.is_file():
        skipped[MISSING_LABEL_FILE] += 1
        return []
    boxes = _usable_boxes(label_file, names, skipped)
    if boxes is None:
        return []
    copy = target / "images" / path.name
    link(path, copy)
    lines = [yolo.format_label(LABELS.index(label), box) for label, box in boxes]
    yolo.label_path(copy).write_text("".join(lines), encoding="utf-8")
    return [label for label, _ in boxes]


def _usable_boxes(
    path: Path, names: Sequence[str], skipped: Counter[str]
) -> list[tuple[str, XcYcWh]] | None:
    """Label and box of each usable line; None where the image is not usable."""
    issues: list[str] = []
    boxes = []
    for number, box in yolo.parse_labels(path.read_text("utf-8", "replace"), issues.append):
        clipped = yolo.clip_box(box, issues.append)
        if clipped:
            boxes.append((_label(number, names, path), clipped))
    for slug in (yolo.MALFORMED_LABEL, yolo.DEGENERATE_BOX):
        if slug in issues:
            skipped[slug] += issues.count(slug)
    if yolo.MALFORMED_LABEL in issues:
        return None
    # A face with a lost box is still a face: such an image must not pass for an empty one.
    return boxes if boxes or yolo.EMPTY_LABEL_FILE in issues else None


def _label(number: int, names: Sequence[str], path: Path) -> str:
    if not 0 <= number < len(names):
        raise DataError(
            f"{path.parent.parent.name}/labels/{path.name}: expected classes 0 to "
            f"{len(names) - 1}, as in data.yaml, found {number}. Correct the label file or "
            "data.yaml."
        )
    return names[number]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
