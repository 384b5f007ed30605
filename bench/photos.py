"""Large photos read at reduced size: what that saves, and whether predictions stay the same.

The champions of the workspace predict every picture as the service reads it (`Predictor.read`) and
in full size. Both ways run in one process in turn; times are CPU milliseconds of one thread.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench import page
from mien import config, tasks
from mien.model import runtime
from mien.model.runtime import Model
from mien.storage.workspace import Workspace
from mien.task import Detection, Prediction, Request, Task

LARGE = (4000, 3000)
SIZES = {"96 x 96": (96, 96), "640 x 640": (640, 640), "1 MP": (1155, 866), "12 MP": LARGE}
ROUNDS = 7
NOISE_STD = 3.0
"""Standard deviation of a sensor's noise, in steps of 255; it also makes files of usual size."""
SMALLER = 3
"""Height of a scene in heights of the photo in it."""
PICTURES = {"scaled up to 12 MP": 24, f"{SMALLER} times smaller, in a scene of 12 MP": 24}
Photo = Image.Image


@dataclass
class Predictions:
    """For one kind of picture, read in several ways."""

    reduced: list[Prediction] = field(default_factory=list)
    half: list[Prediction] = field(default_factory=list)
    """With half of the task's `min_side`."""
    full: list[Prediction] = field(default_factory=list)
    other_noise: list[Prediction] = field(default_factory=list)
    """In full size, with other noise."""
    original: list[Prediction] = field(default_factory=list)
    """For the photo before the enlargement."""


def main() -> None:
    """Predict small and large pictures with both champions, in both ways."""
    runtime.tune_malloc()  # as the service does
    photos = {"gesture": _hands(page.real_data()), "emotion": _faces(page.real_data())}
    home = Workspace(config.settings().home)
    costs, answers = [], []
    for name, sources in photos.items():
        task = tasks.load(name)
        number = home.aliases(name).get("champion")
        if number is None:
            sys.exit(f"{home.home} has no champion of {name}; train one, or set MIEN_HOME.")
        with runtime.load(home.version(name, number)) as model:
            costs += _costs(task, model, sources[0])
            answers += [_answers(task, model, sources, kind) for kind in PICTURES]
    page.write(
        "photos", "Large photos", [*_introduction(), page.table(costs), *_agreement(answers)]
    )


def _introduction() -> list[str]:
    min_side = ", ".join(f"{name} {tasks.load(name).inference.min_side}" for name in tasks.names())
    return [
        "A picture is read at a half, a quarter or an eighth of its size if its shorter side "
        f"still has enough pixels for the task ({min_side}: `Predictor.min_side`, "
        "[0013](../decisions/0013-reduced-photos.md)).",
        "## The cost of a JPEG",
        f"From the file to the prediction: CPU ms, median of {ROUNDS} rounds over all pictures in "
        "turn, each after a warm-up that is not measured. "
        f"Photos with noise ({NOISE_STD:g} of 255), quality 88. Ratios are of these medians.",
    ]


def _agreement(answers: Sequence[dict[str, object]]) -> list[str]:
    return [
        "## Agreement with predictions in full size",
        "Real photos enlarged, with noise, as JPEG: read as the service does, and in full size. "
        "The agreement of two predictions in full size with different noise shows how stable a "
        "prediction is. Distances are mean distances of landmarks, or of corners of the box, in "
        "diagonals of the hand's or face's box, where both ways predict the same. Sharpness is an "
        "input statistic of monitoring, relative to that of the photo before the enlargement "
        "(median).",
        page.table(answers),
    ]


def _costs(task: Task[Any], model: Model, photo: Photo) -> list[dict[str, object]]:
    files = {name: _jpeg(_with_noise(photo.resize(size), 0)) for name, size in SIZES.items()}
    ways: dict[str, Callable[[bytes], Request]] = {
        "reduced": task.inference.read,
        "full": Request.read,
    }
    spent: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, data in files.items():
            for way, read in ways.items():
                task.inference.predict(read(data), model)  # warm-up
                start = time.process_time()
                request = read(data)
                middle = time.process_time()
                task.inference.predict(request, model)
                spent.setdefault((name, way, "decode"), []).append(middle - start)
                spent.setdefault((name, way, "all"), []).append(time.process_time() - start)
                del request  # its memory must not be freed in the next measurement
    ms = {key: float(np.median(seconds)) * 1000 for key, seconds in spent.items()}
    return [
        {
            "task": task.name,
            "picture": name,
            "MB": f"{len(data) / 1e6:.2f}",
            "decode": f"{ms[name, 'reduced', 'decode']:.1f}",
            "decode and predict": f"{ms[name, 'reduced', 'all']:.1f}",
            "in full: decode": f"{ms[name, 'full', 'decode']:.1f}",
            "in full: decode and predict": f"{ms[name, 'full', 'all']:.1f}",
            "share of the full cost": f"{ms[name, 'reduced', 'all'] / ms[name, 'full', 'all']:.2f}",
            "times 1 MP": f"{ms[name, 'reduced', 'all'] / ms['1 MP', 'reduced', 'all']:.2f}",
        }
        for name, data in files.items()
    ]


def _answers(
    task: Task[Any], model: Model, photos: Sequence[Photo], kind: str
) -> dict[str, object]:
    made = Predictions()
    for seed, photo in enumerate(photos[: PICTURES[kind]]):
        large = _scene(photo, seed) if "scene" in kind else _scaled(photo)
        data = _jpeg(_with_noise(large, seed))
        made.reduced.append(task.inference.predict(task.inference.read(data), model))
        half = Request.read(data, min_side=(task.inference.min_side or 0) // 2 or None)
        made.half.append(task.inference.predict(half, model))
        made.full.append(task.inference.predict(Request.read(data), model))
        other = Request.read(_jpeg(_with_noise(large, seed + 1)))
        made.other_noise.append(task.inference.predict(other, model))
        made.original.append(task.inference.predict(Request(image=np.asarray(photo)), model))
    far = list(_distances(made))
    return {
        "task": task.name,
        "pictures": f"{len(made.reduced)} {kind}",
        "detected": _share([each.best is not None for each in made.reduced]),
        "in full": _share([each.best is not None for each in made.full]),
        "same prediction as in full": _share(_alike(made.reduced, made.full)),
        "with half as many": _share(_alike(made.half, made.full)),
        "in full, other noise": _share(_alike(made.other_noise, made.full)),
        "distance, median": f"{np.median(far):.2%}",
        "95th percentile": f"{np.percentile(far, 95):.2%}",
        "sharpness": f"{_sharper(made.reduced, made.original):.2f}",
        "sharpness in full": f"{_sharper(made.full, made.original):.2f}",
    }


def _alike(one: Sequence[Prediction], two: Sequence[Prediction]) -> list[bool]:
    return [_label(a) == _label(b) for a, b in zip(one, two, strict=True)]


def _label(answer: Prediction) -> str | None:
    return answer.best.label if answer.best else None


def _distances(made: Predictions) -> Iterator[float]:
    """Distance of a detection from the nearest one with the same label in full size."""
    for one, two in zip(made.reduced, made.full, strict=True):
        if one.best is None:
            continue
        near = [
            _distance(one.best, each) for each in two.detections if each.label == one.best.label
        ]
        if near:
            yield min(near)


def _distance(one: Detection, two: Detection) -> float:
    points, others = _points(one), _points(two)
    size = np.linalg.norm(np.ptp(others, axis=0))
    return float(np.linalg.norm(points - others, axis=1).mean() / size)


def _points(detection: Detection) -> NDArray[np.float64]:
    points = detection.extra.get("landmarks", detection.box)
    return np.array(points, float).reshape(-1, 3 if "landmarks" in detection.extra else 2)[:, :2]


def _sharper(one: Sequence[Prediction], two: Sequence[Prediction]) -> float:
    pairs = zip(one, two, strict=True)
    return float(
        np.median([a.input_stats["sharpness"] / b.input_stats["sharpness"] for a, b in pairs])
    )


def _share(right: Sequence[bool]) -> str:
    return f"{np.mean(right):.1%}"


def _scaled(photo: Photo) -> Photo:
    times = (LARGE[0] * LARGE[1] / (photo.width * photo.height)) ** 0.5
    size = (round(photo.width * times), round(photo.height * times))
    return photo.resize(size, Image.Resampling.LANCZOS)


def _scene(photo: Photo, seed: int) -> Photo:
    """The photo at a random position before a blurred background of its own colours."""
    background = photo.resize((4, 3)).resize(LARGE, Image.Resampling.BICUBIC)
    times = LARGE[1] / SMALLER / photo.height
    size = (round(photo.width * times), round(photo.height * times))
    rng = np.random.default_rng(seed)
    corner = (int(rng.integers(LARGE[0] - size[0])), int(rng.integers(LARGE[1] - size[1])))
    background.paste(photo.resize(size, Image.Resampling.LANCZOS), corner)
    return background


def _with_noise(photo: Photo, seed: int) -> Photo:
    """The photo with noise that is equal in all channels."""
    pixels = np.asarray(photo).astype(np.int16)
    height, width = pixels.shape[:2]
    start = seed * 1009  # another part of the noise
    pixels += _noise()[start : start + height * width].reshape(height, width, 1)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


@cache
def _noise() -> NDArray[np.int16]:
    noise = np.random.default_rng(0).standard_normal(13_000_000, np.float32)
    return np.rint(noise * np.float32(NOISE_STD)).astype(np.int16)


def _jpeg(photo: Photo) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _subsample(items: Sequence[Any]) -> Sequence[Any]:
    """As many as are measured, evenly spaced."""
    return items[:: max(1, len(items) // max(PICTURES.values()))]


def _hands(data: Path) -> list[Photo]:
    paths = sorted(path for path in (data / "gesture" / "photos").rglob("*") if path.is_file())
    return [Image.open(path).convert("RGB") for path in _subsample(paths)]


def _faces(data: Path) -> list[Photo]:
    """Test pictures of both sets, in turn."""
    read = []
    for name in ("affectnet_yolo.zip", "muxspace_yolo.zip"):
        with ZipFile(data / "emotion" / name) as archive:
            inside = sorted(
                each
                for each in archive.namelist()
                if "/test/images/" in each and each.endswith((".jpg", ".png"))
            )
            content = [archive.read(each) for each in _subsample(inside)]
            read.append([Image.open(io.BytesIO(each)).convert("RGB") for each in content])
    return [photo for pair in zip(*read, strict=False) for photo in pair]


if __name__ == "__main__":
    main()
