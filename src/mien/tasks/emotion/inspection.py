"""What a YOLO data set holds, picture by picture, and what is wrong with it.

Reads every file once and decodes no picture: whether pixels can be read is found out by whoever
looks at them. How a set lies in folders is known by `yolo.py`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from mien import images
from mien.task import SPLITS, Gate, Inspection, Sample, Split

from . import label_csv, yolo
from .params import LABELS, Params

NO_LABELS, NO_PICTURE = "pictures without label file", "label files without picture"
UNKNOWN, MIXED_CASE = "unknown classes", label_csv.MIXED_CASE
_GATE_OF = {
    yolo.EMPTY: "empty label files",
    yolo.SENSELESS: "label lines without meaning",
    yolo.OUTSIDE: "boxes out of range",
    yolo.DEGENERATE: "degenerate boxes",
    yolo.WHOLE_PICTURE: "whole-picture boxes",
}
"""The gate of each fault of a label file."""
GATES: Mapping[str, Gate] = {
    NO_LABELS: Gate("Nothing is known of them; they are left out of the training."),
    NO_PICTURE: Gate("They label nothing: pictures may have been lost."),
    "empty label files": Gate("Their pictures are taught as showing no face.", limit=0.2),
    UNKNOWN: Gate("The task has no such emotion: these faces cannot be taught.", "error"),
    MIXED_CASE: Gate("The same class under several spellings; they are read as one."),
    "label lines without meaning": Gate("Their pictures are left out of the training."),
    "boxes out of range": Gate("They reach beyond the picture and are cut at its border."),
    "degenerate boxes": Gate("They have no area: nothing says where the face is.", mends=True),
    "whole-picture boxes": Gate(
        "They mark no face: a detector learns to draw the border of the picture.",
        "error",
        0.5,
        mends=True,
    ),
    **label_csv.GATES,
}
_PERSON = re.compile(r"([A-Z][^\d]*?)_\d+")
"""Sets that know whose face it is write names as Some_Name_0001."""
_SOURCE = re.compile(r"[^\W\d_]+(?=[\W_]*\d)")
_PERSONS = 20
"""Fewer distinct names than these are those of sources or cameras, not of people."""


@dataclass
class _Found:
    """Samples and faults as they turn up."""

    samples: list[Sample] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    looked: Counter[str] = field(default_factory=Counter)
    """How many label files, boxes and names of classes there are."""

    def fault(self, gate: str, name: str) -> None:
        self.faults.setdefault(gate, []).append(name)

    def teller(self, name: str) -> Callable[[str], None]:
        return lambda fault: self.fault(_GATE_OF[fault], name)


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List every picture with its labels, and hold each label file to what such files may say.

    Raises:
        DataError: no split folders, or a data.yaml that cannot be read.
    """
    root = yolo.find(raw)
    found = _Found()
    names = _names(root, found)
    for split in SPLITS:
        _survey_split(yolo.split_folder(root, split), split, names, found)
    totals = {**_totals(found), **_compare(raw, found)}
    samples = _with_persons(found.samples)
    faults = {gate: tuple(names) for gate, names in found.faults.items()}
    return Inspection(tuple(samples), faults, totals)


def _names(root: Path, found: _Found) -> list[str]:
    """The classes in the task's spelling; one that it does not know stays as it is written."""
    written = yolo.written_names(root)
    if written is None:
        return list(LABELS)
    found.looked["names"] += len(written)
    for name in written:
        unknown = yolo.unknown(name)
        if unknown:
            found.fault(UNKNOWN, unknown)
        elif name != yolo.plain(name):
            found.fault(MIXED_CASE, f"data.yaml {name!r}")
    return [yolo.plain(name) for name in written]


def _survey_split(folder: Path, split: Split, names: Sequence[str], found: _Found) -> None:
    pictures, files = yolo.pictures(folder), set(yolo.label_files(folder))
    found.looked["files"] += len(files)
    images_of, labels_of = folder / "images", folder / "labels"
    for picture in pictures:
        path, file = images_of / picture, f"{yolo.stem(picture)}.txt"
        content = path.read_bytes()
        name = f"{split}/{picture}"
        labels: tuple[str, ...] = ()
        if file in files:
            text = (labels_of / file).read_bytes().decode("utf-8", "replace")
            labels = _labels(text, name, names, found)
        else:
            found.fault(NO_LABELS, name)
        # A training reads neither what has no label file nor what has one without meaning.
        senseless = found.faults.get(_GATE_OF[yolo.SENSELESS], [])[-1:]
        taught = file in files and name not in senseless
        digest, facts = sha256(content).hexdigest(), _facts(picture, content)
        found.samples.append(
            Sample(name, labels, digest, split if taught else None, path, facts=facts)
        )
    for file in sorted(files - {f"{yolo.stem(picture)}.txt" for picture in pictures}):
        found.fault(NO_PICTURE, f"{split}/{file}")


def _labels(text: str, name: str, names: Sequence[str], found: _Found) -> tuple[str, ...]:
    """The label of each box, the largest first; one without area is still that of a face."""
    tell = found.teller(name)
    sized = []
    for number, written in yolo.lines(text, tell):
        found.looked["boxes"] += 1
        box = yolo.cut(written, tell)
        known = 0 <= number < len(names)
        if not known or names[number] not in LABELS:
            found.fault(UNKNOWN, name)
        label = names[number] if known else f"class {number}"
        sized.append((box[2] * box[3] if box else 0.0, label))
    return tuple(label for _, label in sorted(sized, key=lambda each: -each[0]))


def _facts(picture: str, content: bytes) -> dict[str, str | float]:
    """File type by content, and the word before the number of the file's name, if there is one."""
    facts: dict[str, str | float] = {"type": images.sniff(content) or "other"}
    source = _SOURCE.match(picture)
    # Named by what they show, as drawn samples are: that word comes from no source.
    if source and source[0].lower() not in {*LABELS, "nobody"}:
        facts["source"] = source[0]
    return facts


def _with_persons(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Tell whose face it is, where the names of the files do; their words are no sources then."""
    matches = [_PERSON.fullmatch(yolo.stem(each.name.partition("/")[2])) for each in samples]
    persons = {match[1] for match in matches if match}
    told = sum(match is not None for match in matches) * 2 > len(samples)
    if len(persons) < _PERSONS or not told:
        yield from samples
        return
    for sample, match in zip(samples, matches, strict=True):
        facts = {name: value for name, value in sample.facts.items() if name != "source"}
        yield replace(sample, person=match[1] if match else "", facts=facts)


def _totals(found: _Found) -> dict[str, int]:
    boxes = ("boxes out of range", "degenerate boxes",
             "whole-picture boxes", UNKNOWN)  # fmt: skip
    files = (NO_PICTURE, "empty label files", "label lines without meaning")
    return {
        **dict.fromkeys(boxes, found.looked["boxes"]),
        **dict.fromkeys(files, found.looked["files"]),
        MIXED_CASE: found.looked["names"],
    }


def _compare(raw: Path, found: _Found) -> dict[str, int]:
    """Hold the set against its legends, if it has any."""
    rows = [row for path in label_csv.find(raw) for row in label_csv.read(path)]
    if not rows:
        return dict.fromkeys(label_csv.GATES, 0)
    by_stem: dict[str, list[tuple[str, str]]] = {}
    for sample in found.samples:
        if sample.labels:
            stem = yolo.stem(sample.name.partition("/")[2])
            by_stem.setdefault(stem, []).append((sample.name, sample.labels[0]))
    totals = label_csv.compare(rows, by_stem, found.fault)
    return {**totals, MIXED_CASE: found.looked["names"] + len(rows)}
