"""Small hand-made data: samples as an inspection lists them, YOLO sets and tables on disk."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import tasks
from mien.config import RunConfig
from mien.stages import Run, data
from mien.stages.check.context import CheckContext
from mien.storage.versions import Version
from mien.storage.workspace import Workspace
from mien.task import Inspection, Issues, Sample, Split, Task, recorded_check

LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
Pixels = NDArray[np.uint8]
Drawn = Mapping[str, Sequence[tuple[str, str, Pixels]]]
"""By folder of the split: name of a picture, its label and its pixels."""


def sample(
    name: str,
    label: str = "left",
    split: Split | None = "train",
    digest: str = "",
    person: str = "",
) -> Sample:
    """A sample of two labels; its content is its own unless a digest says otherwise."""
    labels = (label,) if label else ()
    return Sample(name, labels, digest or f"content of {name}", split, person=person)


def task(**changes: Any) -> Task[Any]:
    """A task of two labels with one check of its own; keywords replace parts of its data."""
    own = (recorded_check("odd_boxes", "They are odd.", "error", 0.2),)
    emotion = tasks.load("emotion")
    counter = changes.pop("subject_counter", emotion.inference.subject_counter)
    return replace(
        emotion,
        default_labels=("left", "right"),
        data=replace(emotion.data, **{"checks": own, **changes}),
        inference=replace(emotion.inference, subject_counter=counter),
    )


def context(
    samples: Sequence[Sample],
    exact: Sequence[tuple[int, ...]] = (),
    near: Sequence[tuple[int, ...]] = (),
    same: Sequence[tuple[int, ...]] = (),
    **issues: Sequence[str],
) -> CheckContext:
    """What the checks see of samples; issues of the task's checks by slug."""
    first = {index: cluster[0] for cluster in exact for index in cluster}
    equal = [
        replace(each, digest=samples[first.get(index, index)].digest)
        for index, each in enumerate(samples)
    ]
    recorded = {slug: Issues(tuple(names), len(samples)) for slug, names in issues.items()}
    inspection = Inspection(tuple(equal), recorded)
    duplicates = tuple(exact)
    return CheckContext(
        task(), inspection, None, {}, duplicates, (*near,) or duplicates, (*same,) or duplicates
    )


def portrait(seed: int, side: int = 48) -> Pixels:
    """A soft picture that is like no other one."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def retouched(pixels: Pixels) -> Pixels:
    """The same picture for a person, other numbers for a machine."""
    return np.clip(pixels.astype(np.int16) + 1, 0, 255).astype(np.uint8)


def distinct(copies: int = 2) -> dict[str, list[tuple[str, str, Pixels]]]:
    """A set in which nothing is wrong: every label in every split, no picture like another."""
    numbers = count()
    return {
        split: [
            (f"{number}.png", label, portrait(number))
            for label in LABELS
            for number in islice(numbers, copies)
        ]
        for split in ("train", "valid", "test")
    }


def yolo(folder: Path, drawn: Drawn, box: str = "0.5 0.5 0.4 0.6") -> Path:
    """Write a YOLO data set."""
    for split, pictures in drawn.items():
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        for name, label, pixels in pictures:
            path = folder / split / "images" / name
            Image.fromarray(pixels).save(path)
            text = f"{LABELS.index(label)} {box}\n" if label else ""
            (folder / split / "labels" / f"{path.stem}.txt").write_text(text)
    (folder / "data.yaml").write_text(f"nc: 8\nnames: [{', '.join(LABELS)}]\n")
    return folder


def table(path: Path, rows: Iterable[tuple[Sequence[float], str, str]]) -> Path:
    """Write a table of landmarks: 63 numbers, label and user of each row."""
    columns = [f"{axis}{point}" for point in range(1, 22) for axis in "xyz"]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns, "label", "user"])
        writer.writerows([*numbers, label, user] for numbers, label, user in rows)
    return path


def fetched(source: Path, home: Path, **config: Any) -> tuple[RunConfig, Workspace, Version]:
    """A run on a source, its workspace, and the version that the source was fetched as."""
    asked = {"task": "emotion", **config}
    run = RunConfig(name="run", source=str(source), **asked)
    workspace = Workspace(home)
    return run, workspace, data.fetch(Run.resolve(run, workspace))[0]
