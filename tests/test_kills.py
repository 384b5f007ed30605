"""A run, or a loop from reviews to a promotion, that is killed at any moment is completed by the
next command, as if nothing had been."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from project import ROOT
from reviewed import KEY, keep_hands

from mien.model import bundle
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.observability.review.store import ReviewStore
from mien.stages import retrain
from mien.storage import shadow
from mien.storage.cache import CACHE_VARIABLE, cache_folder
from mien.storage.files import sha256_file
from mien.storage.versions import Store
from mien.storage.workspace import MANIFEST, Workspace, model_name
from mien.tasks.gesture.sample import landmark_rows
from mien.tracking import Tracker

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.long]

KILLS = (
    ("data", r"open .*/shards/\.new-", "nothing is there yet"),
    ("data", r"rename .*/shards/\.new-", "a shard is whole and has no name"),
    ("data", r"rename .*/versions/\.", "a shard that no version lists"),
    ("check", r"open .*/\.open-.*hands\.csv", "a version that is being unpacked"),
    ("check", r"rename .*/checked/gesture/\.[0-9a-f]{12}\.", "a report that is not in its place"),
    ("prepare", r"open .*/processed/.*/val\.csv", "half of the prepared data"),
    ("prepare", r"rename .*/raw/.*/\.latest", "a version that is not the newest"),
    ("prepare", r"rename .*/processed/.*/\.[\w.]*latest", "prepared data that are nobody's"),
    ("tables", r"ALTER TABLE", "a part of MLflow's tables"),
    ("train", r"INSERT INTO params .*'cv_folds'", "a run that no folder knows"),
    ("train", r"INSERT INTO latest_metrics", "metrics that no newest one follows"),
    ("train", r"rename .*/trained/\w+/\.logistic", "a bundle that is not in its place"),
    ("train", r"UPDATE runs SET status='FINISHED'", "a bundle whose run is not closed"),
    ("evaluate", r"open .*/figures/reliability\.png", "half of the figures"),
    ("evaluate", r"open .*/mlruns/.*/model\.onnx", "half of the artifacts"),
    ("evaluate", r"rename .*/evaluated/\.[0-9a-f]{12}\.", "an evaluation not in its place"),
    ("register", r"INSERT INTO model_version_tags", "half of a version"),
    ("register", r"open .*/versions/\.1\..*/model\.onnx", "a version without a bundle"),
    ("register", r"INSERT INTO registered_model_tags", "a champion without a history"),
    ("register", r"rename .*/\.aliases\.json", "a champion that is not exported"),
)
"""Stage, the moment in it, and what is found by the next run, which dies at the next one."""
RETRAINING_KILLS = (
    ("begin", r"rename .*/\.retrain\.json", "a training that is not written down"),
    ("data", r"open .*/\.open-retrain.*/all/.*csv", "a version that is being made"),
    ("data", r"rename .*/versions/\.", "a shard that no version lists"),
    ("check", r"rename .*/checked/gesture/\.[0-9a-f]{12}\.", "a report that is not in its place"),
    ("prepare", r"open .*/processed/.*/val\.csv", "half of the prepared data"),
    ("prepare", r"rename .*/processed/.*/\.[\w.]*latest", "prepared data that are nobody's"),
    ("train", r"rename .*/trained/\w+/\.logistic", "a bundle that is not in its place"),
    ("evaluate", r"open .*/mlruns/.*/model\.onnx", "half of the artifacts"),
    ("evaluate", r"rename .*/evaluated/\.[0-9a-f]{12}\.", "an evaluation not in its place"),
    ("register", r"INSERT INTO model_version_tags", "half of a version"),
    ("register", r"open .*/versions/\.2\..*/model\.onnx", "a version without a bundle"),
    ("register", r"rename .*/\.aliases\.json", "a challenger that is not exported"),
    ("register", r"rename .*/\.retrain_2\.md", "half of a report"),
    ("evaluate", r"rename .*/\.retrain\.json", "a training that seems to go on"),
)
SHADOW_KILLS = (("begin", r"rename .*/\.shadow\.json", "a shadow that has not begun"),)
PROMOTION_KILLS = (
    ("begin", r"registered_model_aliases", "a champion that is not moved"),
    ("begin", r"rename .*/\.aliases\.json", "a champion that is not exported"),
    ("begin", r"remove .*/shadow\.json", "a champion that is its own challenger"),
)
TASK = "gesture"


@dataclass(frozen=True)
class Run:
    """A finished or killed process, and all its moments."""

    code: int
    err: str
    moments: Sequence[str]


class Runs:
    """`mien run` of one config, and other commands, each time in a process of its own that may die
    at a moment."""

    def __init__(self, config: Path, process: "subprocess.Popen[str]") -> None:
        self._config, self._process = config, process

    def __call__(self, home: Path, stage: str = "", pattern: str = "", command: str = "") -> Run:
        moments, err = (home.with_name(f"{home.name}.{kind}") for kind in ("moments", "err"))
        arguments = command.split() or ["run", str(self._config), "--force", "test"]
        asked = [arguments, str(home), stage, pattern, str(moments), str(err)]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Run(code, err.read_text(), moments.read_text().splitlines())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The user's cache, but for MLflow's tables."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for each in cache_folder().iterdir():
        if not each.name.startswith("mlflow-"):
            (folder / each.name).symlink_to(each)
    return folder


@pytest.fixture
def run(tmp_path: Path, cache: Path) -> Iterator[Runs]:
    """See `killed.py`."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text("#!/bin/sh\nexit 1\n")  # as where mien is installed
    (bin_ / "git").chmod(0o755)
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "killed.py")],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PATH": os.pathsep.join([str(bin_), os.environ["PATH"]]),
            "MIEN_REVIEW_KEY": KEY,
            CACHE_VARIABLE: str(cache),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Runs(tiny.write(tmp_path), process)
        process.stdin.close()  # type: ignore[union-attr]


def test_twenty_kills_leave_what_an_undisturbed_run_leaves(
    run: Runs, tmp_path: Path, cache: Path
) -> None:
    """One version, one champion, data that are whole, the same network to the byte, every run of
    MLflow closed, and nothing half made."""
    calm, torn = Workspace(tmp_path / "calm"), Workspace(tmp_path / "torn")
    undisturbed = run(calm.home)
    assert undisturbed.code == 0, undisturbed.err
    assert len(KILLS) == 20
    for stage, pattern, left in KILLS:
        if stage == "tables":
            for each in cache.glob("mlflow-*"):
                each.unlink()
        killed = run(torn.home, stage, pattern)
        assert killed.code == -signal.SIGKILL, f"{left}: {killed.err}{killed.moments}"
        assert killed.moments[-1].startswith(f"{stage}: "), left
    completed = run(torn.home)
    assert completed.code == 0, completed.err
    whole(torn)
    assert half_made(torn.home) == []
    assert list(cache.glob(".mlflow-*")) == []
    assert networks(torn) == networks(calm)
    again = run(torn.home)
    assert again.err.count("unchanged, skipped") == 6, again.err


@pytest.mark.parametrize("lost", ["run", "database"])
def test_a_killed_training_whose_run_was_deleted_goes_on(
    run: Runs, tmp_path: Path, lost: str
) -> None:
    """In MLflow's page, or with the whole database: the same command ends with one champion."""
    home = Workspace(tmp_path / "home")
    killed = run(home.home, "train", r"INSERT INTO latest_metrics")
    assert killed.code == -signal.SIGKILL, killed.err
    (open_run,) = runs_of(home)
    if lost == "run":
        Tracker(home.home)._client.delete_run(open_run)
    else:
        home.database.unlink()
    completed = run(home.home)
    assert completed.code == 0, completed.err
    whole(home)
    assert runs_of(home) != [open_run]


def test_a_deleted_experiment_or_run_is_named_with_the_command_that_restores_it(
    run: Runs, tmp_path: Path
) -> None:
    """`mien run` ends without a traceback; after that command it goes on where it was."""
    home = Workspace(tmp_path / "home")
    killed = run(home.home, "evaluate", r"open .*/mlruns/.*/model\.onnx")
    assert killed.code == -signal.SIGKILL, killed.err
    client, (trained,) = Tracker(home.home)._client, runs_of(home)
    experiment = client.get_run(trained).info.experiment_id
    for delete, message in (
        (lambda: client.delete_run(trained), f"Run {trained} was deleted in MLflow"),
        (lambda: client.delete_experiment(experiment), "The experiment 'gesture' was deleted"),
    ):
        delete()
        refused = run(home.home)
        assert (refused.code, "Traceback" in refused.err) == (1, False), refused.err
        assert message in refused.err
        (restore,) = re.findall(r"Restore it: `(.+?)`", refused.err)
        folder = Path(sys.executable).parent
        path = os.pathsep.join([str(folder), os.environ["PATH"]])
        subprocess.run(restore, shell=True, check=True, env={**os.environ, "PATH": path})
    completed = run(home.home)
    assert completed.code == 0, completed.err
    whole(home)
    assert runs_of(home) == [trained]


def runs_of(workspace: Workspace) -> list[str]:
    """The runs that were not deleted; reads the file, which a test may delete."""
    with closing(sqlite3.connect(workspace.database)) as database:
        rows = database.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
        return [run for (run,) in rows]


def test_a_loop_that_is_killed_at_every_step_loses_and_promotes_nothing_half(
    run: Runs, tmp_path: Path
) -> None:
    """From reviews to the promotion: labels stay, each step is done once, and at every moment there
    is one champion whose bundle is whole."""
    calm, torn = Workspace(tmp_path / "calm"), Workspace(tmp_path / "torn")
    assert run(calm.home).code == 0
    review(calm)
    shutil.copytree(calm.home, torn.home)
    labels = (torn.review / TASK / "labels.jsonl").read_bytes()
    commands = (
        (f"retrain {TASK}", RETRAINING_KILLS),
        (f"shadow {TASK} 2 --share 1", SHADOW_KILLS),
        (f"shadow {TASK} --promote", PROMOTION_KILLS),
    )
    for command, kills in commands:
        undisturbed = run(calm.home, command=command)
        assert undisturbed.code == 0, undisturbed.err
        for stage, pattern, left in kills:
            killed = run(torn.home, stage, pattern, command)
            assert killed.code == -signal.SIGKILL, f"{left}: {killed.err}{killed.moments}"
            promoted = torn.aliases(TASK)["champion"]
            assert promoted == 1 or command.endswith("--promote"), left
            assert bundle.read(torn.version(TASK, promoted)).manifest.task == TASK, left
        completed = run(torn.home, command=command)
        assert completed.code == 0, completed.err
        if command.startswith("retrain"):
            answer(calm)
            answer(torn)
    assert torn.aliases(TASK) == calm.aliases(TASK) == {"champion": 2}
    assert torn.exported_aliases(TASK) == {"champion": 2}
    assert networks(torn, 2) == networks(calm, 2)
    assert (torn.review / TASK / "labels.jsonl").read_bytes() == labels
    assert shadow.read(torn, TASK) is None
    assert [each for each in half_made(torn.home) if "/.labels.lock" not in each] == []
    trainings = retrain.history(torn, TASK)
    assert (trainings[-1].state, trainings[-1].result) == ("registered", "version 2")
    assert len(trainings) == len(RETRAINING_KILLS), "the first one died before it was written down"
    every_run_is_closed(torn, [1, 2])


def review(workspace: Workspace) -> None:
    """Hands that people labelled."""
    keep_hands(ReviewStore(workspace.review, KEY), *landmark_rows(2, 9))


def answer(workspace: Workspace) -> None:
    """What a server records where version 2 is better, with feedback."""
    numbers = (1, 2)
    digests = [sha256_file(workspace.version(TASK, each) / MANIFEST) for each in numbers]
    with closing(PredictionLog(workspace.prediction_log)) as log:
        for number in range(100):
            name, now = f"{number:032x}", time.time()
            new = "fist" if number % 2 else "like"
            log.add(PredictionRecord(name, now, TASK, "1", digests[0], "ok", "like", 1, {}, 0.01))
            row = (name, now, "2", digests[1], "ok", new, 0.002, digests[0], "like", 0.001)
            log.add_shadow([ShadowRecord(*row)])
            log.record_feedback(name, new, now)


def every_run_is_closed(workspace: Workspace, versions: list[int]) -> None:
    """What MLflow, its export and the store say."""
    tracker = Tracker(workspace.home)
    assert sorted(each.number for each in tracker.versions(model_name(TASK))) == versions
    assert tracker.aliases(model_name(TASK)) == workspace.exported_aliases(TASK)
    assert Store(workspace.raw(TASK)).verify() == []
    experiment = tracker._client.get_experiment_by_name(TASK)
    assert experiment is not None
    runs = tracker._client.search_runs([experiment.experiment_id])
    assert [each.info.status for each in runs] == ["FINISHED"] * len(versions)


def whole(workspace: Workspace) -> None:
    """What the registry, its export and the store promise after any run."""
    tracker = Tracker(workspace.home)
    assert [each.number for each in tracker.versions(model_name(TASK))] == [1]
    assert tracker.aliases(model_name(TASK)) == workspace.aliases(TASK) == {"champion": 1}
    champion = bundle.read(workspace.version(TASK, 1))
    store = Store(workspace.raw(TASK))
    assert store.verify() == []
    assert [each.root for each in store.versions()] == [champion.manifest.lineage.data_fingerprint]
    client = tracker._client
    experiment = client.get_experiment_by_name(TASK)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [each.info.status for each in runs] == ["FINISHED"]
    assert runs[0].data.params["candidate"] == tiny.CANDIDATE
    assert "test/macro_f1" in runs[0].data.metrics


def networks(workspace: Workspace, number: int = 1) -> dict[str, str]:
    """What must not depend on kills: prepared data and the champion's network, by checksum."""
    prepared = workspace.processed(TASK)
    found = [*prepared.glob("*/*.csv"), workspace.version(TASK, number) / "model.onnx"]
    return {path.relative_to(workspace.home).as_posix(): sha256_file(path) for path in found}


def half_made(home: Path) -> list[str]:
    """Everything whose name says that it is not whole, wherever it lies."""
    odd = re.compile(r"\..*|.*\.unfinished.*|.*-journal")
    return [str(path.relative_to(home)) for path in home.rglob("*") if odd.fullmatch(path.name)]
