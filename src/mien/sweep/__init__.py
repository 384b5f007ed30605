"""Hyperparameter search: `mien sweep`.

    source -> check -> prepare, once; then trials -> models/<task>/sweeps/<key>/study.db
                                       best params -> reports/<task>/sweep_<name>.yaml

The key of a sweep is a digest of everything that determines its trials. A sweep that is started
again resumes; a finished trial never runs twice. Bundles are deleted: `mien run` on the best config
trains its own. The test split is never used. `trial_pool.py` runs trials in processes, `on_ray.py`
on a cluster; `claims.py` shares them among machines.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from mien import config
from mien.config import RunConfig
from mien.errors import ConfigError, TrainingError
from mien.model import lineage
from mien.reporting import console
from mien.stages import Run
from mien.stages import check as data_check
from mien.stages.data import accept_if_readable, data, fetch
from mien.storage.files import locked
from mien.storage.workspace import SWEEPS, Workspace
from mien.tracking import Tracker

from . import claims, report
from .search_space import SearchSpace, TrialParams
from .study import ROUND_SIZE, SharedStudy, Study
from .trial import BUNDLE_MB, TrialContext, TrialResult, candidates_to_fit
from .trial_pool import TrialPool

Engine = Literal["local", "ray"]
_TRIALS_FOLDER = "trials"
"""Beside the study: the work folders of running trials, in which they resume."""


class Pool(Protocol):
    """Runs trials, at most `size` at a time."""

    size: int

    def run(self, trials: Mapping[int, TrialParams]) -> Iterator[tuple[int, TrialResult]]:
        """Run trials by number; yield each result as soon as it is there."""

    def close(self) -> None:
        """End what runs."""


@dataclass(frozen=True)
class SweepResult:
    """All finished trials of a sweep."""

    folder: Path
    trials: report.FinishedTrials
    new_trials: tuple[int, ...]
    """Trials that this call ran."""
    best_config: Path | None
    """The config of the best trial; None if all failed or none is finished."""
    interrupted: bool
    """Whether Ctrl-C ended it."""


def sweep(
    run: RunConfig,
    workspace: Workspace,
    trials: int = 20,
    jobs: int = 1,
    candidate: str | None = None,
    engine: Engine = "local",
    storage: str | None = None,
) -> SweepResult:
    """Run trials until a sweep has `trials` of them, earlier ones included.

    Args:
        jobs: parallel trials of this process.
        candidate: fit this one only.
        engine, storage: whether trials are tasks on Ray, and the address of a PostgreSQL database
            whose trials several machines run. As of `jobs`, no result depends on them.

    Raises:
        StorageError: the database does not answer.
        ConfigError: the search space, the candidate or a number is not usable.
        DataCheckError: the data fail a check.
        TrainingError: every trial failed.
    """
    _check_numbers(trials, jobs)
    url = claims.database(storage) if storage else None
    space = SearchSpace.from_config(run)
    resolved = Run.resolve(run, workspace)
    candidates_to_fit(run.task, resolved.params, candidate)
    prepared, version = _prepare_data(resolved)
    key = _sweep_key(resolved, space, candidate, prepared)
    folder = workspace.models(run.task) / SWEEPS / key
    context = TrialContext(run, space, prepared, folder / _TRIALS_FOLDER, candidate)
    shared = SharedStudy(url, f"mien-{run.task}-{key}") if url else None
    pool = _pool(context, min(jobs, ROUND_SIZE), engine)
    new, interrupted, finished = _run_study(context, pool, workspace, trials, shared)
    best = _write_best(context, finished, version, workspace) if report.rank(finished) else None
    if best is None and not interrupted:
        raise TrainingError(f"All {len(finished)} trials failed; see above. Widen `search_space:`.")
    return SweepResult(folder, finished, new, best, interrupted)


def _check_numbers(trials: int, jobs: int) -> None:
    if trials < 1 or jobs < 1:
        raise ConfigError(f"--trials, --jobs: expected 1 or more, found {trials} and {jobs}")
    if jobs > ROUND_SIZE:
        console.info(f"At most {ROUND_SIZE} trials run in parallel; --jobs {jobs} is not needed.")


def _prepare_data(run: Run) -> tuple[Path, str]:
    """Prepared data that pass their checks, and the short name of their version."""
    with console.bar(f"{run.task.name}: prepare data"), run.workspace.locked(run.task.name):
        version, _ = fetch(run)
        with accept_if_readable(run, version):
            data_check.require_passed(data_check.check(run, version))
            return data(run, version).folder, version.short


def _sweep_key(run: Run, space: SearchSpace, candidate: str | None, prepared: Path) -> str:
    policy, weights = run.config.policy, run.task.training.external_weights(run.params)
    rules = (policy.maximise, policy.max_bundle_mb, candidate)
    inputs = (prepared.name, run.params, space.as_json(), run.config.seed, rules)
    return run.key("sweep", *inputs, weights, lineage.lock_hash())


def _pool(context: TrialContext, jobs: int, engine: Engine) -> Pool:
    if engine == "ray":
        from .on_ray import RayTrials

        return RayTrials(context, jobs)
    return TrialPool(context, jobs)


def _run_study(
    context: TrialContext, pool: Pool, workspace: Workspace, trials: int, shared: SharedStudy | None
) -> tuple[tuple[int, ...], bool, report.FinishedTrials]:
    """Run the missing trials, show all, and return what `_run_trials` does and all."""
    run, folder = context.run, context.work.parent
    # Two processes of one sweep would run every trial twice: the second waits for the first.
    waiting = "The same sweep is running in another process; waiting for it."
    if shared:
        console.info(f"study {shared.name} in postgresql://{shared.url.host or ''}")
    with (
        locked(folder / "lock", waiting),
        claims.reported(shared.url if shared else None),
        closing(pool),
        closing(Study(folder, context.space, run.seed, shared)) as study,
    ):
        new, interrupted = _run_trials(context, study, pool, workspace, trials)
        finished = study.finished()
        if finished:
            report.show(run, finished, study.importances())
    return new, interrupted, finished


def _run_trials(
    context: TrialContext, study: Study, pool: Pool, workspace: Workspace, trials: int
) -> tuple[tuple[int, ...], bool]:
    """Run the missing trials; return their numbers and whether Ctrl-C ended it."""
    new: list[int] = []
    try:
        with console.bar(f"sweep {context.run.name}") as advance:
            while proposals := study.ask(trials):
                claimed = study.claim(proposals, pool.size)
                for number, result in _results(study, pool, claimed):
                    # Tracked first: a trial that is killed here is tracked again, not lost.
                    _track(context, workspace, number, proposals[number], result)
                    study.tell(number, result)
                    shutil.rmtree(context.work / str(number), ignore_errors=True)
                    new.append(number)
                    console.info(report.format_trial(number, proposals[number], result))
                    finished = study.finished()
                    advance(len(finished), trials, report.format_best(finished))
    except KeyboardInterrupt:
        return tuple(new), True
    shutil.rmtree(context.work, ignore_errors=True)
    return tuple(new), False


def _results(
    study: Study, pool: Pool, proposals: Mapping[int, TrialParams]
) -> Iterator[tuple[int, TrialResult]]:
    """Yield the results of proposals; params that an earlier trial had do not run again."""
    earlier = {
        _digest(values): (number, result) for number, (values, result) in study.finished().items()
    }
    new = {}
    for number, values in proposals.items():
        if _digest(values) in earlier:
            same, result = earlier[_digest(values)]
            yield number, replace(result, seconds=0.0, same_as=same)
        else:
            new[number] = values
    yield from pool.run(new)


def _track(
    context: TrialContext,
    workspace: Workspace,
    number: int,
    values: TrialParams,
    result: TrialResult,
) -> None:
    """Record one MLflow run; only this process writes."""
    folder = context.work / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    name = result.best or context.candidate or "none"
    metrics = {"seconds": result.seconds}
    for score, value in result.metrics.get(name, {}).items():
        metrics["key/size_mb" if score == BUNDLE_MB else f"val/{score}"] = value
    tags = {"sweep": context.run.name, "trial": str(number), "sweep_key": context.work.parent.name}
    tags |= {"error": result.error} if result.error else {}
    params = {**context.run.params, **values}
    tracker = Tracker(workspace.home)
    with (
        suppress(_FailedTrialError),
        tracker.run(context.run.task, name, folder, params, tags, tags=tags) as tracked,
    ):
        tracked.log(0, metrics)
        if result.error:
            raise _FailedTrialError


class _FailedTrialError(Exception):
    """Makes the tracker mark a run as failed; its tags and the study have the reason."""


def _write_best(
    context: TrialContext, trials: report.FinishedTrials, version: str, workspace: Workspace
) -> Path:
    run, only = context.run, context.candidate
    name = "_".join(("sweep", run.name, *((only,) if only else ())))
    path = workspace.reports(run.task) / f"{name}.yaml"
    with workspace.locked(run.task):
        report.write_best_config(run, context.space, trials, version, path, only)
    return path


def _digest(values: TrialParams) -> str:
    return config.digest(dict(values))
