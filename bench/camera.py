"""Frames of a camera against single pictures: docs/source/measured/camera.md.

    python3 tasks.py bench camera

Takes two minutes on a quiet core. The champion of gestures of the workspace answers the same frames
both ways, in one process and one thread, frame by frame in turn; times are CPU seconds.
"""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from bench.page import REAL, table, write
from mien import config, tasks
from mien.model import golden, runtime
from mien.model.runtime import Model
from mien.storage.workspace import Workspace
from mien.task import Prediction, Task
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.gesture.drawing import draw_hand_picture
from mien.tasks.gesture.params import HAGRID_LABELS

LONGER_SIDE, QUALITY = 480, 85
"""What the page sends of a camera."""
FRAMES = 32
PHOTOS = 6
EMPTY = 4
"""Frames without a hand in each video that has some."""
TARGET = 1.6


@dataclass(frozen=True)
class Pair:
    """One frame, answered alone and as one of a video."""

    alone: Prediction
    tracked: Prediction
    alone_s: float
    tracked_s: float


def main() -> None:
    """Measure and write the page."""
    runtime.tune_malloc()
    home = Workspace(config.settings().home)
    _, number = home.champion(["gesture"])
    task = tasks.load("gesture")
    sets = {"drawn hands": _drawn()} | ({"photos": _photos()} if REAL.is_dir() else {})
    with golden.load(home.version("gesture", number)) as model:
        rows = []
        for name, pictures in sets.items():
            pairs = [pair for each in pictures for pair in _pairs(task, model, _video(each))]
            rows.append({"frames of": name, **_row(pairs)})
        empty = [_after_a_hand(task, model, face) for face in _faces()]
    write("camera", "Frames of a camera", [_INTRODUCTION, table(rows), _empty_text(empty)])


def _pairs(task: Task[Any], model: Model, frames: Sequence[bytes]) -> Iterator[Pair]:
    inference, video = task.inference, b""
    inference.predict(inference.read(frames[0]), model)
    for content in frames:
        start = time.process_time()
        alone = inference.predict(inference.read(content), model)
        middle = time.process_time()
        tracked = inference.predict(replace(inference.read(content), video=video), model)
        video = tracked.video
        yield Pair(alone, tracked, middle - start, time.process_time() - middle)


def _row(pairs: Sequence[Pair]) -> dict[str, object]:
    ratio = sum(each.alone_s for each in pairs) / sum(each.tracked_s for each in pairs)
    both = [each for each in pairs if each.alone.best and each.tracked.best]
    same = np.mean([_label(each.alone) == _label(each.tracked) for each in pairs])
    sure = [each for each in both if each.alone.outcome == each.tracked.outcome == "ok"]
    sure_same = np.mean([_label(each.alone) == _label(each.tracked) for each in sure])
    apart = [_distance(each) for each in both]
    return {
        "number": len(pairs),
        "answers per CPU second, video / single": f"{ratio:.2f}",
        "target": f"at least {TARGET}: {'reached' if ratio >= TARGET else 'MISSED'}",
        "same label or none": f"{same:.1%}",
        "where both are sure": f"{sure_same:.1%} of {len(sure)}",
        "hand only alone": sum(bool(each.alone.best) > bool(each.tracked.best) for each in pairs),
        "hand only in the video": sum(
            bool(each.alone.best) < bool(each.tracked.best) for each in pairs
        ),
        "landmarks apart, median": f"{np.median(apart):.1%}",
        "95 %": f"{np.quantile(apart, 0.95):.1%}",
    }


def _label(prediction: Prediction) -> str | None:
    return prediction.best.label if prediction.best else None


def _distance(pair: Pair) -> float:
    """Mean distance of the 21 points, in diagonals of the hand; of the best hands."""
    alone, tracked = (
        np.array(each.best.extra["landmarks"])[:, :2] if each.best else np.zeros((21, 2))
        for each in (pair.alone, pair.tracked)
    )
    size = np.linalg.norm(np.ptp(alone, axis=0))
    return float(np.linalg.norm(alone - tracked, axis=1).mean() / size)


def _after_a_hand(task: Task[Any], model: Model, without: Image.Image) -> tuple[int, int]:
    """Hands in frames without one, alone and after frames with one."""
    frames = [*_video(draw_hand_picture("palm"))[:3], *_video(without)[:EMPTY]]
    pairs = list(_pairs(task, model, frames))[3:]
    return (
        sum(each.alone.best is not None for each in pairs),
        sum(each.tracked.best is not None for each in pairs),
    )


def _faces() -> Iterator[Image.Image]:
    for seed, label in enumerate(("happy", "anger", "fear", "surprise", "sad", "neutral")):
        yield draw_face_image(label, seed).resize((512, 512))


def _empty_text(found: Sequence[tuple[int, int]]) -> str:
    alone, tracked = (sum(each) for each in zip(*found, strict=True))
    return (
        f"Of {EMPTY * len(found)} frames of drawn faces without a hand, each after frames of a "
        f"hand, single pictures show a hand in {alone} and the video in {tracked}."
    )


def _drawn() -> list[Image.Image]:
    return [draw_hand_picture(label) for label in HAGRID_LABELS[::2]]


def _photos() -> list[Image.Image]:
    paths = sorted((REAL / "gesture" / "photos").rglob("*.*"))
    paths = [path for path in paths if path.parent.name != "no_gesture"]
    return [Image.open(path).convert("RGB") for path in paths[:: len(paths) // PHOTOS][:PHOTOS]]


def _video(picture: Image.Image) -> list[bytes]:
    """JPEG frames of a camera that turns, moves and comes nearer, slowly."""
    picture = picture.copy()
    picture.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    middle, frames = np.array(picture.size) / 2, []
    for place in np.linspace(0, 2 * np.pi, FRAMES):
        angle, scale = np.radians(10) * np.sin(place), 1 + 0.1 * np.sin(2 * place)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cos, sin], [-sin, cos]])
        start = middle - turn @ (middle * (1 + 0.1 * np.array([np.sin(place), np.cos(place)])))
        data = (*turn[0], start[0], *turn[1], start[1])
        colour = picture.getpixel((2, 2))
        frame = picture.transform(
            picture.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=colour
        )
        stream = io.BytesIO()
        frame.save(stream, "JPEG", quality=QUALITY)
        frames.append(stream.getvalue())
    return frames


_INTRODUCTION = (
    f"Videos of {FRAMES} frames, JPEG of at most {LONGER_SIDE} pixels as the page sends them: a "
    "camera that slowly turns, moves and comes nearer to a drawn hand of nine gestures, and to "
    f"{PHOTOS} photos of people. From the bytes of a frame to its answer, once as a single picture "
    "and once with what the server returned of the video before; HTTP is not in it. Distances are "
    "means of the 21 points, in diagonals of the hand."
)


if __name__ == "__main__":
    main()
