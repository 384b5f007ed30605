"""Data of the task: raw/<label>/<picture> -> ready/<split>/<label>/<picture>."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mien.errors import DataError, ImageError
from mien.storage.files import sha256_file
from mien.task import (
    SPLITS,
    DataReport,
    Example,
    Inspection,
    RepairPlan,
    Request,
    Sample,
    Split,
)

from .params import Params

LABELS = ("blue", "green", "red")
"""Of the drawn sample; of other data, the names of their folders."""
TYPES = (".png", ".jpg", ".jpeg")
DEAL: tuple[Split, ...] = ("train", "train", "train", "val", "test")
"""The splits that the pictures of a label go to, in turn."""


def draw(label: str, generator: np.random.Generator) -> Image.Image:
    """A noisy picture with more of one colour."""
    pixels = generator.integers(0, 120, (48, 64, 3))
    pixels[..., ("red", "green", "blue").index(label)] += 60
    return Image.fromarray(pixels.astype(np.uint8))


def sample_picture() -> Image.Image:
    """The picture of demos, warm-up and tests."""
    return draw("blue", np.random.default_rng(0))


def write_sample(out: Path, seed: int) -> None:
    """Draw a small data set, the same for the same seed."""
    generator = np.random.default_rng(seed)
    for label in LABELS:
        (out / label).mkdir(parents=True)
        for number in range(60):
            draw(label, generator).save(out / label / f"{number:03}.png")


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder of labels, in a fixed order.

    Raises:
        DataError: there are none.
    """
    paths = [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in TYPES]
    if not paths:
        raise DataError("expected pictures as LABEL/FILE, found none. Sort them into folders.")
    return paths


def inspect(raw: Path, params: Params, cache: Path) -> Inspection:
    """List the samples of raw data for the checks that hold for all tasks."""
    paths = pictures(raw)
    samples = tuple(
        Sample(
            name=path.relative_to(raw).as_posix(),
            labels=(path.parent.name,),
            digest=sha256_file(path),
            image_path=path,
        )
        for path in paths
    )
    return Inspection(samples, labels=tuple(sorted({path.parent.name for path in paths})))


def repair(raw: Path, out: Path, plan: RepairPlan, params: Params, cache: Path) -> tuple[str, ...]:
    """Copy raw data without the samples that the checks drop."""
    for path in pictures(raw):
        name = path.relative_to(raw)
        if name.as_posix() not in plan.drop:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / name)
    return ()


def prepare(raw: Path, ready: Path, params: Params, cache: Path) -> DataReport:
    """Divide the readable pictures of each label into splits, and count them."""
    labels = sorted({path.parent.name for path in pictures(raw)})
    counts: dict[str, dict[str, int]] = {split: dict.fromkeys(labels, 0) for split in SPLITS}
    skipped = 0
    for label in labels:
        readable = [path for path in pictures(raw) if path.parent.name == label and _opens(path)]
        skipped += sum(path.parent.name == label for path in pictures(raw)) - len(readable)
        for number, path in enumerate(readable):
            split = DEAL[number % len(DEAL)]
            target = ready / split / label / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            counts[split][label] += 1
        if len(readable) < len(DEAL):
            raise DataError(
                f"{label}: expected at least {len(DEAL)} pictures, found {len(readable)}. Add some."
            )
    return DataReport(counts, {"unreadable": skipped} if skipped else {})


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """The labelled pictures of a split."""
    for path in pictures(ready / split):
        name = path.relative_to(ready).as_posix()
        yield Example(Request.read(path.read_bytes()), path.parent.name, name=name)


def _opens(path: Path) -> bool:
    try:
        Request.read(path.read_bytes())
    except ImageError:
        return False
    return True
