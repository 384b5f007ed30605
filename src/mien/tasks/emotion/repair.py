"""Writes a repaired copy of a YOLO data set: images dropped or moved, boxes replaced by faces.

    raw, in any layout that `dataset/` reads
    -> out/{train,valid,test}/{images,labels}/ + data.yaml + label CSV files

Knows neither how a face is detected nor why an image is dropped. Images keep their bytes. Files
that are neither images, label files, data.yaml nor label CSV files are not copied.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien import boxes, images
from mien.errors import ImageError, TooLargeError
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.model import runtime
from mien.reporting import console
from mien.storage.cache import ContentCache
from mien.storage.cache_keys import TASK_SOURCES, source_hash
from mien.task import SPLITS, RepairPlan, Split

from . import dataset, label_csv, label_lines, yolo
from .data import link
from .dataset import DataSet, LabelledImage
from .dataset.class_names import ClassNames
from .dataset.usable import is_ignored
from .label_lines import LabelFile, LabelledBox, XcYcWh
from .params import MIN_SIDE, Params

SAME_FACE_IOU = 0.5
"""A face that overlaps a box by more, as intersection over union, is the face of that box."""
_MAX_NAMES = 5


@dataclass(frozen=True)
class _Item:
    """An image that stays."""

    name: str
    path: Path
    labels: LabelFile | None
    label_text: str | None
    """The text of its label file; None without one."""
    split: Split
    """The new split."""
    changes_split: bool

    @property
    def needs_faces(self) -> bool:
        return any(bad for _, _, bad in _boxes(self.labels))


@dataclass
class _Replaced:
    """What happened to boxes that mark no face."""

    boxes: int = 0
    replaced: int = 0
    unresolved: list[str] = field(default_factory=list)
    """Images in which too few faces were detected."""


def repair(raw: Path, out: Path, plan: RepairPlan, params: Params, cache: Path) -> tuple[str, ...]:
    """Write a copy of the set by the plan; with `plan.repair`, repair boxes and spellings too.

    A box that covers the whole image or has no area is replaced by a detected face. Faces are
    cached by content, so that an interrupted repair continues where it stopped.

    Returns:
        The repairs beside the plan, in sentences.

    Raises:
        DataError: see `dataset.read`.
    """
    data = dataset.read(raw, params, cache)
    classes = data.classes
    items = list(_items(data, plan, params.ignore_labels))
    faces: Mapping[str, list[XcYcWh]] = {}
    if plan.repair:
        faces = _detect_all([each for each in items if each.needs_faces], cache)
    replaced = _write(items, faces, out)
    labels = [label or name for label, name in zip(classes.labels, classes.written, strict=True)]
    names = labels if plan.repair else classes.written
    (out / "data.yaml").write_text(yolo.format_data_yaml(names), encoding="utf-8")
    renamed = [name for name in classes.written if name not in names]
    return (
        *_describe_boxes(replaced),
        *_describe_names(renamed),
        *_copy_label_csv(raw, out, plan.repair),
    )


def _items(data: DataSet, plan: RepairPlan, ignored: Sequence[str]) -> Iterator[_Item]:
    for split, image in data:
        if image.name not in plan.drop:
            target = plan.move.get(image.name, split)
            text = _label_text(data.root, image, plan.repair)
            if image.name in plan.relabel:
                text = _relabelled(image, data.classes, plan.relabel[image.name], ignored)
            yield _Item(image.name, image.path, image.labels, text, target, target != split)


def _label_text(root: Path, image: LabelledImage, repair_lines: bool) -> str | None:
    """The label file as UTF-8; lines that only a description beside them explains become boxes."""
    if image.labels is None or image.label_source is None:
        return None
    slugs = {issue.slug for issue in image.labels.issues}
    ambiguous = label_lines.EXTRA_LABEL_COLUMNS in slugs
    converted = bool(slugs & set(label_lines.CONVERSIONS)) and repair_lines
    if (ambiguous or converted) and not image.labels.malformed:
        return "".join(yolo.format_label(each.number, each.box) for each in image.labels.boxes)
    return label_lines.decode_text((root / image.label_source).read_bytes())


def _relabelled(
    image: LabelledImage, classes: ClassNames, label: str, ignored: Sequence[str]
) -> str:
    """The lines of a label file with another label for the face that `inspect` lists first."""
    lines = image.labels.boxes if image.labels else ()

    def area(each: LabelledBox) -> float:
        clipped = yolo.clip_box(each.box, lambda _: None)
        return clipped[2] * clipped[3] if clipped else 0.0

    first = max((each for each in lines if not is_ignored(each.number, classes, ignored)), key=area)
    number = classes.labels.index(label)
    return "".join(
        yolo.format_label(number if each is first else each.number, each.box) for each in lines
    )


def _boxes(labels: LabelFile | None) -> list[tuple[int, XcYcWh, bool]]:
    """Class, box and whether it marks no face, of each line; none in a malformed file."""
    if labels is None or labels.malformed:
        return []
    boxes_with_state = []
    for each in labels.boxes:
        issues: list[str] = []
        yolo.clip_box(each.box, issues.append)
        bad = bool({yolo.DEGENERATE_BOX, yolo.WHOLE_IMAGE_BOX} & set(issues))
        boxes_with_state.append((each.number, each.box, bad))
    return boxes_with_state


def _write(items: Sequence[_Item], faces: Mapping[str, list[XcYcWh]], out: Path) -> _Replaced:
    stems: dict[Split, set[str]] = {split: set() for split in SPLITS}
    folders = {split: out / yolo.SPLIT_FOLDERS[split][0] for split in SPLITS}
    for folder in folders.values():
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True)
    replaced = _Replaced()
    for item in sorted(
        items, key=lambda each: each.changes_split
    ):  # an image that stays keeps its name
        file_name = item.name.partition("/")[2]
        suffix = file_name[len(yolo.stem(file_name)) :]
        stem = _unique_stem(yolo.stem(file_name), stems[item.split])
        copy = folders[item.split] / "images" / f"{stem}{suffix}"
        link(item.path, copy)
        if item.label_text is not None:
            text = item.label_text
            if item.name in faces:
                text = _replace_boxes(item, faces[item.name], replaced)
            yolo.label_path(copy).write_text(text, encoding="utf-8")
    return replaced


def _unique_stem(stem: str, used: set[str]) -> str:
    """The stem itself, or with a number if an image of the split has it already."""
    name, number = stem, 1
    while name in used:
        number += 1
        name = f"{stem}_{number}"
    used.add(name)
    return name


def _replace_boxes(item: _Item, faces: Sequence[XcYcWh], replaced: _Replaced) -> str:
    """The lines of a label file with faces in place of boxes that mark none."""
    labels = _boxes(item.labels)
    good = np.array([_corners(box) for _, box, bad in labels if not bad]).reshape(-1, 4)
    free = [face for face in faces if not (boxes.iou(_corners(face), good) > SAME_FACE_IOU).any()]
    lines = []
    for number, box, bad in labels:
        replaced.boxes += bad
        if bad and free:
            box = free.pop(0)
            replaced.replaced += 1
        elif bad and item.name not in replaced.unresolved:
            replaced.unresolved.append(item.name)
        lines.append(yolo.format_label(number, box))
    return "".join(lines)


def _corners(box: XcYcWh) -> NDArray[np.float32]:
    return boxes.xcycwh_to_xyxy(np.array(box, np.float64)).astype(np.float32)


def _decode_faces(value: list[list[float]]) -> list[XcYcWh]:
    return [(cx, cy, w, h) for cx, cy, w, h in value]


def _detect_all(items: Sequence[_Item], cache: Path) -> dict[str, list[XcYcWh]]:
    """The faces of each image by its name, the largest and most certain first."""
    if not items:
        return {}
    made_by = source_hash(*TASK_SOURCES)
    path = cache / f"faces-{made_by[:12]}.txt"
    face_cache = ContentCache[list[XcYcWh]](path, list, _decode_faces)

    def make_worker() -> Callable[[_Item], list[XcYcWh]]:
        detectors: list[FaceDetector] = []

        def detect(item: _Item) -> list[XcYcWh]:
            content = item.path.read_bytes()
            digest = sha256(content).hexdigest()
            faces = face_cache.get(digest)
            if faces is None:
                if not detectors:  # loads weights: only where an image is not in the cache
                    detectors.append(FaceDetector())
                faces = _detect(content, detectors[0])
                face_cache.put(digest, faces)
            return faces

        return detect

    detected = runtime.map_threads(items, make_worker)
    tracked = console.track(items, "find faces")
    return {item.name: faces for item, faces in zip(tracked, detected, strict=True)}


def _detect(content: bytes, detector: FaceDetector) -> list[XcYcWh]:
    """The faces of an image, clipped at its border; none if it cannot be decoded."""
    try:
        pixels = images.read(content, min_side=MIN_SIDE).pixels
    except (ImageError, TooLargeError):
        return []
    height, width = pixels.shape[:2]
    sized = []
    for face in detector.detect(pixels, PADDING_SCALES):
        x1, y1, x2, y2 = face.head_box
        box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        clipped = yolo.clip_box(box, lambda _: None)
        if clipped:
            sized.append((clipped[2] * clipped[3] * face.score, clipped))
    return [box for _, box in sorted(sized, reverse=True)]


def _describe_boxes(replaced: _Replaced) -> Iterator[str]:
    if replaced.replaced:
        text = f"{replaced.replaced:,} of {replaced.boxes:,} boxes replaced by detected faces"
        if replaced.unresolved:
            count, names = len(replaced.unresolved), ", ".join(replaced.unresolved[:_MAX_NAMES])
            more = ", ..." if count > _MAX_NAMES else ""
            text += f"; images without a detected face are unchanged: {count:,} ({names}{more})"
        yield text


def _describe_names(renamed: Sequence[str]) -> Iterator[str]:
    if renamed:
        names = ", ".join(map(repr, renamed))
        yield f"{len(renamed)} class names changed to the task's spelling ({names})"


def _copy_label_csv(raw: Path, out: Path, repair_labels: bool) -> Iterator[str]:
    for path in label_csv.find(raw):
        target = out / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not repair_labels:
            link(path, target)
        elif changed := label_csv.repair(path, target):
            yield f"{path.name}: {changed:,} labels changed to lower case"
