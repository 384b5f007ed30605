"""Small hand-made data: samples as a survey has them, YOLO sets and tables on disk."""

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
from mien.stages import data
from mien.stages.check.material import Material
from mien.storage.versions import Version
from mien.storage.workspace import Workspace
from mien.task import Gate, Inspection, Sample, Split, Task

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
    """A task of two labels with one gate of its own; keywords replace parts of its data."""
    own = {"odd boxes": Gate("They are odd.", "error", 0.2)}
    emotion = tasks.load("emotion")
    counter = changes.pop("subject_counter", emotion.inference.subject_counter)
    return replace(
        emotion,
        labels=("left", "right"),
        data=replace(emotion.data, **{"gates": own, **changes}),
        inference=replace(emotion.inference, subject_counter=counter),
    )


def material(
    samples: Sequence[Sample],
    exact: Sequence[tuple[int, ...]] = (),
    near: Sequence[tuple[int, ...]] = (),
    same: Sequence[tuple[int, ...]] = (),
    **faults: Sequence[str],
) -> Material:
    """What the gates see of samples; faults of the task's gates by name with underscores."""
    found = {name.replace("_", " "): tuple(names) for name, names in faults.items()}
    twin = {place: cluster[0] for cluster in exact for place in cluster}
    equal = [
        replace(each, digest=samples[twin.get(place, place)].digest)
        for place, each in enumerate(samples)
    ]
    inspect = Inspection(tuple(equal), found)
    alike = (*near,) or tuple(exact)
    return Material(task(), inspect, None, {}, tuple(exact), alike, (*same,) or tuple(exact))


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
    return run, workspace, data.fetch(run, workspace)[0]
