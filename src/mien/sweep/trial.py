"""One trial of a sweep: fit every candidate with the params to try, and score the validation split.

    params of the trial -> training.fit -> bundle -> inference.predict -> validation scores

The exported model is measured by the functions that `evaluate` uses. The test split is never used:
a score by which params are chosen is not a test any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien import config, tasks
from mien.config import Policy, RunConfig, Schema
from mien.errors import ConfigError, PolicyError, ScoreError, TrainingError, WeightsError, nearest
from mien.model import bundle
from mien.model.runtime import Model
from mien.reporting import console, scores
from mien.stages.evaluate.measuring import predict_split
from mien.storage.files import atomic_dir

from .search_space import SearchSpace, TrialParams

BUNDLE_MB = "bundle_mb"
CandidateMetrics = Mapping[str, Mapping[str, float]]
"""By candidate: every validation score, and the size of the bundle."""


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a sweep have in common."""

    run: RunConfig
    space: SearchSpace
    prepared: Path
    work: Path
    """Where trainers write; an interrupted training resumes there."""
    candidate: str | None = None
    """The only one to be fitted; None for all that the params name."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial."""

    metrics: CandidateMetrics = field(default_factory=dict)
    best: str = ""
    """The candidate that the policy would choose; "" if the trial failed."""
    value: float = 0.0
    """Its score by `policy.maximise`."""
    seconds: float = 0.0
    error: str = ""
    """Why the trial failed."""
    same_as: int | None = None
    """The earlier trial with the same params, whose result this is."""


def run_trial(context: TrialContext, number: int, values: TrialParams) -> TrialResult:
    """Fit and measure; a training that fails is a result, since other params may work.

    Raises:
        PolicyError: the policy names a score that the task does not have.
        DataError: the prepared data cannot be read.
    """
    stopwatch = console.Stopwatch()
    task = tasks.load(context.run.task)
    try:
        params = config.parse(task.training.Params, context.space.with_values(values), "params")
        metrics = {
            name: _fit_and_score(context, context.work / str(number) / name, name, params)
            for name in candidates_to_fit(context.run.task, params, context.candidate)
        }
        best = _best_candidate(metrics, context.run.policy)
    except WeightsError:
        raise  # a fault of the machine: the trial runs again when the sweep is resumed
    except (TrainingError, ScoreError, ConfigError) as error:
        return TrialResult(error=str(error), seconds=stopwatch.seconds)
    value = metrics[best][context.run.policy.maximise]
    return TrialResult(metrics, best, value, stopwatch.seconds)


def candidates_to_fit(task: str, params: Schema, only: str | None) -> tuple[str, ...]:
    """The candidates that a trial with these params fits.

    Raises:
        ConfigError: `only` is not among them.
    """
    names = tasks.load(task).training.candidates(params)
    if only is not None and only not in names:
        raise ConfigError(
            f"--candidate: expected one of {', '.join(names)}, found {only!r}."
            + nearest(only, names)
        )
    return names if only is None else (only,)


def _fit_and_score(
    context: TrialContext, out: Path, candidate: str, params: Schema
) -> dict[str, float]:
    task = tasks.load(context.run.task)
    out.mkdir(parents=True, exist_ok=True)
    # Epochs and folds are not recorded: `mien run` trains the best params again.
    fit = task.training.fit(
        candidate, context.prepared, out, params, context.run.seed, lambda *_: None
    )
    with atomic_dir(out / "bundle") as folder:
        bundle.copy_networks(out, folder)
        labels = fit.labels or task.default_labels
        manifest = bundle.describe(task.name, labels, candidate, fit.preprocessing)
        written = bundle.write(folder, manifest)
        with Model(written) as model:
            answers = predict_split(
                task, model, task.data.examples(context.prepared, "val"), candidate
            )
    return {**scores.summary(answers, labels).named(), BUNDLE_MB: written.megabytes}


def _best_candidate(metrics: CandidateMetrics, policy: Policy) -> str:
    """The best candidate within the size limit; its CPU cost is not measured."""
    for by_score in metrics.values():
        if policy.maximise not in by_score:
            names = ", ".join(name for name in by_score if name != BUNDLE_MB)
            raise PolicyError(
                f"policy.maximise: expected one of {names}, found {policy.maximise!r}."
            )
    small = [name for name in metrics if metrics[name][BUNDLE_MB] <= policy.max_bundle_mb]
    if not small:
        sizes = ", ".join(f"{name} {each[BUNDLE_MB]:.1f} MB" for name, each in metrics.items())
        raise TrainingError(
            f"policy.max_bundle_mb: expected a candidate of at most {policy.max_bundle_mb} MB, "
            f"found {sizes}"
        )
    return max(small, key=lambda name: metrics[name][policy.maximise])
