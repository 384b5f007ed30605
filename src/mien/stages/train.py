"""From prepared data to one bundle for each candidate, not yet measured.

    data/processed/<task>/<key>/ -> task.training.fit -> models/<task>/trained/<key>/<candidate>/

A candidate whose bundle is there is skipped; one that was interrupted goes on in the same
work folder, which the task's trainer may use to resume.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien.config import TrainedOn
from mien.model import bundle, golden, lineage
from mien.model.lineage import Lineage
from mien.reporting import console
from mien.stages import Run
from mien.storage.files import atomic_dir, atomic_write, write_json
from mien.storage.workspace import DATA, REPORT, WORK, read_latest, write_latest
from mien.task import Recorder
from mien.tracking import COMMIT, TrackedRun, has_run


@dataclass(frozen=True)
class Trained:
    """Bundles by candidate, and which of them were made just now."""

    folder: Path
    ready: Path
    fresh: tuple[str, ...]


def train(run: Run) -> Trained:
    """Fit every candidate of a run on its prepared data.

    Raises:
        ConfigError: the run's `params` do not fit the task.
        TrainingError: a training cannot go on.
    """
    task = run.task
    params = run.params
    ready = _ready(run)
    external_weights = task.training.external_weights(params)
    inputs = (ready.name, params, external_weights, run.config.seed, lineage.lock_hash())
    folder = run.trained / run.key("train", *inputs)
    names = task.training.candidates(params)
    fresh = tuple(name for name in names if not _is_done(folder, name))
    if fresh:
        prepared = lineage.folder_hash(ready)
        root = fingerprint(run)
        trained_on: TrainedOn = "synthetic" if run.store.find(root).synthetic else "real"
        origin = lineage.record(run.config, root, prepared, external_weights, trained_on)
        shared = golden.SharedAnswers()
        for name in fresh:
            _fit(run, folder, name, ready, origin, shared)
    with atomic_write(folder / DATA) as temporary:
        temporary.write_text(ready.name + "\n", encoding="utf-8")
    write_latest(run.trained, run.config.name, folder.name)
    return Trained(folder, ready, fresh)


def fingerprint(run: Run) -> str:
    """The version of raw data that a run's prepared data were made from."""
    report = json.loads((_ready(run) / REPORT).read_text(encoding="utf-8"))
    return str(report["data_fingerprint"])


def _ready(run: Run) -> Path:
    remedy = "Prepare the data first: `mien data CONFIG --source PATH`."
    return read_latest(run.processed, run.config.name, remedy)


def _is_done(folder: Path, candidate: str) -> bool:
    """Whether its bundle is there and its run is in MLflow, which comes last in a hurried run."""
    return (folder / candidate / bundle.MANIFEST).is_file() and has_run(folder / WORK / candidate)


def _fit(
    run: Run,
    folder: Path,
    candidate: str,
    ready: Path,
    origin: Lineage,
    shared: golden.SharedAnswers,
) -> None:
    task = run.task
    params = run.params
    work = folder / WORK / candidate
    with _tracked(run, candidate, work, ready, origin) as tracked:
        with console.bar(f"train {candidate}") as advance:
            fit = task.training.fit(
                candidate, ready, work, params, run.config.seed, _recorder(tracked.log, advance)
            )
        tracked.flush()  # a candidate whose bundle is in its place is not trained again
        manifest = bundle.describe(
            run.task.name,
            fit.labels or task.default_labels,
            candidate,
            fit.preprocessing,
            lineage=origin.model_copy(
                update={
                    "training": dict(fit.lineage),
                    "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            ),
        )
        with atomic_dir(folder / candidate) as temporary:
            bundle.copy_networks(work, temporary)
            write_json(temporary / "history.json", [dict(step) for step in fit.history])
            drawn = task.inference.drawn_predictions()
            golden.write(temporary, manifest, drawn, shared=shared)


class _Steps(list[tuple[int, Mapping[str, float]]]):
    """Steps of a training that MLflow gets later."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.append((step, metrics))

    def flush(self) -> None:
        pass


@contextmanager
def _tracked(
    run: Run, candidate: str, work: Path, ready: Path, origin: Lineage
) -> Iterator[TrackedRun | _Steps]:
    """The run of a candidate in MLflow; a hurried run makes it when the training is over."""
    is_new = not work.is_dir()
    work.mkdir(parents=True, exist_ok=True)
    opened = run.tracker.run(
        run.task.name,
        candidate,
        work,
        run.config.params,
        origin.recorded(),
        run.data_set(ready),
        {COMMIT: origin.code.commit or ""},
        is_new=is_new,
    )
    if run.later is None:
        with opened as tracked:
            yield tracked
        return
    steps = _Steps()
    yield steps

    def write() -> None:
        with opened as tracked:
            for step, metrics in steps:
                tracked.log(step, metrics)

    run.when_idle(write)


def _recorder(log: Any, advance: console.Advance) -> Recorder:
    def record(step: int, total: int, metrics: Mapping[str, float]) -> None:
        log(step, {f"train/{name}": value for name, value in metrics.items()})
        words = "  ".join(f"{name} {value:.3f}" for name, value in list(metrics.items())[:3])
        advance(step, total, words)

    return record
