"""Lists the samples of a YOLO data set and records the issues of the task's own checks.

Reads every image once and decodes none; `dataset/` has read the label files.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from mien.boxes import Box
from mien.task import Inspection, Issues, Sample, Split

from . import dataset, label_csv, label_lines, yolo
from .checks import CHECKS, ORPHAN_LABEL_FILE, OUTSIDE_IMAGE, UNKNOWN_CLASS
from .dataset import DataSet, LabelledImage
from .dataset.class_names import ClassNames, label_of, unknown
from .dataset.file_tree import stem
from .dataset.usable import MISSING_LABEL_FILE, ignore_setting, is_ignored
from .label_csv import MIXED_CASE
from .params import LABELS, Params
from .persons import persons

_BOX_CHECKS = (
    *(yolo.BOX_OUT_OF_BOUNDS, yolo.DEGENERATE_BOX, yolo.WHOLE_IMAGE_BOX, UNKNOWN_CLASS),
    *label_lines.CONVERSIONS,
)
_FILE_CHECKS = (ORPHAN_LABEL_FILE, label_lines.EMPTY_LABEL_FILE, label_lines.MALFORMED_LABEL)
_MAX_HINTS = 3
_SOURCE = re.compile(r"[^\W\d_]+(?=[\W_]*\d)")


@dataclass
class _Record:
    """Samples and issues while the set is read."""

    samples: list[Sample] = field(default_factory=list)
    issues: dict[str, list[str]] = field(default_factory=dict)
    """Names by slug."""
    totals: Counter[str] = field(default_factory=Counter)
    """Number of label files, boxes and class names."""
    unknown_classes: set[str] = field(default_factory=set)
    """Values of `params.ignore_labels` that leave them out."""
    hints: list[str] = field(default_factory=list)
    """Messages about the names of these classes."""

    def add(self, slug: str, name: str) -> None:
        self.issues.setdefault(slug, []).append(name)

    def reporter(self, name: str) -> Callable[[str], None]:
        return lambda slug: self.add(slug, name)


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every image with its labels, and check each label file.

    Raises:
        DataError: see `dataset.read`.
    """
    data = dataset.read(raw, params, cache)
    record = _Record()
    _record_names(data, params.ignore_labels, record)
    for split, image in data:
        _record_image(image, split, data.classes, params.ignore_labels, record)
    for slug, paths in ((ORPHAN_LABEL_FILE, data.orphans), (OUTSIDE_IMAGE, data.outside)):
        for path in paths:
            record.add(slug, path)
    record.totals["files"] += len(data.orphans)
    totals = {**_totals(data, record), **_compare_label_csv(raw, record)}
    issues = {
        check.slug: Issues(tuple(record.issues.get(check.slug, ())), totals.get(check.slug, 0))
        for check in CHECKS
    }
    setting = ignore_setting((*params.ignore_labels, *record.unknown_classes))
    hint = " ".join(record.hints[:_MAX_HINTS])
    issues[UNKNOWN_CLASS] = replace(issues[UNKNOWN_CLASS], setting=setting, hint=hint)
    declared = tuple(each for each in data.classes.declared if each not in params.ignore_labels)
    return Inspection(tuple(_with_persons(record.samples)), issues, declared)


def source(file_name: str) -> str:
    """The word before the number in the name of a file; "" where it names what the image shows."""
    match = _SOURCE.match(file_name)
    is_source = match and label_of(match[0]) is None and match[0].lower() != "nobody"
    return match[0] if match and is_source else ""


def _record_names(data: DataSet, ignored: Sequence[str], record: _Record) -> None:
    """Names in another spelling, and names of used classes that the task does not know."""
    classes = data.classes
    record.totals["names"] += len(classes.written)
    used = {box.number for _, image in data if image.labels for box in image.labels.boxes}
    for number, (name, label) in enumerate(zip(classes.written, classes.labels, strict=True)):
        if label is not None and name != label:
            record.add(MIXED_CASE, f"{classes.origin} {name!r}")
        elif label is None and number in used and not is_ignored(number, classes, ignored):
            record.hints.append(unknown(name, classes.origin))
            record.add(UNKNOWN_CLASS, record.hints[-1])


def _record_image(
    image: LabelledImage,
    split: Split,
    classes: ClassNames,
    ignored: Sequence[str],
    record: _Record,
) -> None:
    subjects: list[tuple[str, Box | None]] = []
    if image.labels is None:
        record.add(MISSING_LABEL_FILE, image.name)
    else:
        record.totals["files"] += 1
        for issue in image.labels.issues:
            record.add(issue.slug, image.name)
        subjects = _subjects(image, classes, ignored, record)
    # A training reads neither an image without a label file nor one with a malformed file.
    used = image.labels is not None and image.labels.malformed is None
    digest = sha256(image.path.read_bytes()).hexdigest()
    record.samples.append(
        Sample(
            image.name,
            tuple(label for label, _ in subjects),
            digest,
            split if used else None,
            image.path,
            metadata=_metadata(image),
            box=subjects[0][1] if subjects else None,
        )
    )


def _subjects(
    image: LabelledImage, classes: ClassNames, ignored: Sequence[str], record: _Record
) -> list[tuple[str, Box | None]]:
    """Label and box of each face, the largest first; a box without area still belongs to one."""
    sized: list[tuple[float, str, Box | None]] = []
    for each in image.labels.boxes if image.labels else ():
        record.totals["boxes"] += 1
        if is_ignored(each.number, classes, ignored):
            continue
        clipped = yolo.clip_box(each.box, record.reporter(image.name))
        label = classes.name(each.number)
        if label not in LABELS:
            record.add(UNKNOWN_CLASS, image.name)
            has_name = 0 <= each.number < len(classes.written)
            record.unknown_classes.add(label if has_name else str(each.number))
        area = clipped[2] * clipped[3] if clipped else 0.0
        sized.append((area, label, yolo.corners(clipped) if clipped else None))
    return [(label, box) for _, label, box in sorted(sized, key=lambda each: -each[0])]


def _metadata(image: LabelledImage) -> dict[str, str | float]:
    """File type by content, and the word before the number in the file's name, if there is one."""
    metadata: dict[str, str | float] = {"type": image.type}
    if word := source(image.file_name):
        metadata["source"] = word
    return metadata


def _with_persons(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Add the person where most file names name one; their words are no sources then."""
    names = persons([stem(each.name.partition("/")[2]) for each in samples])
    if names is None:
        yield from samples
        return
    for sample, person in zip(samples, names, strict=True):
        metadata = {name: value for name, value in sample.metadata.items() if name != "source"}
        yield replace(sample, person=person, metadata=metadata)


def _totals(data: DataSet, record: _Record) -> dict[str, int]:
    """How many items each check looked at."""
    return {
        **dict.fromkeys(_BOX_CHECKS, record.totals["boxes"]),
        **dict.fromkeys(_FILE_CHECKS, record.totals["files"]),
        MISSING_LABEL_FILE: len(record.samples),
        OUTSIDE_IMAGE: len(record.samples) + len(data.outside),
        MIXED_CASE: record.totals["names"],
    }


def _compare_label_csv(raw: Path, record: _Record) -> Mapping[str, int]:
    """Compare the set with its label CSV files, if it has any."""
    rows = [row for path in label_csv.find(raw) for row in label_csv.read(path)]
    if not rows:
        return {}
    by_stem: dict[str, list[tuple[str, str]]] = {}
    for sample in record.samples:
        if sample.labels:
            image_stem = stem(sample.name.partition("/")[2])
            by_stem.setdefault(image_stem, []).append((sample.name, sample.labels[0]))
    totals = label_csv.compare(rows, by_stem, record.add)
    return {**totals, MIXED_CASE: record.totals["names"] + len(rows)}
