"""From trained bundles to smaller variants of them, not yet measured.

    models/<task>/trained/<key>/<candidate>/ -> models/<task>/trained/<key>/<candidate>-<form>/

A variant lies beside the candidate that it was made from, and `evaluate` measures it like any
other. Its ranges are found on training examples, through the task's own `predict`: this file
knows no task, and a task needs no code for it. What was made already is not made again.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mien.config import FORMS, Form
from mien.errors import BundleError
from mien.model import bundle, golden, variants
from mien.model.bundle import Bundle
from mien.model.lineage import VariantOrigin
from mien.model.runtime import RecordingModel
from mien.model.variants import Feeds
from mien.reporting import console
from mien.stages import Run
from mien.storage.files import atomic_dir, write_json
from mien.storage.workspace import DATA, REPORT, VARIANTS, WORK, read_latest
from mien.task import DataReport, Example, Task

_TRAINED = "model.onnx"
CALIBRATION = 128
"""Training examples, drawn from all over the split, that the ranges of int8 are found on."""


@dataclass(frozen=True)
class Optimized:
    """Which variants were made just now, and why candidates have none."""

    folder: Path
    fresh: tuple[str, ...]
    without: Mapping[str, str]


def optimize(run: Run) -> Optimized:
    """Make the variants that a run asks for of each of its trained candidates."""
    trained = read_latest(run.trained, run.config.name, "Train first: `mien train CONFIG`.")
    ready = run.processed / (trained / DATA).read_text(encoding="utf-8").strip()
    fresh, without = [], {}
    for source in _candidates(trained):
        if not _convertible(source):
            operators = ", ".join(variants.LAYERS)
            without[source.manifest.candidate] = f"nothing to make smaller (no {operators})"
            continue
        for form in run.config.variants:
            target = trained / f"{source.manifest.candidate}-{form}"
            key = run.key("optimize", source.digest, form, ready.name, variants.libraries())
            if key != _existing_key(target):
                _make(run, source, form, ready, target, key)
                fresh.append(target.name)
    write_json(trained / VARIANTS, {"without": without})
    return Optimized(trained, tuple(fresh), without)


def _candidates(trained: Path) -> list[Bundle]:
    """The bundles that a training left; variants are recognised by name, for one may be damaged."""
    endings = tuple(f"-{form}" for form in FORMS)
    found = [path.parent for path in sorted(trained.glob(f"*/{bundle.MANIFEST}"))]
    return [bundle.read(path) for path in found if not path.name.endswith(endings)]


def _convertible(source: Bundle) -> list[str]:
    """The trained network of a bundle, if it can be made smaller; pretrained ones stay as they are:
    the examples of a task need not reach them."""
    return [_TRAINED] if variants.has_layers(source.folder / _TRAINED) else []


def _existing_key(folder: Path) -> str | None:
    """What the variant in a folder was made of, or None if there is no whole one."""
    try:
        variant = bundle.read(folder).manifest.lineage.variant
    except BundleError:
        return None
    return variant.cache_key if variant else None


def _make(run: Run, source: Bundle, form: Form, ready: Path, target: Path, key: str) -> None:
    """Make one variant, and an MLflow run for it as every candidate has one."""
    work = source.folder.parent / WORK / target.name
    work.mkdir(parents=True, exist_ok=True)
    recorded = source.manifest.lineage.recorded()
    with (
        run.tracker.run(run.task.name, target.name, work, {"form": form}, recorded),
        atomic_dir(target) as temporary,
    ):
        calibrated_on, in_float = _fill(temporary, run.task, source, form, ready)
        variant = VariantOrigin(
            form=form,
            base=source.manifest.candidate,
            digest=source.digest,
            cache_key=key,
            calibrated_on=calibrated_on,
            nodes_left_in_float=in_float,
            libraries=variants.libraries(),
        )
        lineage = source.manifest.lineage.model_copy(update={"variant": variant})
        manifest = {"candidate": target.name, "lineage": lineage}
        described = source.manifest.model_copy(update=manifest)
        forms = dict.fromkeys(_convertible(source), form)
        golden.write(temporary, described, run.task.inference.drawn_predictions(), forms)


def _fill(
    folder: Path, task: Task[Any], source: Bundle, form: Form, ready: Path
) -> tuple[int, int]:
    """Convert the networks of a bundle and copy its other files.

    Returns:
        How many examples the ranges were measured on, and how many nodes were left in float.
    """
    calibrated_on, in_float = 0, 0
    convertible = _convertible(source)
    for name in source.manifest.files:
        if name in (golden.GOLDEN, golden.ARRAYS):
            continue  # the answers of float32
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in convertible:
            shutil.copyfile(source.folder / name, folder / name)
            continue
        with RecordingModel(source) as model:
            feeds = _feeds(task, model, ready, name)
            counted = _Counted(feeds)
            in_float += variants.convert(source.folder / name, folder / name, form, counted)
            calibrated_on += counted.count
    return calibrated_on, in_float


class _Counted:
    """Feeds that count how many were taken."""

    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = feeds
        self.count = 0

    def __iter__(self) -> Iterator[Feeds]:
        for each in self._feeds:
            self.count += 1
            yield each


def _feeds(task: Task[Any], model: RecordingModel, ready: Path, name: str) -> Iterator[Feeds]:
    """What `predict` gives to one network of the bundle, one example after the other."""
    words = f"calibrate {model.bundle.manifest.candidate}"
    with console.bar(words) as advance:
        for place, example in enumerate(_spread(task, ready)):
            model.recorded.clear()
            task.inference.predict(example.request, model)
            yield from [feeds for network, feeds, _ in model.recorded if network == name]
            advance(place + 1, CALIBRATION)


def _spread(task: Task[Any], ready: Path) -> Iterator[Example]:
    """Training examples drawn from all over the split, which may be sorted; the same every time."""
    report = DataReport.from_json(json.loads((ready / REPORT).read_text(encoding="utf-8")))
    total = sum(report.counts["train"].values())
    drawn = set(Random(0).sample(range(total), min(CALIBRATION, total)))
    for place, example in enumerate(task.data.examples(ready, "train")):
        if place in drawn:
            yield example
