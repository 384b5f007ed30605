"""Try params and keep the best: `mien sweep`.

    source -> check -> prepare, once; then trials -> models/<task>/sweeps/<key>/study.db
                                             best -> reports/<task>/sweep_<name>.yaml

A sweep is named by a key of all that decides its trials. One that is started again goes on where
it ended; a trial that is there is never tried twice. Bundles are not kept: the best config trains
its own again. The test split is never looked at.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mien import config, tasks
from mien.config import RunConfig
from mien.errors import ConfigError, TrainingError
from mien.model import lineage
from mien.reporting import console
from mien.stages import check as gates
from mien.stages.data import data, fetch, settled
from mien.storage.workspace import SWEEPS, Workspace, cache_key, task_source_hash
from mien.tracking import Tracker

from . import report
from .space import Choice, Space
from .study import ROUND, Study
from .trial import BUNDLE_MB, Outcome, Work, chosen
from .workers import Workers

_WORK = "trials"
"""Beside the study: what trials that are going on keep to resume."""


@dataclass(frozen=True)
class Swept:
    """What a sweep has so far."""

    folder: Path
    told: report.Told
    fresh: tuple[int, ...]
    """Trials that were made just now."""
    best: Path | None
    """The config of the best trial; None where every one failed or none is there."""
    stopped: bool
    """Whether Ctrl-C ended it."""


def sweep(
    run: RunConfig,
    workspace: Workspace,
    trials: int = 20,
    jobs: int = 1,
    candidate: str | None = None,
) -> Swept:
    """Bring a sweep to a number of trials, those that are there included.

    Args:
        jobs: trials at a time, each in a process; no result depends on it.
        candidate: fit this one alone.

    Raises:
        ConfigError: the space, the candidate or a number cannot be used.
        GateError: the data fail a gate.
        TrainingError: every trial failed.
    """
    _check_numbers(trials, jobs)
    space = Space.of(run)
    params = config.parse(tasks.load(run.task).training.Params, run.params, "params")
    chosen(run.task, params, candidate)
    ready, version = _ready(run, workspace)
    folder = workspace.models(run.task) / SWEEPS / _key(run, space, candidate, ready)
    work = Work(run, space, ready, folder / _WORK, candidate)
    with _alone(folder):
        study = Study(folder, space, run.seed)
        try:
            fresh, stopped = _go_on(work, study, workspace, trials, min(jobs, ROUND))
            told = study.told()
            if told:
                report.show(run, told, study.importances())
        finally:
            study.close()
    best = _write(work, told, version, workspace) if report.ranked(told) else None
    if best is None and not stopped:
        raise TrainingError(f"All {len(told)} trials failed; see above. Widen `search_space:`.")
    return Swept(folder, told, fresh, best, stopped)


def _check_numbers(trials: int, jobs: int) -> None:
    if trials < 1 or jobs < 1:
        raise ConfigError(f"a sweep takes 1 or more trials and jobs; found {trials} and {jobs}")
    if jobs > ROUND:
        console.info(f"{ROUND} trials are proposed at a time; {jobs - ROUND} jobs are not needed.")


def _ready(run: RunConfig, workspace: Workspace) -> tuple[Path, str]:
    """Prepared data that pass their gates, and the short name of their version."""
    with workspace.locked(run.task), settled(run, workspace):
        version, _ = fetch(run, workspace)
        gates.require(gates.check(run, workspace, version))
        return data(run, workspace, version).folder, version.short


_DECIDES = (
    *("sweep/space.py", "sweep/study.py", "sweep/trial.py", "stages/evaluate/measuring.py"),
    "reporting/scores.py",
)


def _key(run: RunConfig, space: Space, candidate: str | None, ready: Path) -> str:
    task = tasks.load(run.task)
    params = config.parse(task.training.Params, run.params, "params")
    made_by = task_source_hash(run.task, *_DECIDES)
    rules = (run.policy.maximise, run.policy.max_bundle_mb, candidate)
    external_weights = task.training.external_weights(params), lineage.lock_hash()
    return cache_key(
        ready.name, params, space.as_json(), run.seed, rules, made_by, external_weights
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two sweeps of the same thing would try everything twice: the second waits for the first."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.info("The same sweep is going on in another process; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _go_on(
    work: Work, study: Study, workspace: Workspace, trials: int, jobs: int
) -> tuple[tuple[int, ...], bool]:
    """Try what is missing; which trials were made now, and whether Ctrl-C ended it."""
    made: list[int] = []
    try:
        with Workers(work, jobs) as workers, console.bar(f"sweep {work.run.name}") as advance:
            while asked := study.ask(trials):
                for number, outcome in _outcomes(study, workers, asked):
                    _track(work, workspace, number, asked[number], outcome)
                    study.tell(number, outcome)  # tracked first: who is killed here tracks again
                    shutil.rmtree(work.folder / str(number), ignore_errors=True)
                    made.append(number)
                    console.info(report.line(number, asked[number], outcome))
                    advance(len(study.told()), trials, report.so_far(study.told()))
    except KeyboardInterrupt:
        return tuple(made), True
    shutil.rmtree(work.folder, ignore_errors=True)
    return tuple(made), False


def _outcomes(
    study: Study, workers: Workers, asked: Mapping[int, Choice]
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of what is asked; a choice that was tried before is not tried again.

    Of equal choices in one round the first is tried; the others are asked again, and then known.
    """
    known = {_text(choice): (number, done) for number, (choice, done) in study.told().items()}
    first: dict[str, int] = {}
    for number, choice in asked.items():
        if _text(choice) in known:
            same, done = known[_text(choice)]
            yield number, replace(done, seconds=0.0, same_as=same)
        else:
            first.setdefault(_text(choice), number)
    yield from workers.run({number: asked[number] for number in first.values()})


def _track(work: Work, workspace: Workspace, number: int, choice: Choice, outcome: Outcome) -> None:
    """One run in MLflow; this process alone writes."""
    folder = work.folder / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    name = outcome.best or work.candidate or "none"
    metrics = {"seconds": outcome.seconds}
    for score, value in outcome.scores.get(name, {}).items():
        metrics[score if score == BUNDLE_MB else f"val.{score}"] = value
    origin = {"sweep": work.run.name, "trial": str(number), "sweep_key": work.folder.parent.name}
    origin |= {"error": outcome.error} if outcome.error else {}
    params = {**work.run.params, **choice}
    tracker = Tracker(workspace.home)
    with (
        suppress(_FailedTrialError),
        tracker.run(work.run.task, name, folder, params, origin) as tracked,
    ):
        tracked.log(0, metrics)
        if outcome.error:
            raise _FailedTrialError


class _FailedTrialError(Exception):
    """Lets the tracker mark a run as failed; why it failed stands in its tags and in the study."""


def _write(work: Work, told: report.Told, version: str, workspace: Workspace) -> Path:
    name = "_".join(("sweep", work.run.name, *((work.candidate,) if work.candidate else ())))
    path = workspace.reports(work.run.task) / f"{name}.yaml"
    with workspace.locked(work.run.task):
        report.write(work.run, work.space, told, version, path, work.candidate)
    return path


def _text(choice: Choice) -> str:
    return config.digest(dict(choice))
