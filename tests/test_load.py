"""Promises of a run on a busy machine: the same champion, and nothing that is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from load import busy_loops, limited
from project import ROOT

from mien import tasks
from mien.config import Policy
from mien.storage.workspace import RESULT, Workspace, read_latest

pytestmark = pytest.mark.long

HOURS = 3600


def write_config(folder: Path) -> Path:
    """Two candidates that read pictures, under the limits of the shipped config."""
    path = tiny.write(folder)
    document = yaml.safe_load(path.read_text())
    shipped = yaml.safe_load(tasks.configs()["sample_gesture"].read_text())
    document["params"] |= {"candidates": ["logistic_regression", "svm"], "accept_images": True}
    document["policy"] = shipped["policy"]
    path.write_text(yaml.safe_dump(document))
    return path


def run(
    config: Path, home: Path, *prefix: str, policy: str = ""
) -> "subprocess.CompletedProcess[str]":
    command = [*prefix, sys.executable, "-m", "mien.cli", "run", str(config), "--home", str(home)]
    command += ["--force", "a test"] + (["--set", policy] if policy else [])
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=HOURS, check=False
    )


def evaluation(home: Path) -> dict[str, Any]:
    folder = read_latest(Workspace(home).evaluated("gesture"), tiny.NAME, "")
    document: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return document


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A config, and the workspace of its run without a load."""
    folder = tmp_path_factory.mktemp("load")
    config, home = write_config(folder), folder / "idle"
    done = run(config, home)
    assert done.returncode == 0, done.stdout + done.stderr
    return config, home


def test_load_and_a_quota_do_not_change_the_champion(
    idle: tuple[Path, Path], tmp_path: Path
) -> None:
    """Half a processor and four busy loops: each candidate keeps the limits, and the same wins."""
    config, home = idle
    shutil.copytree(home, busy := tmp_path / "busy")
    shutil.rmtree(Workspace(busy).evaluated("gesture"))
    with limited(0.5) as prefix, busy_loops(4):
        done = run(config, busy, *prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = evaluation(home), evaluation(busy)
    assert after["choice"] == before["choice"]
    assert [row["fault"] for row in after["candidates"]] == ["", ""]


def test_a_slow_machine_has_room_below_the_shipped_limit(idle: tuple[Path, Path]) -> None:
    """The limit is a ratio; what a request costs here is at most half of it."""
    measured = evaluation(idle[1])
    limit = Policy.model_validate(measured["policy"]).max_cpu_cost
    for row in measured["candidates"]:
        assert row["cpu_cost"]["median"] < limit / 2


def test_a_run_that_fails_late_says_what_is_kept_and_how_to_resume(
    idle: tuple[Path, Path], tmp_path: Path
) -> None:
    """A limit that nobody keeps: the message names stages and limit; then nothing is trained."""
    config, home = idle
    shutil.copytree(home, tight := tmp_path / "tight")
    failed = run(config, tight, policy="policy.max_cpu_cost=0.0001")
    assert failed.returncode == 1
    assert "policy.max_cpu_cost" in failed.stderr
    assert "Kept, and not done again: data, check, prepare, train" in failed.stderr
    assert "run the same command again: it goes on with evaluate" in failed.stderr
    again = run(config, tight)
    assert again.returncode == 0, again.stderr
    assert "train" in again.stderr
    assert "unchanged, skipped" in next(
        line for line in again.stderr.splitlines() if ": train" in line
    )
