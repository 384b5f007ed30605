"""Where a detector finds faces, before and after the boxes of its data were repaired.

Four models of one size: trained on AffectNet as it is shipped (every box is the whole picture) and
on what `mien data check --fix` makes of it, each by the recipe for faces that fill a picture
(configs/emotion.yaml) and by that for small ones (configs/emotion_faces.yaml). They are asked for
the faces of photos of whole people, which none has seen, and of AffectNet's test split. An
interrupted bench goes on where it stopped.
"""

import csv
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from bench import page
from mien import boxes, config, pipeline, tasks
from mien.config import CheckConfig
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.model import bundle, runtime
from mien.model.runtime import Model
from mien.stages.check.results import checks_of
from mien.storage.workspace import Workspace
from mien.task import Request, Task

SHORT = "params.pretrain_epochs=12 params.augment_warmup_epochs=6 params.epochs=4"
"""A sixth of the shipped recipe: where faces are is learnt long before what they show."""
SETTINGS = "MIEN_FACES_SET"
"""Environment variable with other settings, as in "params.epochs=2"; empty for full recipes."""
SKIP = "MIEN_FACES_SKIP"
"""Environment variable with the recipes that are left out, such as emotion_faces, the slowest."""
SIZES = (0, 8, 12, 16, 24, 1000)
"""Bounds of the faces' heights in the last table, in pixels of a network's input of 96."""


@dataclass(frozen=True)
class Kind:
    """One way to train, and where a bundle may come from instead."""

    title: str
    recipe: str
    fixed: bool
    given: str
    """Environment variable that names a ready bundle."""


KINDS = (
    Kind("as shipped", "emotion", False, "MIEN_FACES_SHIPPED"),
    Kind("after `--fix`", "emotion", True, "MIEN_FACES_FIXED"),
    Kind("as shipped, small pictures too", "emotion_faces", False, "MIEN_FACES_SHIPPED_SMALL"),
    Kind("after `--fix`, small faces too", "emotion_faces", True, "MIEN_FACES_SCENES"),
)


@dataclass(frozen=True)
class Shown:
    """A picture and where another detector, YuNet, has found its face."""

    content: bytes
    box: tuple[float, float, float, float]
    """cx, cy, w, h as shares of the picture."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a picture."""

    overlaps: tuple[float, ...]
    """Of each detection with the face, the most confident first."""
    height: float
    """Of the face, as a share of the picture's longer side."""

    @property
    def best(self) -> float:
        return max(self.overlaps, default=0.0)


def main() -> None:
    """Train what is not given, ask all, and write the page."""
    data = page.real_data()
    home = config.settings().home / "build" / "bench-faces"
    sets = {"photos of people": list(_photos(data)), "AffectNet test": list(_portraits(data))}
    rows, sizes, emotions = [], [], []
    for kind in _wanted():
        folder, origin = _bundle(kind, home, data)
        emotions.append(_emotions(kind.title, folder))
        with runtime.load(folder) as model:
            for name, shown in sets.items():
                answers = [_answer(tasks.load("emotion"), model, each) for each in shown]
                rows.append(_row(kind.title, name, answers))
                if name == "photos of people":
                    sizes.append({"trained on AffectNet": kind.title, **_by_size(answers)})
        print(f"{kind.title}: {origin}", file=sys.stderr)
    found = [_finder_row(name, shown, rooms) for name, shown in sets.items() for rooms in _LOOKS]
    parts = [*_words(), page.table(rows), _SIZES_SAID, page.table(sizes)]
    parts += [_EMOTIONS_SAID, page.table(emotions), _FINDER_SAID, page.table(found)]
    page.write("faces", "Where faces are found", parts)


_LOOKS = ((1.0,), (1.5,), PADDING_SCALES)
_SIZES_SAID = (
    "## By the size of the face\n\nShare of the photos in which a detection overlaps the face by "
    "at least 0.5, by the face's height in pixels if the photo's longer side were 96 of them."
)
_EMOTIONS_SAID = (
    "## What it costs\n\nEmotions named right on the model's own test split, as its evaluation had "
    "it. `--fix` drops duplicates and moves images between splits, so that the test images differ "
    "slightly."
)
_FINDER_SAID = (
    "## The detector that repairs boxes\n\nMediaPipe's BlazeFace for short range, run by "
    "`mediapipe/face_detector.py`, on the same pictures. Room is the side of the square that it is "
    "shown, in longer sides of the picture; faces that fill a picture are found with room around "
    "them, small ones without. Its boxes begin at the brows; repaired ones reach to the hairline."
)


def _words() -> list[str]:
    chosen = _settings()
    recipe = f"with the shorter recipe `--set {' --set '.join(chosen)}`" if chosen else "in full"
    given = [kind.title for kind in _wanted() if os.environ.get(kind.given)]
    left = [kind.title for kind in KINDS if kind not in _wanted()]
    without = f" Left out, not measured here: {', '.join(left)}." if left else ""
    ready = f" Given ready, by a full recipe or as their maker chose: {', '.join(given)}."
    return [
        f"Trained by `configs/emotion.yaml` and `configs/emotion_faces.yaml` {recipe}, seed 0, "
        f"data checks at level warn.{ready if given else ''}{without} A face is found where any "
        "detection overlaps YuNet's box of it by at least 0.5 (0.3), as intersection over "
        "union. The first detection is the most confident one. No training has seen the photos of "
        "people (`gesture/photos`), whose faces are small in a scene.",
    ]


def _wanted() -> list[Kind]:
    skipped = os.environ.get(SKIP, "").split()
    return [kind for kind in KINDS if kind.recipe not in skipped]


def _settings() -> list[str]:
    return os.environ.get(SETTINGS, SHORT).split()


def _bundle(kind: Kind, home: Path, data: Path) -> tuple[Path, str]:
    """The bundle of a way to train, which is trained if need be, and where it comes from."""
    given = os.environ.get(kind.given)
    if given:
        return Path(given), given
    workspace = Workspace(home / ("fixed" if kind.fixed else "shipped"))
    source = str(data / "emotion" / "affectnet_yolo.zip")
    run = config.load(page.ROOT / "configs" / f"{kind.recipe}.yaml", _settings())
    run = run.model_copy(update={"source": source, "checks": _only_warnings()})
    if kind.fixed:
        pipeline.repair(run, workspace)
        run = run.model_copy(update={"source": None})  # the repaired version
    done = pipeline.run(run, workspace).registered
    assert done is not None
    return workspace.version("emotion", done.number), f"trained in {workspace.home}"


def _only_warnings() -> dict[str, CheckConfig]:
    """No check stops a run here: what they warn of is what is measured."""
    checks = checks_of(tasks.load("emotion")).values()
    return {each.slug: CheckConfig(level="warn") for each in checks if each.level == "error"}


def _photos(data: Path) -> Iterator[Shown]:
    folder = data / "gesture"
    with (folder / "photos.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["face_w"]:
                content = (folder / "photos" / row["image"]).read_bytes()
                yield Shown(content, _box(row, "face_"))


def _portraits(data: Path) -> Iterator[Shown]:
    with ZipFile(data / "emotion" / "affectnet_yolo.zip") as archive:
        (table,) = (name for name in archive.namelist() if name.endswith("face_boxes.csv"))
        text = io.TextIOWrapper(archive.open(table), encoding="utf-8")
        for row in csv.DictReader(text):
            if row["image"].startswith("test/") and row["w"]:
                content = archive.read(f"{Path(table).parent.as_posix()}/{row['image']}")
                yield Shown(content, _box(row, ""))


def _box(row: Mapping[str, str], prefix: str) -> tuple[float, float, float, float]:
    cx, cy, w, h = (float(row[f"{prefix}{name}"]) for name in ("cx", "cy", "w", "h"))
    return cx, cy, w, h


def _corners(shown: Shown, size: tuple[int, int]) -> Any:
    """The box of a picture's face in pixels of a picture of that size."""
    corners = boxes.xcycwh_to_xyxy(np.array(shown.box, np.float64)).astype(np.float32)
    return corners * np.array([*size, *size], np.float32)


def _answer(task: Task[Any], model: Model, shown: Shown) -> Answer:
    request = task.inference.read(shown.content)
    prediction = task.inference.predict(request, model)
    detected = [each.box for each in prediction.detections if each.box]
    truth = _corners(shown, request.size)
    found = boxes.iou(truth, np.array(detected, np.float32).reshape(-1, 4))
    height = float(truth[3] - truth[1]) / max(request.size)
    return Answer(tuple(map(float, found)), height)


def _emotions(title: str, folder: Path) -> dict[str, object]:
    metrics = bundle.read(folder).manifest.metrics
    assert metrics is not None
    return {
        "trained on AffectNet": title,
        "images": metrics.test.examples,
        "accuracy": metrics.test.accuracy,
        "macro-F1": metrics.test.macro_f1,
    }


def _row(title: str, name: str, answers: Sequence[Answer]) -> dict[str, object]:
    first = [each.overlaps[0] if each.overlaps else 0.0 for each in answers]
    return {
        "trained on AffectNet": title,
        "asked for the faces of": f"{len(answers)} {name}",
        "found at 0.5": f"{np.mean([each.best >= 0.5 for each in answers]):.1%}",
        "found at 0.3": f"{np.mean([each.best >= 0.3 for each in answers]):.1%}",
        "first detection at 0.5": f"{np.mean([each >= 0.5 for each in first]):.1%}",
        "mean IoU of the first detection": f"{np.mean(first):.3f}",
        "mean IoU of the best box": f"{np.mean([each.best for each in answers]):.3f}",
        "detections a picture": f"{np.mean([len(each.overlaps) for each in answers]):.2f}",
    }


def _by_size(answers: Sequence[Answer]) -> dict[str, object]:
    cells: dict[str, object] = {}
    for low, high in pairwise(SIZES):
        some = [each.best >= 0.5 for each in answers if low <= each.height * 96 < high]
        title = f"{low} to {high}" if high < SIZES[-1] else f"{low} and more"
        cells[title] = f"{np.mean(some):.0%} of {len(some)}" if some else "-"
    return cells


def _finder_row(name: str, shown: Sequence[Shown], rooms: tuple[float, ...]) -> dict[str, object]:
    detector = FaceDetector()
    marked, whole, counts = [], [], []
    for each in shown:
        pixels = Request.read(each.content).image
        assert pixels is not None
        faces = detector.detect(pixels, rooms)
        truth = _corners(each, (pixels.shape[1], pixels.shape[0]))
        counts.append(len(faces))
        if faces:
            both = np.array([[face.box, face.head_box] for face in faces], np.float32)
            marked.append(float(boxes.iou(truth, both[:, 0]).max()))
            whole.append(float(boxes.iou(truth, both[:, 1]).max()))
    return {
        "pictures": f"{len(shown)} {name}",
        "room": " and ".join(f"{room:g}" for room in rooms),
        "with a face": f"{np.mean([count > 0 for count in counts]):.1%}",
        "with several": f"{np.mean([count > 1 for count in counts]):.1%}",
        "mean IoU, from the brows": f"{np.mean(marked):.3f}",
        "mean IoU, from the hairline": f"{np.mean(whole):.3f}",
    }


if __name__ == "__main__":
    main()
