"""Large photos read at reduced size: what that saves, and whether the answers stay the same.

The champions of the workspace answer every picture as the service reads it (`Task.ask`) and as it
is in full. Both ways run in one process in turn; times are CPU milliseconds of one thread.
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
GRAIN = 3.0
"""Standard deviation of a sensor's noise, in steps of 255; it also makes files of usual size."""
SMALLER = 3
"""Pictures in a scene are so many times less high than it."""
PICTURES = {"scaled up to 12 MP": 24, f"{SMALLER} times smaller, in a scene of 12 MP": 24}
Photo = Image.Image


@dataclass
class Kept:
    """The answers to one kind of picture, read in several ways."""

    asked: list[Prediction] = field(default_factory=list)
    half: list[Prediction] = field(default_factory=list)
    """With half as many pixels as the task says are enough."""
    whole: list[Prediction] = field(default_factory=list)
    other: list[Prediction] = field(default_factory=list)
    """In full, with another grain."""
    small: list[Prediction] = field(default_factory=list)
    """To the photo before it was made large."""


def main() -> None:
    """Ask both champions for small and large pictures, in both ways."""
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
    page.write("photos", "Large photos", [*_words(), page.table(costs), *_told(answers)])


def _words() -> list[str]:
    min_side = ", ".join(f"{name} {tasks.load(name).inference.min_side}" for name in tasks.names())
    return [
        "A picture is read at a half, a quarter or an eighth of its size where its shorter side "
        f"keeps enough pixels for the task ({min_side}: `Task.min_side`, "
        "[0013](../decisions/0013-reduced-photos.md)).",
        "## What a JPEG costs",
        f"From the file to the answer: CPU ms, median of {ROUNDS} rounds in which all take turns, "
        "each after one more that does not count. "
        f"Photos with grain ({GRAIN:g} of 255), quality 88. Ratios are of these medians.",
    ]


def _told(answers: Sequence[dict[str, object]]) -> list[str]:
    return [
        "## Whether answers stay the same",
        "Real photos made large, with grain, as JPEG: read as the service does, and in full. "
        "What reading in full says when only the grain is another one tells how sure an answer is. "
        "Distances are those of landmarks, or corners of the box, on average, in sizes of the hand "
        "or face (its box's diagonal), where both ways name the same. Sharpness is a measure that "
        "monitoring watches, here against that of the photo before it was made large (median).",
        page.table(answers),
    ]


def _costs(task: Task[Any], model: Model, photo: Photo) -> list[dict[str, object]]:
    files = {name: _jpeg(_grainy(photo.resize(size), 0)) for name, size in SIZES.items()}
    ways: dict[str, Callable[[bytes], Request]] = {
        "asked": task.inference.read,
        "whole": Request.read,
    }
    spent: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for name, data in files.items():
            for way, read in ways.items():
                task.inference.predict(read(data), model)  # what comes before must not tell
                start = time.process_time()
                request = read(data)
                middle = time.process_time()
                task.inference.predict(request, model)
                spent.setdefault((name, way, "decode"), []).append(middle - start)
                spent.setdefault((name, way, "all"), []).append(time.process_time() - start)
                del request  # or the next one would pay for giving its memory back
    ms = {key: float(np.median(seconds)) * 1000 for key, seconds in spent.items()}
    return [
        {
            "task": task.name,
            "picture": name,
            "MB": f"{len(data) / 1e6:.2f}",
            "decode": f"{ms[name, 'asked', 'decode']:.1f}",
            "decode and predict": f"{ms[name, 'asked', 'all']:.1f}",
            "in full: decode": f"{ms[name, 'whole', 'decode']:.1f}",
            "in full: decode and predict": f"{ms[name, 'whole', 'all']:.1f}",
            "share of the full cost": f"{ms[name, 'asked', 'all'] / ms[name, 'whole', 'all']:.2f}",
            "times 1 MP": f"{ms[name, 'asked', 'all'] / ms['1 MP', 'asked', 'all']:.2f}",
        }
        for name, data in files.items()
    ]


def _answers(
    task: Task[Any], model: Model, photos: Sequence[Photo], kind: str
) -> dict[str, object]:
    kept = Kept()
    for place, photo in enumerate(photos[: PICTURES[kind]]):
        large = _scene(photo, place) if "scene" in kind else _scaled(photo)
        data = _jpeg(_grainy(large, place))
        kept.asked.append(task.inference.predict(task.inference.read(data), model))
        half = Request.read(data, min_side=(task.inference.min_side or 0) // 2 or None)
        kept.half.append(task.inference.predict(half, model))
        kept.whole.append(task.inference.predict(Request.read(data), model))
        other = Request.read(_jpeg(_grainy(large, place + 1)))
        kept.other.append(task.inference.predict(other, model))
        kept.small.append(task.inference.predict(Request(image=np.asarray(photo)), model))
    far = list(_distances(kept))
    return {
        "task": task.name,
        "pictures": f"{len(kept.asked)} {kind}",
        "something found": _share([each.best is not None for each in kept.asked]),
        "in full": _share([each.best is not None for each in kept.whole]),
        "same answer as in full": _share(_alike(kept.asked, kept.whole)),
        "with half as many": _share(_alike(kept.half, kept.whole)),
        "in full, other grain": _share(_alike(kept.other, kept.whole)),
        "distance, median": f"{np.median(far):.2%}",
        "95th percentile": f"{np.percentile(far, 95):.2%}",
        "sharpness": f"{_sharper(kept.asked, kept.small):.2f}",
        "sharpness in full": f"{_sharper(kept.whole, kept.small):.2f}",
    }


def _alike(one: Sequence[Prediction], two: Sequence[Prediction]) -> list[bool]:
    return [_label(a) == _label(b) for a, b in zip(one, two, strict=True)]


def _label(answer: Prediction) -> str | None:
    return answer.best.label if answer.best else None


def _distances(kept: Kept) -> Iterator[float]:
    """How far a detection lies from the nearest of the same label that is found in full."""
    for one, two in zip(kept.asked, kept.whole, strict=True):
        if one.best is None:
            continue
        near = [_far(one.best, each) for each in two.detections if each.label == one.best.label]
        if near:
            yield min(near)


def _far(one: Detection, two: Detection) -> float:
    places, others = _places(one), _places(two)
    size = np.linalg.norm(np.ptp(others, axis=0))
    return float(np.linalg.norm(places - others, axis=1).mean() / size)


def _places(detection: Detection) -> NDArray[np.float64]:
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


def _scene(photo: Photo, place: int) -> Photo:
    """The photo somewhere before a ground of its own colours, on which nothing can be told."""
    ground = photo.resize((4, 3)).resize(LARGE, Image.Resampling.BICUBIC)
    times = LARGE[1] / SMALLER / photo.height
    size = (round(photo.width * times), round(photo.height * times))
    rng = np.random.default_rng(place)
    corner = (int(rng.integers(LARGE[0] - size[0])), int(rng.integers(LARGE[1] - size[1])))
    ground.paste(photo.resize(size, Image.Resampling.LANCZOS), corner)
    return ground


def _grainy(photo: Photo, seed: int) -> Photo:
    """The photo with noise that is the same in all colours."""
    pixels = np.asarray(photo).astype(np.int16)
    height, width = pixels.shape[:2]
    start = seed * 1009  # another part of the noise, which has more values than a photo pixels
    pixels += _noise()[start : start + height * width].reshape(height, width, 1)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


@cache
def _noise() -> NDArray[np.int16]:
    noise = np.random.default_rng(0).standard_normal(13_000_000, np.float32)
    return np.rint(noise * np.float32(GRAIN)).astype(np.int16)


def _jpeg(photo: Photo) -> bytes:
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _spread(found: Sequence[Any]) -> Sequence[Any]:
    """As many as are looked at, from all of those found."""
    return found[:: max(1, len(found) // max(PICTURES.values()))]


def _hands(data: Path) -> list[Photo]:
    paths = sorted(path for path in (data / "gesture" / "photos").rglob("*") if path.is_file())
    return [Image.open(path).convert("RGB") for path in _spread(paths)]


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
            content = [archive.read(each) for each in _spread(inside)]
            read.append([Image.open(io.BytesIO(each)).convert("RGB") for each in content])
    return [photo for pair in zip(*read, strict=False) for photo in pair]


if __name__ == "__main__":
    main()
