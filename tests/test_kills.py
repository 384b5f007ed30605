"""A run that is killed at any moment is completed by the next one, as if nothing had been."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from project import ROOT

from mien.model import bundle
from mien.storage.files import sha256_file
from mien.storage.versions import Store
from mien.storage.workspace import Workspace, model_name
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
    ("train", r"UPDATE latest_metrics", "half of the metrics of a fold"),
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
TASK = "gesture"


@dataclass(frozen=True)
class Run:
    """A finished or killed process, and all its moments."""

    code: int
    err: str
    moments: Sequence[str]


class Runs:
    """`mien run` of one config, each time in a process of its own that may die at a moment."""

    def __init__(self, config: Path, process: "subprocess.Popen[str]") -> None:
        self._config, self._process = config, process

    def __call__(self, home: Path, stage: str = "", pattern: str = "") -> Run:
        moments, err = (home.with_name(f"{home.name}.{kind}") for kind in ("moments", "err"))
        asked = [str(self._config), str(home), stage, pattern, str(moments), str(err)]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Run(code, err.read_text(), moments.read_text().splitlines())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Runs]:
    """See `killed.py`."""
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "killed.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Runs(tiny.write(tmp_path), process)
        process.stdin.close()  # type: ignore[union-attr]


def test_twenty_kills_leave_what_an_undisturbed_run_leaves(run: Runs, tmp_path: Path) -> None:
    """One version, one champion, data that are whole, the same network to the byte, every run of
    MLflow closed, and nothing half made."""
    calm, torn = Workspace(tmp_path / "calm"), Workspace(tmp_path / "torn")
    undisturbed = run(calm.home)
    assert undisturbed.code == 0, undisturbed.err
    assert len(KILLS) == 20
    for stage, pattern, left in KILLS:
        killed = run(torn.home, stage, pattern)
        assert killed.code == -signal.SIGKILL, f"{left}: {killed.err}{killed.moments}"
        assert killed.moments[-1].startswith(f"{stage}: "), left
    completed = run(torn.home)
    assert completed.code == 0, completed.err
    whole(torn)
    assert half_made(torn.home) == []
    assert networks(torn) == networks(calm)
    again = run(torn.home)
    assert again.err.count("unchanged, skipped") == 6, again.err


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


def networks(workspace: Workspace) -> dict[str, str]:
    """What must not depend on kills: prepared data and the champion's network, by checksum."""
    prepared = workspace.processed(TASK)
    found = [*prepared.glob("*/*.csv"), workspace.version(TASK, 1) / "model.onnx"]
    return {path.relative_to(workspace.home).as_posix(): sha256_file(path) for path in found}


def half_made(home: Path) -> list[str]:
    """Everything whose name says that it is not whole, wherever it lies."""
    odd = re.compile(r"\..*|.*\.unfinished.*|.*-journal")
    return [str(path.relative_to(home)) for path in home.rglob("*") if odd.fullmatch(path.name)]
