"""What the servers are asked: real photos of three sizes and landmarks of real hands, in turn.

Knows the files of real data and the sizes; `servers.py` knows how each server wants them.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zipfile import ZipFile

from PIL import Image

from bench.page import real_data

T = TypeVar("T")
JSON = "application/json"
SHORT_SIDE = 640
MEGAPIXELS = 12e6
QUALITY = 90
SMALL, LARGE = 1.35, 1.10
"""Targets of the ratio of CPU time: for small pictures and landmarks, for photos of 640 px or more.
"""


@dataclass(frozen=True)
class Question:
    """A picture's file or a JSON body, and its media type."""

    content: bytes
    kind: str


@dataclass(frozen=True)
class Workload:
    """One kind of question to one task."""

    name: str
    task: str
    questions: tuple[Question, ...]
    share: float
    """What the server's throughput shall be of the raw limit."""
    cpu_ratio: float
    """How many times the CPU time of the raw call an answer of the server shall cost at most."""

    @property
    def is_json(self) -> bool:
        return self.questions[0].kind == JSON


def make(photos: int, hands: int) -> list[Workload]:
    """All workloads, with so many different pictures or hands in each."""
    faces, pictures = _faces(photos), _gesture_photos(photos)
    middle = tuple(_scaled(each, _to_short_side) for each in pictures)
    large = tuple(_scaled(each, _to_megapixels) for each in pictures)
    return [
        Workload("emotion, 96 px", "emotion", faces, 0.60, SMALL),
        Workload("emotion, 640 px", "emotion", middle, 0.90, LARGE),
        Workload("emotion, 12 MP", "emotion", large, 0.90, LARGE),
        Workload("gesture, 640 px", "gesture", middle, 0.90, LARGE),
        Workload("gesture, 12 MP", "gesture", large, 0.90, LARGE),
        Workload("gesture, landmarks", "gesture", _hands(hands), 0.60, SMALL),
    ]


def write(workloads: Sequence[Workload], out: Path) -> None:
    """Leave the workloads in a folder, for a process that reads them with `read`."""
    index = []
    for number, workload in enumerate(workloads):
        kinds = [question.kind for question in workload.questions]
        goals = [workload.share, workload.cpu_ratio]
        index.append([workload.name, workload.task, *goals, kinds])
        for place, question in enumerate(workload.questions):
            (out / f"{number}-{place}").write_bytes(question.content)
    (out / "index.json").write_text(json.dumps(index), encoding="utf-8")


def read(folder: Path) -> list[Workload]:
    """What `write` left."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return [
        Workload(
            name,
            task,
            tuple(
                Question((folder / f"{number}-{place}").read_bytes(), kind)
                for place, kind in enumerate(kinds)
            ),
            share,
            cpu_ratio,
        )
        for number, (name, task, share, cpu_ratio, kinds) in enumerate(index)
    ]


def _faces(count: int) -> tuple[Question, ...]:
    """Files of 96 x 96 pixels as they are in the set: JPEG and PNG."""
    with ZipFile(real_data() / "emotion" / "affectnet_yolo.zip") as stored:
        names = sorted(name for name in stored.namelist() if name.endswith((".jpg", ".png")))
        return tuple(
            Question(stored.read(name), "image/png" if name.endswith("png") else "image/jpeg")
            for name in _spread(names, count)
        )


def _gesture_photos(count: int) -> list[Image.Image]:
    files = sorted((real_data() / "gesture" / "photos").rglob("*.jp*g"))
    return [Image.open(path).convert("RGB") for path in _spread(files, count)]


def _hands(count: int) -> tuple[Question, ...]:
    """Rows of landmarks in pixels, as JSON bodies."""
    found = []
    path = real_data() / "gesture" / "landmarks_photos.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        for row in _spread(list(csv.DictReader(stream)), count):
            points = [[float(row[f"{axis}{n}"]) for axis in "xyz"] for n in range(1, 22)]
            found.append(Question(json.dumps({"landmarks": points}).encode(), JSON))
    return tuple(found)


def _to_short_side(width: int, height: int) -> float:
    return SHORT_SIDE / min(width, height)


def _to_megapixels(width: int, height: int) -> float:
    return float((MEGAPIXELS / (width * height)) ** 0.5)


def _scaled(picture: Image.Image, factor: Callable[[int, int], float]) -> Question:
    scale = factor(picture.width, picture.height)
    size = (round(picture.width * scale), round(picture.height * scale))
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY)
    return Question(file.getvalue(), "image/jpeg")


def _spread(found: Sequence[T], count: int) -> Sequence[T]:
    """So many of them, from all over the list."""
    return found[:: max(1, len(found) // count)][:count]
