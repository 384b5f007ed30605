"""Right about real faces: starter models from public packages, and a model trained on drawings.

Each answers the test split of the press faces through mien's own predict path. What the public
networks were trained on is not known: some of these photos may be among it.
"""

import io
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml

from bench import page
from mien import config, pipeline, tasks
from mien.errors import WeightsError
from mien.model import bundle, golden, runtime
from mien.model.runtime import Model
from mien.stages.data import SAMPLE
from mien.storage.workspace import Workspace, read_latest
from mien.task import Request, Task

SET = "emotion/muxspace_yolo.zip"
HOME = "build/bench-starter"
Z_95 = 1.96
CROP_SCALES = (0.9, 1.0, 1.1, 1.2, 1.3)
"""Sides of the crop, in longer sides of the face's box."""


@dataclass(frozen=True)
class Accuracy:
    """Right answers among all pictures, with the 95 % interval of Wilson."""

    right: int
    examples: int
    no_face: int

    @property
    def share(self) -> float:
        return self.right / self.examples

    @property
    def interval(self) -> tuple[float, float]:
        n, p, z = self.examples, self.share, Z_95
        centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)


def main() -> None:
    """Measure every model that can be had here, and write the page."""
    source = page.real_data() / SET
    if not source.is_file():
        sys.exit(f"This bench needs {SET}.")
    task = tasks.load("emotion")
    examples = list(press_faces(source, task, ("test",)))
    home = config.settings().home / HOME
    rows, missing = [], []
    for name, make in models(task, home).items():
        try:
            folder = make()
        except WeightsError as error:
            missing.append(name)
            print(f"SKIPPED {name}: {error}", file=sys.stderr)
            continue
        with golden.load(folder) as model:
            rows.append(row(name, model, measure(task, model, examples)))
    if not rows:
        sys.exit("No model can be had here: neither packages nor a training.")
    parts = [_TEXT.format(examples=len(examples)), page.table(rows)]
    parts += [f"Not measured here: {', '.join(missing)}."] if missing else []
    parts += crop_sizes(task, home, source)
    page.write("starter", "Starter models on real faces", [*parts, _LIMITS])


def crop_sizes(task: Task[Any], home: Path, source: Path) -> list[str]:
    """The first starter with crops of other sizes, on the photos that are not of the test split."""
    name = next(iter(task.training.starters))
    folder = home / name
    if not (folder / bundle.MANIFEST).is_file():
        return []
    examples = list(press_faces(source, task, ("train", "valid", "val")))
    manifest, rows = bundle.read(folder).manifest, []
    for scale in CROP_SCALES:
        other = home / f"{name}-{scale}"
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir()
        bundle.copy_networks(folder, other)
        preprocessing = {**manifest.preprocessing, "crop_scale": scale}
        bundle.write(other, bundle.describe(task.name, manifest.labels, name, preprocessing))
        with runtime.load(other) as model:
            accuracy = measure(task, model, examples)
        rows.append({"side of the crop": f"{scale:g}", "accuracy": f"{accuracy.share:.3f}"})
    return [_SIZES.format(name=name, examples=len(examples)), page.table(rows)]


def models(task: Task[Any], home: Path) -> dict[str, Callable[[], Path]]:
    """How each bundle is made, by name."""

    def starter(name: str) -> Path:
        folder = home / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fit = task.training.starters[name](folder, 600.0)
        manifest = bundle.describe(task.name, fit.labels, name, fit.preprocessing)
        return golden.write(folder, manifest, task.inference.drawn_predictions()).folder

    def drawings() -> Path:
        run = tasks.run_config(f"sample_{task.name}")
        workspace = Workspace(home / "drawings")
        pipeline.run(run.model_copy(update={"source": SAMPLE}), workspace, force="bench")
        folder = read_latest(workspace.evaluated(task.name), run.name, "")
        return next(path.parent for path in sorted(folder.glob(f"*/{bundle.MANIFEST}")))

    made: dict[str, Callable[[], Path]] = {
        name: (lambda name=name: starter(name)) for name in task.training.starters
    }
    return {**made, "drawings (synthetic)": drawings}


def press_faces(
    source: Path, task: Task[Any], splits: tuple[str, ...]
) -> Iterator[tuple[Request, str]]:
    """Every picture of some splits and the emotion of its one labelled face."""
    with ZipFile(source) as archive:
        names = archive.namelist()
        described = next(name for name in names if name.endswith("data.yaml"))
        labels = yaml.safe_load(io.BytesIO(archive.read(described)))["names"]
        for name in sorted(names):
            if name.endswith("/") or not any(f"/{each}/images/" in f"/{name}" for each in splits):
                continue
            path = Path(name.replace("/images/", "/labels/")).with_suffix(".txt").as_posix()
            number = int(archive.read(path).split()[0])
            yield task.inference.read(archive.read(name)), str(labels[number])


def measure(task: Task[Any], model: Model, examples: list[tuple[Request, str]]) -> Accuracy:
    """Ask one picture after the other; the first face of an answer counts."""
    right = no_face = 0
    for request, label in examples:
        best = task.inference.predict(request, model).best
        no_face += best is None
        right += best is not None and best.label == label
    return Accuracy(right, len(examples), no_face)


def row(name: str, model: Model, accuracy: Accuracy) -> dict[str, object]:
    low, high = accuracy.interval
    return {
        "model": name,
        "labels": len(model.labels),
        "accuracy": f"{accuracy.share:.3f}",
        "95 % interval": f"{low:.3f} to {high:.3f}",
        "right": f"{accuracy.right} of {accuracy.examples}",
        "no face": accuracy.no_face,
        "MB": f"{model.bundle.megabytes:.2f}",
    }


_TEXT = (
    "The {examples} press photos of the test split of `muxspace_yolo.zip`, each with one labelled "
    "face, through the function that serves. The first face of an answer, the most confident one, "
    "is compared with the label; the given box is not used. A picture without an answer is wrong, "
    "so is one whose label the model does not know. Chance is 0.125 for eight labels."
)
_SIZES = (
    "The side of the crop of {name}, in longer sides of the box that the detector gives, hairline "
    "to chin, on the {examples:,} photos of the other splits. Differences of 0.02 are noise."
)
_LIMITS = (
    "How independent this is: the side of the crop (1.0 x the longer side of the detector's "
    "box) comes from other photos of the set, and the test photos show other people. "
    "The labels of the packages' training pictures and the pictures themselves are not known: "
    "press photos of this kind may be among them. Labels of faces are perceived expressions."
)

if __name__ == "__main__":
    main()
