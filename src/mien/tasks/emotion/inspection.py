"""Lists the samples of a YOLO data set and records the issues of the task's own checks.

Reads every file once and decodes no image.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from mien import images
from mien.task import SPLITS, Inspection, Issues, Sample, Split

from . import label_csv, yolo
from .checks import CHECKS, ORPHAN_LABEL_FILE, UNKNOWN_CLASS
from .data import MISSING_LABEL_FILE
from .label_csv import MIXED_CASE
from .params import LABELS, Params

_BOX_CHECKS = (yolo.BOX_OUT_OF_BOUNDS, yolo.DEGENERATE_BOX, yolo.WHOLE_IMAGE_BOX, UNKNOWN_CLASS)
_FILE_CHECKS = (ORPHAN_LABEL_FILE, yolo.EMPTY_LABEL_FILE, yolo.MALFORMED_LABEL)
_PERSON = re.compile(r"([A-Z][^\d]*?)_\d+")
"""Sets that know whose face it is write names as Some_Name_0001."""
_SOURCE = re.compile(r"[^\W\d_]+(?=[\W_]*\d)")
_MIN_PERSONS = 20
"""Fewer distinct names than these are those of sources or cameras, not of people."""


@dataclass
class _ImageRecord:
    """Samples and issues while the set is read."""

    samples: list[Sample] = field(default_factory=list)
    issues: dict[str, list[str]] = field(default_factory=dict)
    """Names by slug."""
    totals: Counter[str] = field(default_factory=Counter)
    """Number of label files, boxes and class names."""

    def add(self, slug: str, name: str) -> None:
        self.issues.setdefault(slug, []).append(name)

    def reporter(self, name: str) -> Callable[[str], None]:
        return lambda slug: self.add(slug, name)


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every image with its labels, and check each label file.

    Raises:
        DataError: no split folders, or an unreadable data.yaml.
    """
    root = yolo.find_root(raw)
    record = _ImageRecord()
    names = _class_names(root, record)
    for split in SPLITS:
        _inspect_split(yolo.split_folder(root, split), split, names, record)
    totals = {**_totals(record), **_compare_label_csv(raw, record)}
    samples = tuple(_with_persons(record.samples))
    issues = {
        check.slug: Issues(tuple(record.issues.get(check.slug, ())), totals.get(check.slug, 0))
        for check in CHECKS
    }
    return Inspection(samples, issues)


def _class_names(root: Path, record: _ImageRecord) -> list[str]:
    """The classes in the task's spelling; an unknown one stays as it is written."""
    names = yolo.class_names(root)
    if names is None:
        return list(LABELS)
    record.totals["names"] += len(names)
    for name in names:
        unknown = yolo.unknown_class(name)
        if unknown:
            record.add(UNKNOWN_CLASS, unknown)
        elif name != yolo.normalize(name):
            record.add(MIXED_CASE, f"data.yaml {name!r}")
    return [yolo.normalize(name) for name in names]


def _inspect_split(folder: Path, split: Split, names: Sequence[str], record: _ImageRecord) -> None:
    image_names, label_files = yolo.image_names(folder), set(yolo.label_file_names(folder))
    record.totals["files"] += len(label_files)
    for image_name in image_names:
        path = folder / "images" / image_name
        name = f"{split}/{image_name}"
        labels: tuple[str, ...] = ()
        label_file = yolo.label_path(path)
        has_labels = label_file.name in label_files
        if has_labels:
            text = label_file.read_bytes().decode("utf-8", "replace")
            labels = _labels(text, name, names, record)
        else:
            record.add(MISSING_LABEL_FILE, name)
        # A training reads neither an image without a label file nor one with a malformed file.
        malformed = name in record.issues.get(yolo.MALFORMED_LABEL, [])[-1:]
        used = has_labels and not malformed
        content = path.read_bytes()
        digest, metadata = sha256(content).hexdigest(), _metadata(image_name, content)
        record.samples.append(
            Sample(name, labels, digest, split if used else None, path, metadata=metadata)
        )
    for file in sorted(label_files - {f"{yolo.stem(name)}.txt" for name in image_names}):
        record.add(ORPHAN_LABEL_FILE, f"{split}/{file}")


def _labels(text: str, name: str, names: Sequence[str], record: _ImageRecord) -> tuple[str, ...]:
    """The label of each box, the largest first; a box without area still belongs to a face."""
    report_issue = record.reporter(name)
    sized = []
    for number, box in yolo.parse_labels(text, report_issue):
        record.totals["boxes"] += 1
        clipped = yolo.clip_box(box, report_issue)
        valid = 0 <= number < len(names)
        if not valid or names[number] not in LABELS:
            record.add(UNKNOWN_CLASS, name)
        label = names[number] if valid else f"class {number}"
        sized.append((clipped[2] * clipped[3] if clipped else 0.0, label))
    return tuple(label for _, label in sorted(sized, key=lambda each: -each[0]))


def _metadata(image_name: str, content: bytes) -> dict[str, str | float]:
    """File type by content, and the word before the number in the file's name, if there is one."""
    metadata: dict[str, str | float] = {"type": images.sniff(content) or "other"}
    source = _SOURCE.match(image_name)
    # Drawn samples are named by what they show: that word is no source.
    if source and source[0].lower() not in {*LABELS, "nobody"}:
        metadata["source"] = source[0]
    return metadata


def _with_persons(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Add the person where most file names name one; their words are no sources then."""
    matches = [_PERSON.fullmatch(yolo.stem(each.name.partition("/")[2])) for each in samples]
    persons = {match[1] for match in matches if match}
    most = sum(match is not None for match in matches) * 2 > len(samples)
    if len(persons) < _MIN_PERSONS or not most:
        yield from samples
        return
    for sample, match in zip(samples, matches, strict=True):
        metadata = {name: value for name, value in sample.metadata.items() if name != "source"}
        yield replace(sample, person=match[1] if match else "", metadata=metadata)


def _totals(record: _ImageRecord) -> dict[str, int]:
    """How many items each check looked at."""
    return {
        **dict.fromkeys(_BOX_CHECKS, record.totals["boxes"]),
        **dict.fromkeys(_FILE_CHECKS, record.totals["files"]),
        MISSING_LABEL_FILE: len(record.samples),
        MIXED_CASE: record.totals["names"],
    }


def _compare_label_csv(raw: Path, record: _ImageRecord) -> Mapping[str, int]:
    """Compare the set with its label CSV files, if it has any."""
    rows = [row for path in label_csv.find(raw) for row in label_csv.read(path)]
    if not rows:
        return {}
    by_stem: dict[str, list[tuple[str, str]]] = {}
    for sample in record.samples:
        if sample.labels:
            stem = yolo.stem(sample.name.partition("/")[2])
            by_stem.setdefault(stem, []).append((sample.name, sample.labels[0]))
    totals = label_csv.compare(rows, by_stem, record.add)
    return {**totals, MIXED_CASE: record.totals["names"] + len(rows)}
