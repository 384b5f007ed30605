"""Promises of `dvc.yaml`: DVC runs the pipeline, keeps the raw data and brings it back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pages
import pytest
import yaml
from project import ROOT
from waiting import TRAINING_PATIENCE

pytestmark = [pytest.mark.xdist_group("dvc"), pytest.mark.long]

RUNS = {
    "gesture": {
        "config": "tiny",
        "file": "configs/tiny.yaml",
        "source": "sample",
        "watch": "src/mien/tasks/gesture",
    }
}
SAMPLE = "src/mien/tasks/gesture/configs/sample_gesture.yaml"
TINY = {
    "task": "gesture",
    "source": "sample",
    "seed": 0,
    "params": {"candidates": ["logistic_regression"], "cv_folds": 2, "accept_images": False},
}


@dataclass(frozen=True)
class Repository:
    """A repository of git and DVC, and the environment in which a user of it works."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=TRAINING_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *arguments: str) -> str:
        return self.run("python", "-m", "dvc", *arguments)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "-m", "state")


def environment(home: Path) -> dict[str, str]:
    """No configuration, cache or network of the machine; `mien` and `python` on the path."""
    commands = home / "bin"
    commands.mkdir()
    for name, text in (
        ("python", f'exec "{sys.executable}" "$@"'),
        ("dvc", f'exec "{sys.executable}" -m dvc "$@"'),
        ("mien", f'PYTHONPATH="$PWD/src" exec "{sys.executable}" -m mien.cli "$@"'),
    ):
        (commands / name).write_text(f"#!/bin/sh\n{text}\n")
        (commands / name).chmod(0o755)
    who = {"AUTHOR": "Test", "COMMITTER": "Test"}
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MIEN_")}
    return {
        **kept,
        **{f"GIT_{key}_NAME": name for key, name in who.items()},
        **{f"GIT_{key}_EMAIL": "test@example.org" for key in who},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "system"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The project as a fresh repository in which the pipeline of one small run went through."""
    home = tmp_path_factory.mktemp("dvc")
    folder = home / "repository"
    ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
    for name in ("src/mien", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "requirements_train.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump({"runs": RUNS}))
    (folder / "configs").mkdir()
    (folder / "configs" / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    repository = Repository(folder, environment(home))
    repository.run("git", "init", "--quiet")
    repository.commit()
    repository.dvc("repro", "evaluate@gesture")
    repository.commit()
    return repository


@pytest.fixture
def copy(done: Repository, tmp_path: Path) -> Repository:
    """The finished repository, to change."""
    shutil.copytree(done.folder, tmp_path / "copy", symlinks=True)
    return replace(done, folder=tmp_path / "copy")


def test_what_has_not_changed_is_not_run_again(done: Repository) -> None:
    """After a run everything is up to date, and git has nothing to add but what was committed."""
    result = done.dvc("repro", "evaluate@gesture")
    assert result.count("didn't change, skipping") == 3
    assert "Running stage" not in result
    assert done.run("git", "status", "--porcelain") == ""


def test_metrics_are_those_of_the_choice(done: Repository) -> None:
    """`dvc metrics show` prints scores in 0..1 of the candidate that the policy chose."""
    result = json.loads(done.dvc("metrics", "show", "--json"))
    (found,) = [each["data"] for each in result[""]["data"].values()]
    assert found["choice"] == "logistic_regression"
    assert 0.5 < found["test"]["macro_f1"] <= 1
    assert 0.5 < found["val"]["accuracy"] <= 1
    assert found["cpu_cost"] > 0


def test_the_disk_holds_raw_data_once(done: Repository) -> None:
    """DVC's cache and the workspace share the shards, which are read-only then."""
    shards = list((done.folder / "data" / "raw" / "gesture" / "shards").glob("*.zip"))
    cached = {path.stat().st_ino for path in (done.folder / ".dvc" / "cache").rglob("*")}
    assert [path.stat().st_ino in cached for path in shards] == [True]
    assert shards[0].stat().st_mode & 0o222 == 0


def test_an_experiment_repeats_the_training_alone(copy: Repository) -> None:
    """A param of the trainer changes: the data stay as they are, and the change is recorded."""
    result = copy.dvc("exp", "run", "-S", "configs/tiny.yaml:params.cv_folds=3", "train@gesture")
    assert "'data@gesture' didn't change" in result
    assert "Running stage 'train@gesture'" in result
    changed = yaml.safe_load((copy.folder / "configs" / "tiny.yaml").read_text())
    assert changed["params"]["cv_folds"] == 3
    trained = copy.folder / "models" / "gesture" / "trained"
    assert len([path for path in trained.iterdir() if path.is_dir()]) == 2


def test_raw_data_come_back_in_a_fresh_clone(copy: Repository, tmp_path: Path) -> None:
    """Push to a remote, clone, pull: every byte of every version is there, and the metrics."""
    copy.dvc("remote", "add", "--default", "store", str(tmp_path / "remote"))
    copy.dvc("push")
    copy.commit()
    copy.run("git", "clone", "--quiet", str(copy.folder), str(tmp_path / "clone"))
    clone = replace(copy, folder=tmp_path / "clone")
    clone.dvc("pull")
    assert "every byte is as it was stored" in clone.run("mien", "data", "verify", "gesture")
    raw = Path("data", "raw", "gesture")
    names = [path.relative_to(copy.folder / raw) for path in (copy.folder / raw).rglob("*.*")]
    assert names
    assert all((clone.folder / raw / name).read_bytes() for name in names)
    assert (clone.folder / "reports" / "gesture" / "metrics.json").is_file()
    assert not (clone.folder / "models").joinpath("gesture", "trained").exists()


def test_every_command_of_the_page_runs(copy: Repository, tmp_path: Path) -> None:
    """In their order; the remote is a folder, and the training of the drawn sample a short one."""
    run = {**RUNS["gesture"], "config": "sample_gesture", "file": SAMPLE}
    (copy.folder / SAMPLE).write_text(yaml.safe_dump(TINY))
    (copy.folder / "params.yaml").write_text(yaml.safe_dump({"runs": {"gesture": run}}))
    copy.commit()
    script = pages.script("dvc.md").replace("s3://bucket/path", str(tmp_path / "remote"))
    *lines, pull = script.splitlines()
    assert pull.startswith("dvc pull")
    out = copy.run("bash", "-euc", "\n".join(lines))
    assert "Running stage 'register@gesture'" in out
    assert yaml.safe_load((copy.folder / SAMPLE).read_text())["params"]["trees"] == 200
    assert "macro_f1" in out
    copy.commit()
    copy.run("git", "clone", "--quiet", str(copy.folder), str(tmp_path / "clone"))
    clone = replace(copy, folder=tmp_path / "clone")
    clone.run("bash", "-euc", pull)
    assert "every byte is as it was stored" in clone.run("mien", "data", "verify", "gesture")


def test_nothing_is_sent_to_anybody() -> None:
    """DVC neither reports its use nor asks for newer versions of itself."""
    settings = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in settings
    assert "check_update = false" in settings
    assert "[remote" not in settings


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


def test_every_run_names_what_is_there() -> None:
    """Each run has a config of its task, and every file that a stage depends on exists."""
    stages = [stage["do"] for stage in read("dvc.yaml")["stages"].values()]
    for task, run in read("params.yaml")["runs"].items():
        assert read(run["file"])["task"] == task
        assert Path(run["file"]).stem == run["config"]
        known = {"${key}": task, **{f"${{item.{name}}}": value for name, value in run.items()}}
        for path in (path for stage in stages for path in stage["deps"]):
            for name, value in known.items():
                path = path.replace(name, value)
            assert (ROOT / path).exists() or path.startswith(("data/", "models/")), path


def test_raw_data_alone_are_kept_and_never_deleted() -> None:
    """Older versions stay through a run; models are followed by the name of their folder."""
    stages = [stage["do"] for stage in read("dvc.yaml")["stages"].values()]
    outs = {name: out[name] for each in stages for out in each.get("outs", ()) for name in out}
    assert all(settings["persist"] for settings in outs.values())
    cached = [name for name, settings in outs.items() if settings.get("cache", True)]
    assert cached == ["data/raw/${key}"]
