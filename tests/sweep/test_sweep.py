"""A sweep on a few generated rows and a forest of few trees."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import active_children
from pathlib import Path
from threading import Thread, main_thread
from typing import Any

import optuna
import postgresql
import pytest
from project import ROOT
from waiting import until

from mien import config, tasks
from mien.config import RunConfig
from mien.errors import ConfigError, PolicyError, TrainingError
from mien.model import runtime
from mien.reporting import scores
from mien.stages import Run
from mien.stages.data import data
from mien.stages.train import train
from mien.storage.workspace import Workspace
from mien.sweep import SweepResult, sweep
from mien.sweep.search_space import SearchSpace
from mien.sweep.study import DATABASE, ROUND_SIZE, Study
from mien.sweep.trial import TrialContext, TrialResult, run_trial
from mien.sweep.trial_pool import TrialPool
from mien.tasks.gesture.sample import write_sample

pytestmark = pytest.mark.long


TRIALS = ROUND_SIZE + 3
"""One more than the search space has points."""
CONFIG = """
task: gesture
seed: 6
params: {candidates: [random_forest], accept_images: false, trees: 10, cv_folds: 2}
search_space:
  trees: {low: 10, high: 40, step: 15}
  cv_folds: [2, 10]  # of the ten rows or fewer that a label has in train
"""

Trials = Mapping[int, tuple[Mapping[str, Any], TrialResult]]


@dataclass(frozen=True)
class Home:
    """A workspace with a config, and the results of its sweep."""

    path: Path
    config: Path
    complete: SweepResult

    @property
    def run(self) -> RunConfig:
        return config.load(self.config)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.path)


@dataclass(frozen=True)
class Stopped:
    """A sweep that was stopped twice before it was complete."""

    home: Home
    killed: frozenset[int]
    """Trials that were finished when it was killed."""
    interrupted: SweepResult


def without_times(trials: Trials) -> dict[int, Any]:
    """Params and results without their durations."""
    return {
        number: (dict(values), replace(result, seconds=0.0))
        for number, (values, result) in trials.items()
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Home:
    """Trials by one process on prepared data whose test split was deleted; another process takes
    five seconds to start, and the long tests have two."""
    path = tmp_path_factory.mktemp("home")
    shutil.copy(mlflow_database, path)
    file = _prepared(path)
    return Home(path, file, sweep(config.load(file), Workspace(path), TRIALS))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """The same. One process, killed after its first trial; Ctrl-C after the second start; then two
    processes."""
    path = tmp_path_factory.mktemp("stopped")
    file = _prepared(path)
    run, workspace = config.load(file), Workspace(path)
    killed = _killed_after_a_trial(path, file)
    # A shell that starts the tests in the background makes them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    Thread(target=_interrupt, daemon=True).start()
    interrupted = sweep(run, workspace, TRIALS)
    signal.signal(signal.SIGINT, before)
    assert active_children() == []
    return Stopped(Home(path, file, sweep(run, workspace, TRIALS, jobs=2)), killed, interrupted)


def _prepared(path: Path) -> Path:
    """Prepare a few rows in a workspace; return the config."""
    raw, file = path / "raw", path / "few.yaml"
    raw.mkdir()
    write_sample(raw, 0, per_label=12)
    file.write_text(f"{CONFIG}source: {raw}\n")
    run = Run.resolve(config.load(file), Workspace(path))
    (data(run).folder / "test.csv").unlink()
    return file


def _killed_after_a_trial(path: Path, file: Path) -> frozenset[int]:
    """Start a sweep as a user would, kill it when it prints a trial; return the finished trials."""
    command = [sys.executable, "-m", "mien.cli", "sweep", str(file)]
    process = subprocess.Popen(
        [*command, "--trials", str(TRIALS), "--home", str(path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("trial "):
            process.kill()
            break
    rest = process.stderr.read()  # ends when the worker has closed it too
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL, "".join(lines) + rest
    (database,) = path.rglob(DATABASE)
    with closing(sqlite3.connect(database)) as connection:
        states = list(connection.execute("SELECT number, state FROM trials"))
    assert "RUNNING" in dict(states).values(), "it was killed during a trial"
    return frozenset(number for number, state in states if state != "RUNNING")


def _interrupt() -> None:
    """Press Ctrl-C as soon as a worker runs: in the main thread, as a terminal would."""
    until(active_children)
    assert main_thread().ident
    signal.pthread_kill(main_thread().ident, signal.SIGINT)


def test_neither_jobs_nor_kill_nor_ctrl_c_change_a_trial(stopped: Stopped, tmp_path: Path) -> None:
    """They are those of a simple loop, one trial after the other."""
    home = stopped.home
    context = context_of(home)
    study = Study(tmp_path, context.space, context.run.seed)
    while proposals := study.ask(TRIALS):
        for number, values in proposals.items():
            study.tell(number, run_trial(context, number, values))
    expected = without_times(study.finished())
    study.close()
    trials = without_times(home.complete.trials)
    assert trials == {
        number: (values, replace(expected[number][1], same_as=result.same_as))
        for number, (values, result) in trials.items()
    }


def test_no_trial_runs_twice(stopped: Stopped) -> None:
    """Trials that were finished at the kill and at Ctrl-C do not run again."""
    killed, interrupted, complete = stopped.killed, stopped.interrupted, stopped.home.complete
    assert interrupted.interrupted
    assert not complete.interrupted
    assert 0 < len(killed) <= len(interrupted.trials) < TRIALS
    new = [*killed, *interrupted.new_trials, *complete.new_trials]
    assert sorted(new) == list(range(TRIALS))


def test_every_trial_has_its_params_and_scores(home: Home) -> None:
    """The test split was deleted and is not needed."""
    assert sorted(home.complete.trials) == list(range(TRIALS))
    succeeded = [result for _, result in home.complete.trials.values() if not result.error]
    assert succeeded
    for result in succeeded:
        assert result.best == "random_forest"
        assert result.value == result.metrics["random_forest"]["macro_f1"] > 0.3
        assert result.metrics["random_forest"]["examples"] > 0
    assert not (home.complete.folder / "trials").exists(), "work folders are deleted"


def test_a_training_that_fails_is_a_trial_that_failed(home: Home) -> None:
    """Its message is stored, and the sweep continues."""
    for values, result in home.complete.trials.values():
        assert bool(result.error) == (values["cv_folds"] == 10)
        assert not result.error or "params.cv_folds = 10" in result.error
    assert {bool(result.error) for _, result in home.complete.trials.values()} == {True, False}


def test_the_same_params_are_not_tried_twice(home: Home) -> None:
    """The result of the earlier trial is copied, with its number."""
    first: dict[str, int] = {}
    for number, (values, result) in sorted(home.complete.trials.items()):
        earlier = first.setdefault(json.dumps(values), number)
        assert result.same_as == (None if earlier == number else earlier)
    assert len(first) == TRIALS - 1, "params are repeated only when the space is exhausted"


def test_a_complete_sweep_is_not_changed(home: Home) -> None:
    """The second call starts no process and tracks no run."""
    before = (home.complete.folder / DATABASE).read_bytes(), len(_tracked(home))
    again = sweep(home.run, home.workspace, TRIALS, jobs=2)
    assert again.new_trials == ()
    assert without_times(again.trials) == without_times(home.complete.trials)
    assert before == ((home.complete.folder / DATABASE).read_bytes(), len(_tracked(home)))


def test_every_trial_is_a_tracked_run(home: Home) -> None:
    """With the names of sweep and trial, the params and the validation scores."""
    runs = {int(each.data.tags["trial"]): each for each in reversed(_tracked(home))}
    assert sorted(runs) == list(range(TRIALS))
    for number, (values, result) in home.complete.trials.items():
        tracked = runs[number]
        assert tracked.data.tags["sweep"] == "few"
        assert tracked.data.params["trees"] == str(values["trees"])
        assert tracked.info.status == ("FAILED" if result.error else "FINISHED")
        assert tracked.data.tags.get("error", "") == result.error
        assert result.error or tracked.data.metrics["val/macro_f1"] == result.value
        assert not [name for name in tracked.data.metrics if name.startswith("test")]


def _tracked(home: Home) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gesture")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.`sweep` = 'few'"))


def test_the_config_of_the_best_trial_gives_the_same_score(home: Home) -> None:
    """The same data, seed and params give the same score to the last digit."""
    assert home.complete.best_config is not None
    run = config.load(home.complete.best_config)
    best = max(result.value for _, result in home.complete.trials.values())
    assert run.name == "sweep_few"
    assert (run.task, run.seed, run.search_space) == ("gesture", 6, {})
    data(Run.resolve(run, home.workspace))
    folder = train(Run.resolve(run, home.workspace)).folder / "random_forest"
    task = tasks.load("gesture")
    with runtime.load(folder) as model:
        ready = train(Run.resolve(run, home.workspace)).ready
        answers = [
            scores.scored(example, task.inference.predict(example.request, model), 0.0)
            for example in task.data.examples(ready, "val")
        ]
    assert scores.summary(answers, task.default_labels).macro_f1 == best


def context_of(home: Home, **policy: Any) -> TrialContext:
    run = home.run.model_copy(update={"policy": config.Policy(**policy)})
    prepared = data(Run.resolve(run, home.workspace)).folder
    return TrialContext(run, SearchSpace.from_config(run), prepared, home.path / "work")


def test_a_candidate_above_the_size_limit_is_ignored(home: Home) -> None:
    """Otherwise a run of the best config could have nothing to register."""
    result = run_trial(context_of(home, max_bundle_mb=0.001), 0, {"trees": 10, "cv_folds": 2})
    assert "max_bundle_mb" in result.error
    assert "random_forest" in result.error


def test_a_score_that_the_task_does_not_have_ends_the_sweep(home: Home) -> None:
    """Every other trial would fail too."""
    with pytest.raises(PolicyError, match=r"macro_f1.*map50"):
        run_trial(context_of(home, maximise="map50"), 1, {"trees": 10, "cv_folds": 2})


def test_a_killed_process_raises_an_error_with_advice(home: Home) -> None:
    """Instead of waiting for it for ever."""
    before = set(active_children())
    with closing(TrialPool(context_of(home), 1)) as pool:
        results = pool.run({5: {"trees": 10, "cv_folds": 2}})
        pool.start(1)
        (process,) = set(active_children()) - before
        os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(TrainingError, match=r"trial 5 ended with exit code -9.*--jobs"):
            next(results)
    assert set(active_children()) == before


def test_a_second_machine_goes_on_with_the_trials_of_the_first(
    home: Home, tmp_path: Path, mlflow_database: Path, postgresql_server: postgresql.Server
) -> None:
    """Each with a workspace of its own; the trials are those of one machine."""
    new = []
    for name, trials in (("a", ROUND_SIZE - 1), ("b", TRIALS)):
        (tmp_path / name).mkdir()
        shutil.copy(mlflow_database, tmp_path / name)
        workspace = Workspace(tmp_path / name)
        last = sweep(home.run, workspace, trials, storage=postgresql_server.url)
        new.append(sorted(last.new_trials))
    assert new == [list(range(ROUND_SIZE - 1)), list(range(ROUND_SIZE - 1, TRIALS))]
    assert without_times(last.trials) == without_times(home.complete.trials)
    assert not (last.folder / DATABASE).exists()


WIDE = {
    "lr": {"low": 0.001, "high": 0.1, "log": True},
    "batch_size": {"low": 8, "high": 64, "step": 8},
}
LONG = 3 * ROUND_SIZE + 2
"""Trials of which the last are guided by the results of the first."""


def propose(folder: Path, targets: Sequence[int], optimum: float, backwards: bool) -> list[Any]:
    """Params proposed by a study that is opened again for each target number of trials."""
    space = SearchSpace.from_config(RunConfig(name="x", task="emotion", search_space=WIDE))
    for target in targets:
        study = Study(folder, space, seed=5)
        while proposals := study.ask(target):
            for number in sorted(proposals, reverse=backwards):
                value = -abs(proposals[number]["lr"] - optimum)
                study.tell(number, TrialResult(value=value))
        finished = study.finished()
        study.close()
    return [dict(values) for _, (values, _) in sorted(finished.items())]


def test_a_proposal_depends_on_the_results_of_earlier_rounds_only(tmp_path: Path) -> None:
    """Not on which trial of a round ends first, nor on where the sweep was interrupted."""
    straight = propose(tmp_path / "a", [LONG], 0.05, backwards=False)
    assert len(straight) == LONG
    assert (
        propose(tmp_path / "b", [1, ROUND_SIZE + 2, 3 * ROUND_SIZE - 1, LONG], 0.05, backwards=True)
        == straight
    )
    other = propose(tmp_path / "c", [LONG], 0.001, backwards=False)
    assert other[: 2 * ROUND_SIZE] == straight[: 2 * ROUND_SIZE]
    assert other[2 * ROUND_SIZE :] != straight[2 * ROUND_SIZE :], "results guide the later ones"
    database = f"sqlite:///{tmp_path / 'a' / DATABASE}"
    (recorded,) = optuna.get_all_study_summaries(database)
    sampler = recorded.user_attrs["sampler"]
    assert (sampler["optuna"], sampler["multivariate"]) == (optuna.__version__, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "expected 1 or more, found 0 and 1"),
        ({"jobs": 0}, "expected 1 or more, found 20 and 0"),
        ({"candidate": "random_forrest"}, "Did you mean 'random_forest'"),
    ],
)
def test_arguments_are_checked_first(home: Home, arguments: dict[str, Any], message: str) -> None:
    """Nothing is fetched for an impossible sweep."""
    with pytest.raises(ConfigError, match=message):
        sweep(home.run, Workspace(home.path / "nowhere"), **arguments)
    assert not (home.path / "nowhere").exists()
