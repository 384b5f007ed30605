"""Promises of a sweep, on a few generated rows and a forest of few trees."""

import json
import os
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

import pytest
import yaml
from project import ROOT
from waiting import until

from mien import config, tasks
from mien.config import RunConfig
from mien.errors import ConfigError, PolicyError, TrainingError
from mien.model import runtime
from mien.reporting import scores
from mien.stages.data import data
from mien.stages.train import train
from mien.storage.workspace import Workspace
from mien.sweep import Swept, sweep
from mien.sweep.space import Space
from mien.sweep.study import DATABASE, ROUND, Study
from mien.sweep.trial import Outcome, Work, attempt
from mien.sweep.workers import Workers
from mien.tasks.gesture.sample import write_sample

TRIALS = ROUND + 3
"""One more than there are choices."""
CONFIG = """
task: gesture
seed: 6
params: {candidates: [random_forest], images: false, trees: 10, folds: 2}
search_space:
  trees: {low: 10, high: 40, step: 15}
  folds: [2, 10]  # of the ten rows or fewer that a label has in train
"""

Trials = Mapping[int, tuple[Mapping[str, Any], Outcome]]


@dataclass(frozen=True)
class Home:
    """A workspace with a config, and what became of a sweep that was disturbed twice."""

    path: Path
    config: Path
    killed: frozenset[int]
    """Trials that were kept when it was killed."""
    stopped: Swept
    done: Swept

    @property
    def run(self) -> RunConfig:
        return config.load(self.config)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.path)


def timeless(told: Trials) -> dict[int, Any]:
    """Choices and outcomes without the seconds that they took."""
    return {number: (dict(c), replace(done, seconds=0.0)) for number, (c, done) in told.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Seven trials on prepared data whose test split is not there any more.

    One process, killed at its first trial; Ctrl-C when it has started again; then two processes.
    """
    path = tmp_path_factory.mktemp("home")
    raw, file = path / "raw", path / "few.yaml"
    raw.mkdir()
    write_sample(raw, 0, per_label=12)
    file.write_text(f"{CONFIG}source: {raw}\n")
    run, workspace = config.load(file), Workspace(path)
    (data(run, workspace).folder / "test.csv").unlink()
    killed = _killed_after_a_trial(path, file)
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    Thread(target=_interrupt, daemon=True).start()
    stopped = sweep(run, workspace, TRIALS)
    signal.signal(signal.SIGINT, before)
    assert active_children() == []
    return Home(path, file, killed, stopped, sweep(run, workspace, TRIALS, jobs=2))


def _killed_after_a_trial(path: Path, file: Path) -> frozenset[int]:
    """Start a sweep as a user would, kill it when it tells a trial; which trials it kept."""
    command = [sys.executable, "-m", "mien.cli", "sweep", str(file)]
    process = subprocess.Popen(
        [*command, "--trials", str(TRIALS), "--home", str(path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if line.startswith("trial "):
            process.kill()
            break
    rest = process.stderr.read()  # ends when the worker too has let go of it
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL, "".join(heard) + rest
    (database,) = path.rglob(DATABASE)
    with closing(sqlite3.connect(database)) as opened:
        states = list(opened.execute("SELECT number, state FROM trials"))
    assert "RUNNING" in dict(states).values(), "it was killed with a trial half done"
    return frozenset(number for number, state in states if state != "RUNNING")


def _interrupt() -> None:
    """Press Ctrl-C as soon as a process works: in the main thread, as a terminal would."""
    until(active_children)
    assert main_thread().ident
    signal.pthread_kill(main_thread().ident, signal.SIGINT)


def test_neither_jobs_nor_kill_nor_ctrl_c_change_a_trial(home: Home, tmp_path: Path) -> None:
    """They are those of a plain loop, one trial after the other."""
    work = work_of(home)
    study = Study(tmp_path, work.space, work.run.seed)
    while asked := study.ask(TRIALS):
        for number, choice in asked.items():
            study.tell(number, attempt(work, number, choice))
    expected = timeless(study.told())
    study.close()
    found = timeless(home.done.told)
    assert found == {
        number: (choice, replace(expected[number][1], same_as=done.same_as))
        for number, (choice, done) in found.items()
    }


def test_no_trial_is_made_twice(home: Home) -> None:
    """What was kept when the sweep was killed, and when it was stopped, is not made again."""
    kept, stopped = home.killed, home.stopped
    assert stopped.stopped
    assert not home.done.stopped
    assert 0 < len(kept) <= len(stopped.told) < TRIALS
    assert sorted([*kept, *stopped.fresh, *home.done.fresh]) == list(range(TRIALS))


def test_every_trial_is_there_with_its_choice_and_scores(home: Home) -> None:
    """And the test split was not missed: nobody looked at it."""
    assert sorted(home.done.told) == list(range(TRIALS))
    good = [done for _, done in home.done.told.values() if not done.error]
    assert good
    for done in good:
        assert done.best == "random_forest"
        assert done.value == done.scores["random_forest"]["macro_f1"] > 0.3
        assert done.scores["random_forest"]["examples"] > 0
    assert not (home.done.folder / "trials").exists(), "trainers' folders are gone"


def test_a_training_that_fails_is_a_trial_that_failed(home: Home) -> None:
    """Its message is kept, and the sweep goes on."""
    for choice, done in home.done.told.values():
        assert bool(done.error) == (choice["folds"] == 10)
        assert not done.error or "params.folds = 10" in done.error
    assert {bool(done.error) for _, done in home.done.told.values()} == {True, False}


def test_the_same_choice_is_not_tried_twice(home: Home) -> None:
    """What was tried tells the outcome, with the number of the trial that was."""
    first: dict[str, int] = {}
    for number, (choice, done) in sorted(home.done.told.items()):
        earlier = first.setdefault(json.dumps(choice), number)
        assert done.same_as == (None if earlier == number else earlier)
    assert len(first) == TRIALS - 1, "a choice is proposed again when no other is left"


def test_a_sweep_that_is_there_is_left_alone(home: Home) -> None:
    """The second call starts no process and tracks no run."""
    before = (home.done.folder / DATABASE).read_bytes(), len(_tracked(home))
    again = sweep(home.run, home.workspace, TRIALS, jobs=2)
    assert again.fresh == ()
    assert timeless(again.told) == timeless(home.done.told)
    assert before == ((home.done.folder / DATABASE).read_bytes(), len(_tracked(home)))


def test_every_trial_is_a_tracked_run(home: Home) -> None:
    """With the sweep, the trial, the params and the scores of the validation split."""
    runs = {int(each.data.tags["lineage.trial"]): each for each in reversed(_tracked(home))}
    assert sorted(runs) == list(range(TRIALS))
    for number, (choice, done) in home.done.told.items():
        tracked = runs[number]
        assert tracked.data.tags["lineage.sweep"] == "few"
        assert tracked.data.params["trees"] == str(choice["trees"])
        assert tracked.info.status == ("FAILED" if done.error else "FINISHED")
        assert tracked.data.tags.get("lineage.error", "") == done.error
        assert done.error or tracked.data.metrics["val.macro_f1"] == done.value
        assert not [name for name in tracked.data.metrics if name.startswith("test")]


def _tracked(home: Home) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gesture")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.`lineage.sweep` = 'few'"))


def test_the_best_is_a_config_that_trains_what_was_measured(home: Home) -> None:
    """The same data, seed and choice, and so the same score to the last digit."""
    assert home.done.best is not None
    run = config.load(home.done.best)
    best = max(done.value for _, done in home.done.told.values())
    assert run.name == "sweep_few"
    assert (run.task, run.seed, run.search_space) == ("gesture", 6, {})
    data(run, home.workspace)
    folder = train(run, home.workspace).folder / "random_forest"
    task = tasks.load("gesture")
    with runtime.load(folder) as model:
        ready = train(run, home.workspace).ready
        answers = [
            scores.answer(example, task.inference.predict(example.request, model), 0.0)
            for example in task.data.examples(ready, "val")
        ]
    assert scores.summary(answers, task.labels)["macro_f1"] == best


def work_of(home: Home, **policy: Any) -> Work:
    run = home.run.model_copy(update={"policy": config.Policy(**policy)})
    ready = data(run, home.workspace).folder
    return Work(run, Space.of(run), ready, home.path / "work")


def test_a_candidate_beyond_the_size_that_may_serve_does_not_count(home: Home) -> None:
    """A run of the best config must not end with nothing to register."""
    outcome = attempt(work_of(home, max_bundle_mb=0.001), 0, {"trees": 10, "folds": 2})
    assert "max_bundle_mb" in outcome.error
    assert "random_forest" in outcome.error


def test_a_score_that_the_task_does_not_have_ends_the_sweep(home: Home) -> None:
    """Every other trial would end alike."""
    with pytest.raises(PolicyError, match=r"map50.*macro_f1"):
        attempt(work_of(home, maximise="map50"), 1, {"trees": 10, "folds": 2})


def test_a_process_that_was_killed_is_told_with_what_to_do(home: Home) -> None:
    """Instead of waiting for it for ever."""
    before = set(active_children())
    with Workers(work_of(home), 1) as workers:
        outcomes = workers.run({5: {"trees": 10, "folds": 2}})
        workers.start(1)
        (process,) = set(active_children()) - before
        os.kill(process.pid or 0, signal.SIGKILL)
        with pytest.raises(TrainingError, match=r"trial 5 ended with exit code -9.*--jobs"):
            next(outcomes)
    assert set(active_children()) == before


WIDE = {
    "lr": {"low": 0.001, "high": 0.1, "log": True},
    "batch_size": {"low": 8, "high": 64, "step": 8},
}
LONG = 3 * ROUND + 2
"""Trials of which the last are guided by the results of the first."""


def proposals(folder: Path, wanted: Sequence[int], better: float, backwards: bool) -> list[Any]:
    """Choices of a study that is opened anew for each number of trials wanted."""
    space = Space.of(RunConfig(name="x", task="emotion", search_space=WIDE))
    for trials in wanted:
        study = Study(folder, space, seed=5)
        while asked := study.ask(trials):
            for number in sorted(asked, reverse=backwards):
                study.tell(number, Outcome(value=-abs(asked[number]["lr"] - better)))
        told = study.told()
        study.close()
    return [dict(choice) for _, (choice, _) in sorted(told.items())]


def test_a_proposal_depends_on_the_results_of_earlier_rounds_alone(tmp_path: Path) -> None:
    """Not on which trial of a round ends first, nor on where the sweep was ended and gone on."""
    straight = proposals(tmp_path / "a", [LONG], 0.05, backwards=False)
    assert len(straight) == LONG
    assert (
        proposals(tmp_path / "b", [1, ROUND + 2, 3 * ROUND - 1, LONG], 0.05, backwards=True)
        == straight
    )
    other = proposals(tmp_path / "c", [LONG], 0.001, backwards=False)
    assert other[: 2 * ROUND] == straight[: 2 * ROUND]
    assert other[2 * ROUND :] != straight[2 * ROUND :], "results guide the later ones"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{}", "has no `search_space:` section"),
        ("{tree: [10]}", r"search_space.tree = 10: unknown key 'tree'. Did you mean 'trees'"),
        (
            "{trees: {low: 5, high: 50}}",
            r"search_space.trees = 5: trees: .*greater than or equal to 10",
        ),
        ("{trees: [10, 5000]}", r"search_space.trees = 5000: trees: .*less than or equal to 1000"),
        ("{trees: {low: 10.0, high: 50.0}}", "whole numbers write both ends without a point"),
        ("{trees: {low: 50, high: 10}}", "low must be below high; found 50 and 10"),
        ("{trees: {low: 10, hihg: 50}}", "unknown key 'hihg'. Did you mean 'high'"),
        ("{trees: {low: 10, high: 50, step: 5, log: true}}", "log needs low above 0, and no step"),
        ("{trees: {low: 10.5, high: 50.5, step: 5}}", "step is for whole numbers"),
        ("{trees: []}", "search_space.trees is an empty list"),
        ("{trees: 10}", "search_space.trees is a range such as .* or a list of values; found 10"),
        ("{val: [0.1, 0.2]}", "val changes the data"),
        ("{trees.x: [1]}", "params.trees holds a value, no section"),
        ("{a: [1], a.b: [2]}", "choose the same thing twice"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(search: str, message: str) -> None:
    """Before anything is fetched or trained; the message says what is at fault."""
    document = {**yaml.safe_load(CONFIG), "name": "few", "search_space": yaml.safe_load(search)}
    document["params"]["trees"] = 10
    with pytest.raises(ConfigError, match=message):
        Space.of(RunConfig(**document))


def test_a_key_with_dots_is_a_nested_one() -> None:
    """And leaves its neighbours and the config itself as they are."""
    params = {"augmentation": {"scale": 0.1, "rotate_degrees": 5}}
    search = {"augmentation.scale": {"low": 0.0, "high": 0.5}, "lr": {"low": "1e-3", "high": 0.1}}
    space = Space.of(RunConfig(name="x", task="emotion", params=params, search=search))
    assert space.filled({"augmentation.scale": 0.3, "lr": 0.01}) == {
        "augmentation": {"scale": 0.3, "rotate_degrees": 5},
        "lr": 0.01,
    }
    assert params == {"augmentation": {"scale": 0.1, "rotate_degrees": 5}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "1 or more trials and jobs; found 0 and 1"),
        ({"jobs": 0}, "1 or more trials and jobs; found 20 and 0"),
        ({"candidate": "random_forrest"}, "Did you mean 'random_forest'"),
    ],
)
def test_what_is_asked_for_is_checked_first(
    home: Home, arguments: dict[str, Any], message: str
) -> None:
    """Nothing is fetched for a sweep that cannot be."""
    with pytest.raises(ConfigError, match=message):
        sweep(home.run, Workspace(home.path / "nowhere"), **arguments)
    assert not (home.path / "nowhere").exists()


@pytest.mark.parametrize("name", ["gesture", "gesture_sweep", "sample_gesture", "emotion"])
def test_the_spaces_of_the_projects_configs_can_be_searched(name: str) -> None:
    """Every end and every listed value is one that the task takes."""
    assert Space.of(config.load(ROOT / "configs" / f"{name}.yaml")).axes
