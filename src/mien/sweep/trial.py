"""One trial of a sweep: fit every candidate with a choice, and measure it on validation data.

    params with a choice -> training.fit -> bundle -> inference.predict -> validation scores

The exported model is asked through the functions that `evaluate` uses. The test split is never
asked: whoever chooses by it has no test left.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mien import config, tasks
from mien.config import Policy, RunConfig, Schema
from mien.errors import (
    ConfigError,
    PolicyError,
    ScoreError,
    TrainingError,
    WeightsError,
    nearest,
)
from mien.model import bundle
from mien.model.runtime import Model
from mien.reporting import console, scores
from mien.stages.evaluate.measuring import predict_split
from mien.storage.files import atomic_dir

from .space import Choice, Space

BUNDLE_MB = "bundle_mb"
_KEPT = {".onnx", ".task"}
"""What of a trainer's folder goes into a bundle, as the train stage has it."""
Scores = Mapping[str, Mapping[str, float]]
"""By candidate: every score of the validation split, and the size of the bundle."""


@dataclass(frozen=True)
class Work:
    """What all trials of a sweep have in common."""

    run: RunConfig
    space: Space
    ready: Path
    folder: Path
    """Where trainers work; what an interrupted one left there is taken up again."""
    candidate: str | None = None
    """The only one to be fitted; None for all that the params name."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    scores: Scores = field(default_factory=dict)
    best: str = ""
    """The candidate that the policy would take; "" where the trial failed."""
    value: float = 0.0
    """Its score by the policy."""
    seconds: float = 0.0
    error: str = ""
    """Why the trial failed."""
    same_as: int | None = None
    """The trial with the same choice whose result this is."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def attempt(work: Work, number: int, choice: Choice) -> Outcome:
    """Fit and measure; a training that fails is an outcome, since other choices may do.

    Raises:
        PolicyError: the policy names a score that the task does not have.
        DataError: the prepared data cannot be read.
    """
    watch = console.Stopwatch()
    task = tasks.load(work.run.task)
    try:
        params = config.parse(task.training.Params, work.space.filled(choice), "params")
        found = {
            name: _measure(work, work.folder / str(number) / name, name, params)
            for name in chosen(work.run.task, params, work.candidate)
        }
        best = _best(found, work.run.policy)
    except WeightsError:
        raise  # the machine's trouble, not the trial's: it is made when the sweep goes on
    except (TrainingError, ScoreError, ConfigError) as error:
        return Outcome(error=str(error), seconds=watch.seconds)
    value = found[best][work.run.policy.maximise]
    return Outcome(found, best, value, watch.seconds)


def chosen(task: str, params: Schema, only: str | None) -> tuple[str, ...]:
    """The candidates that a trial with these params fits.

    Raises:
        ConfigError: the one that was asked for is not among them.
    """
    names = tasks.load(task).training.candidates(params)
    if only is not None and only not in names:
        known = ", ".join(names)
        raise ConfigError(
            f"There is no candidate {only!r}; the config has: {known}." + nearest(only, names)
        )
    return names if only is None else (only,)


def _measure(work: Work, out: Path, candidate: str, params: Schema) -> dict[str, float]:
    task = tasks.load(work.run.task)
    out.mkdir(parents=True, exist_ok=True)
    fit = task.training.fit(candidate, work.ready, out, params, work.run.seed, _unheard)
    with atomic_dir(out / "bundle") as folder:
        for path in out.iterdir():
            if path.is_file() and path.suffix in _KEPT:
                shutil.copyfile(path, folder / path.name)
        made = bundle.describe(
            task.name, task.labels, candidate, fit.preprocessing, metrics={}, lineage={}
        )
        opened = bundle.write(folder, made)
        with Model(opened) as model:
            answers, _ = predict_split(
                task, model, task.data.examples(work.ready, "val"), candidate
            )
    return {**scores.summary(answers, task.labels), BUNDLE_MB: opened.megabytes}


def _best(found: Scores, policy: Policy) -> str:
    """The best candidate of those small enough; how slow one is depends on what else runs here."""
    for each in found.values():
        if policy.maximise not in each:
            known = ", ".join(name for name in each if name != BUNDLE_MB)
            raise PolicyError(f"policy.maximise is {policy.maximise!r}; there are: {known}.")
    small = [name for name in found if found[name][BUNDLE_MB] <= policy.max_bundle_mb]
    if not small:
        sizes = ", ".join(f"{name} {each[BUNDLE_MB]:.1f} MB" for name, each in found.items())
        raise TrainingError(f"no candidate keeps policy.max_bundle_mb: {sizes}")
    return max(small, key=lambda name: found[name][policy.maximise])


def _unheard(step: int, total: int, metrics: Mapping[str, float]) -> None:
    """Epochs and folds are not recorded: the best choice is trained again by a run."""
