"""Where a detector finds faces, before and after the boxes of its data were repaired.

Four models of one size: trained on AffectNet as shipped (every box is the whole image) and on the
version repaired by `mien data check --fix`, each with the recipe for faces that fill an image
(emotion.yaml) and with that for small faces (emotion_faces.yaml). They detect faces
in photos of whole people, which no training has seen, and in AffectNet's test split. An interrupted
bench continues where it stopped.
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
"""A sixth of the shipped recipe: a detector learns positions long before emotions."""
SETTINGS = "MIEN_FACES_SET"
"""Environment variable with other settings, as in "params.epochs=2"; empty for full recipes."""
SKIP = "MIEN_FACES_SKIP"
"""Environment variable with recipes to leave out, such as emotion_faces, the slowest."""
SIZES = (0, 8, 12, 16, 24, 1000)
"""Bounds of the faces' heights in the last table, in pixels of a network's input of 96."""


@dataclass(frozen=True)
class Variant:
    """One training, and the variable that names a ready bundle instead."""

    title: str
    recipe: str
    repaired: bool
    bundle_variable: str
    """Environment variable that names a ready bundle."""


VARIANTS = (
    Variant("as shipped", "emotion", False, "MIEN_FACES_SHIPPED"),
    Variant("after `--fix`", "emotion", True, "MIEN_FACES_FIXED"),
    Variant(
        "as shipped, small faces too (shipped boxes)",
        "emotion_faces",
        False,
        "MIEN_FACES_SHIPPED_SMALL",
    ),
    Variant("after `--fix`, small faces too", "emotion_faces", True, "MIEN_FACES_SCENES"),
)


@dataclass(frozen=True)
class FacePhoto:
    """An image and the box of its face by another detector, YuNet."""

    content: bytes
    box: tuple[float, float, float, float]
    """cx, cy, w, h as shares of the image."""


@dataclass(frozen=True)
class FaceResult:
    """The detections of a model in an image."""

    ious: tuple[float, ...]
    """IoU of each detection with the face, the most confident first."""
    height: float
    """Height of the face, as a share of the image's longer side."""

    @property
    def best(self) -> float:
        return max(self.ious, default=0.0)


def main() -> None:
    """Train the models without a ready bundle, evaluate all, and write the page."""
    data = page.real_data()
    home = config.settings().home / "build" / "bench-faces"
    sets = {"photos of people": list(_photos(data)), "AffectNet test": list(_portraits(data))}
    rows, sizes, emotions = [], [], []
    for variant in _selected():
        folder, origin = _bundle(variant, home, data)
        emotions.append(_emotions(variant.title, folder))
        with runtime.load(folder) as model:
            for name, photos in sets.items():
                results = [_detect(tasks.load("emotion"), model, each) for each in photos]
                rows.append(_row(variant.title, name, results))
                if name == "photos of people":
                    sizes.append({"trained on AffectNet": variant.title, **_by_size(results)})
        print(f"{variant.title}: {origin}", file=sys.stderr)
    found = [
        _detector_row(name, photos, padding_scales)
        for name, photos in sets.items()
        for padding_scales in _LOOKS
    ]
    parts = [*_introduction(), page.table(rows), _SIZES_TEXT, page.table(sizes)]
    parts += [_EMOTIONS_TEXT, page.table(emotions), _DETECTOR_TEXT, page.table(found)]
    page.write("faces", "Where faces are found", parts)


_LOOKS = ((1.0,), (1.5,), PADDING_SCALES)
_SIZES_TEXT = (
    "## By the size of the face\n\nShare of the photos with a detection of IoU 0.5 or more, by "
    "the height of the face in pixels when the longer side of the photo is 96 pixels."
)
_EMOTIONS_TEXT = (
    "## Costs\n\nEmotions on the model's own test split, from its evaluation. "
    "`--fix` drops duplicates and moves images between splits, so that the test images differ "
    "slightly."
)
_DETECTOR_TEXT = (
    "## The detector that repairs boxes\n\nMediaPipe's BlazeFace for short range, run by "
    "`mediapipe/face_detector.py`, on the same images. Padding is the side of its square "
    "input in longer sides of the image: faces that fill an image are detected with padding, small "
    "ones without. Its boxes begin at the brows; repaired ones reach to the hairline."
)


def _introduction() -> list[str]:
    chosen = _settings()
    recipe = f"with the shorter recipe `--set {' --set '.join(chosen)}`" if chosen else "in full"
    ready_bundles = [
        variant.title for variant in _selected() if os.environ.get(variant.bundle_variable)
    ]
    left = [variant.title for variant in VARIANTS if variant not in _selected()]
    without = f" Left out, not measured here: {', '.join(left)}." if left else ""
    ready = f" Given ready, by a full recipe or as their maker chose: {', '.join(ready_bundles)}."
    return [
        f"Trained by `emotion.yaml` and `emotion_faces.yaml` {recipe}, seed 0, "
        f"data checks at level warn.{ready if ready_bundles else ''}{without} A face counts "
        "as found if the IoU of any detection with YuNet's box is at least 0.5 (0.3). The "
        "first detection is the most confident one. No training has seen the photos of "
        "people (`gesture/photos`), whose faces are small in a scene.",
    ]


def _selected() -> list[Variant]:
    skipped = os.environ.get(SKIP, "").split()
    return [variant for variant in VARIANTS if variant.recipe not in skipped]


def _settings() -> list[str]:
    return os.environ.get(SETTINGS, SHORT).split()


def _bundle(variant: Variant, home: Path, data: Path) -> tuple[Path, str]:
    """The bundle of a variant, trained if necessary, and its origin."""
    path = os.environ.get(variant.bundle_variable)
    if path:
        return Path(path), path
    workspace = Workspace(home / ("fixed" if variant.repaired else "shipped"))
    source = str(data / "emotion" / "affectnet_yolo.zip")
    run = tasks.run_config(variant.recipe, overrides=_settings())
    run = run.model_copy(update={"source": source, "checks": _only_warnings()})
    if variant.repaired:
        pipeline.repair(run, workspace)
        run = run.model_copy(update={"source": None})  # the repaired version
    done = pipeline.run(run, workspace).registered
    return workspace.version("emotion", done.number), f"trained in {workspace.home}"


def _only_warnings() -> dict[str, CheckConfig]:
    """No check stops a run here: what they warn of is what is measured."""
    checks = checks_of(tasks.load("emotion")).values()
    return {each.slug: CheckConfig(level="warn") for each in checks if each.level == "error"}


def _photos(data: Path) -> Iterator[FacePhoto]:
    folder = data / "gesture"
    with (folder / "photos.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["face_w"]:
                content = (folder / "photos" / row["image"]).read_bytes()
                yield FacePhoto(content, _box(row, "face_"))


def _portraits(data: Path) -> Iterator[FacePhoto]:
    with ZipFile(data / "emotion" / "affectnet_yolo.zip") as archive:
        (table,) = (name for name in archive.namelist() if name.endswith("face_boxes.csv"))
        text = io.TextIOWrapper(archive.open(table), encoding="utf-8")
        for row in csv.DictReader(text):
            if row["image"].startswith("test/") and row["w"]:
                content = archive.read(f"{Path(table).parent.as_posix()}/{row['image']}")
                yield FacePhoto(content, _box(row, ""))


def _box(row: Mapping[str, str], prefix: str) -> tuple[float, float, float, float]:
    cx, cy, w, h = (float(row[f"{prefix}{name}"]) for name in ("cx", "cy", "w", "h"))
    return cx, cy, w, h


def _corners(photos: FacePhoto, size: tuple[int, int]) -> Any:
    """The box of a picture's face in pixels of a picture of that size."""
    corners = boxes.xcycwh_to_xyxy(np.array(photos.box, np.float64)).astype(np.float32)
    return corners * np.array([*size, *size], np.float32)


def _detect(task: Task[Any], model: Model, photos: FacePhoto) -> FaceResult:
    request = task.inference.read(photos.content)
    prediction = task.inference.predict(request, model)
    detected = [each.box for each in prediction.detections if each.box]
    truth = _corners(photos, request.size)
    found = boxes.iou(truth, np.array(detected, np.float32).reshape(-1, 4))
    height = float(truth[3] - truth[1]) / max(request.size)
    return FaceResult(tuple(map(float, found)), height)


def _emotions(title: str, folder: Path) -> dict[str, object]:
    metrics = bundle.read(folder).manifest.metrics
    assert metrics is not None
    return {
        "trained on AffectNet": title,
        "images": metrics.test.examples,
        "accuracy": metrics.test.accuracy,
        "macro-F1": metrics.test.macro_f1,
    }


def _row(title: str, name: str, results: Sequence[FaceResult]) -> dict[str, object]:
    first = [each.ious[0] if each.ious else 0.0 for each in results]
    return {
        "trained on AffectNet": title,
        "images": f"{len(results)} {name}",
        "found at 0.5": f"{np.mean([each.best >= 0.5 for each in results]):.1%}",
        "found at 0.3": f"{np.mean([each.best >= 0.3 for each in results]):.1%}",
        "first detection at 0.5": f"{np.mean([each >= 0.5 for each in first]):.1%}",
        "mean IoU of the first detection": f"{np.mean(first):.3f}",
        "mean IoU of the best box": f"{np.mean([each.best for each in results]):.3f}",
        "detections per image": f"{np.mean([len(each.ious) for each in results]):.2f}",
    }


def _by_size(results: Sequence[FaceResult]) -> dict[str, object]:
    cells: dict[str, object] = {}
    for low, high in pairwise(SIZES):
        some = [each.best >= 0.5 for each in results if low <= each.height * 96 < high]
        title = f"{low} to {high}" if high < SIZES[-1] else f"{low} and more"
        cells[title] = f"{np.mean(some):.0%} of {len(some)}" if some else "-"
    return cells


def _detector_row(
    name: str, photos: Sequence[FacePhoto], padding_scales: tuple[float, ...]
) -> dict[str, object]:
    detector = FaceDetector()
    marked, whole, counts = [], [], []
    for each in photos:
        pixels = Request.read(each.content).image
        assert pixels is not None
        faces = detector.detect(pixels, padding_scales)
        truth = _corners(each, (pixels.shape[1], pixels.shape[0]))
        counts.append(len(faces))
        if faces:
            both = np.array([[face.box, face.head_box] for face in faces], np.float32)
            marked.append(float(boxes.iou(truth, both[:, 0]).max()))
            whole.append(float(boxes.iou(truth, both[:, 1]).max()))
    return {
        "images": f"{len(photos)} {name}",
        "padding": " and ".join(f"{scale:g}" for scale in padding_scales),
        "with a face": f"{np.mean([count > 0 for count in counts]):.1%}",
        "with several": f"{np.mean([count > 1 for count in counts]):.1%}",
        "mean IoU, from the brows": f"{np.mean(marked):.3f}",
        "mean IoU, from the hairline": f"{np.mean(whole):.3f}",
    }


if __name__ == "__main__":
    main()
