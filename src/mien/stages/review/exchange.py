"""Labels in and out: CSV for landmarks, YOLO for crops, and the JSON of Label Studio.

An export holds what all reviewers of a sample agree on, decrypted: a source for `mien data`. An
import is what one reviewer says about samples that are kept here, found by their trace_ids.
"""

import base64
import csv
import io
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mien import boxes
from mien.errors import DataError
from mien.observability.review.labels import Label, agreed
from mien.observability.review.sample import Crop, ReviewSample
from mien.observability.review.store import ReviewStore
from mien.storage.files import atomic_dir, atomic_write

from . import value
from .session import label_set

_TRACE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_DATA_YAML = "data.yaml"
NOTHING = "nothing"
"""Stands for 'no subject' in an imported CSV, and in Label Studio."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    written: int
    left_out: int
    """Disputed, not labelled, or of another form."""
    out: Path


def export(samples: ReviewStore, task: str, out: Path) -> Exported:
    """Write the labelled samples of a task: a .csv of landmarks, or a folder in YOLO format.

    Raises:
        DataError: no sample of that form is labelled, or the path exists.
        ReviewError: a sample cannot be read.
    """
    if out.exists():
        raise DataError(f"{out}: expected a new path, found a file or folder. Name another one.")
    answers, _ = agreed(samples.labels(task).latest())
    kept = list(samples.read_all(task))
    is_table = out.suffix == ".csv"
    chosen = [
        (each, answers[each.trace_id])
        for each in kept
        if each.trace_id in answers and _has_form(each, answers[each.trace_id], is_table)
    ]
    if not chosen:
        form = "landmarks" if is_table else "crops"
        raise DataError(
            f"{task}: expected labelled samples with {form} for {out.name}, found none. Label "
            "them by `mien review`; landmarks are exported to a .csv, crops to a folder."
        )
    if is_table:
        with atomic_write(out) as temporary:
            temporary.write_text(_table(chosen), encoding="utf-8")
    else:
        with atomic_dir(out) as folder:
            _write_yolo(chosen, label_set(kept), folder)
    return Exported(len(chosen), len(kept) - len(chosen), out)


def _has_form(sample: ReviewSample, answer: str | None, is_table: bool) -> bool:
    """Whether a sample can be exported; a table has no row for a hand that shows nothing."""
    if is_table:
        return answer is not None and len(value.points_of(sample)) > 0
    return sample.crop is not None


def _table(chosen: Sequence[tuple[ReviewSample, str | None]]) -> str:
    """A landmark table of three axes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for number, (sample, answer) in enumerate(chosen):
        points = np.array((sample.body or {}).get(sample.kind), np.float64)
        points[:, :2] = value.points_of(sample)
        if not number:
            names = [f"{axis}{point}" for point in range(1, len(points) + 1) for axis in "xyz"]
            writer.writerow(["trace_id", "label", *names[: points.size]])
        writer.writerow([sample.trace_id, answer, *points.ravel().tolist()])
    return stream.getvalue()


def _write_yolo(
    chosen: Sequence[tuple[ReviewSample, str | None]], labels: Sequence[str], folder: Path
) -> None:
    for name in ("images", "labels"):
        (folder / "train" / name).mkdir(parents=True)
    for sample, answer in chosen:
        crop = sample.crop
        assert crop is not None
        picture = base64.b64decode(crop.picture)
        (folder / "train" / "images" / f"{sample.trace_id}.png").write_bytes(picture)
        text = "" if answer is None else _line(crop, labels.index(answer))
        (folder / "train" / "labels" / f"{sample.trace_id}.txt").write_text(text)
    names = {"train": "train/images", "names": dict(enumerate(labels))}
    (folder / _DATA_YAML).write_text(yaml.safe_dump(names, sort_keys=False))


def _line(crop: Crop, number: int) -> str:
    sides = np.array([crop.width, crop.height] * 2, np.float64)
    shares = boxes.xyxy_to_xcycwh(np.array(crop.box) / sides).tolist()
    return f"{number} {' '.join(f'{each:.6f}' for each in shares)}\n"


def import_labels(samples: ReviewStore, task: str, source: Path, reviewer: str) -> int:
    """Store the labels of a .csv, a YOLO folder or the JSON of Label Studio as a reviewer's.

    Returns:
        How many samples were labelled.

    Raises:
        DataError: the source cannot be read, or has no label of a sample that is kept here.
    """
    kept = {each.trace_id: each for each in samples.read_all(task)}
    try:
        answers = dict(_answers(source))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(
            f"{source}: expected a .csv with trace_id and label, a YOLO folder of `mien review "
            f"export`, or the JSON of Label Studio; it cannot be read ({error})."
        ) from None
    known = {each: answer for each, answer in answers.items() if each in kept}
    if not known:
        raise DataError(
            f"{source}: expected labels of samples of {task} that are kept here, found "
            f"{len(answers)} others. Import them where the samples are."
        )
    labels = [_label(kept[each], answer, reviewer, source) for each, answer in known.items()]
    samples.labels(task).add(*labels)
    return len(labels)


def _label(sample: ReviewSample, answer: str | None, reviewer: str, source: Path) -> Label:
    if answer is not None and answer not in sample.scores:
        raise DataError(
            f"{source}: {sample.trace_id}: expected one of {', '.join(sample.scores)} or "
            f"{NOTHING}; found {answer!r}."
        )
    return Label(
        trace_id=sample.trace_id,
        reviewer=reviewer,
        timestamp=time.time(),
        verdict="nothing" if answer is None else "label",
        label=answer,
    )


def _answers(source: Path) -> Iterator[tuple[str, str | None]]:
    """trace_id and label of each entry; None for no subject."""
    if source.is_dir():
        yield from _from_yolo(source)
    elif source.suffix == ".json":
        yield from _from_label_studio(json.loads(source.read_text(encoding="utf-8")))
    else:
        with source.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                if label := row["label"].strip():
                    yield row["trace_id"].strip(), None if label == NOTHING else label


def _from_yolo(folder: Path) -> Iterator[tuple[str, str | None]]:
    names = yaml.safe_load((folder / _DATA_YAML).read_text(encoding="utf-8"))["names"]
    by_number = names if isinstance(names, dict) else dict(enumerate(names))
    for path in sorted(folder.rglob("labels/*.txt")):
        numbers = path.read_text(encoding="utf-8").split()
        yield path.stem, by_number[int(numbers[0])] if numbers else None


def _from_label_studio(tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
    """The choice of the last annotation of each task that has one; the trace_id is in its data or
    in the name of its picture."""
    for task in tasks:
        match = _TRACE_ID.search(json.dumps(task["data"]))
        choices = [
            result["value"]["choices"][0]
            for annotation in task.get("annotations", ())
            if not annotation.get("was_cancelled")
            for result in annotation["result"]
            if result.get("type") == "choices"
        ]
        if match and choices:
            yield match[0], None if choices[-1] == NOTHING else choices[-1]
