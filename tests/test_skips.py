"""What has not changed is not done again: decided by content, never by a time stamp."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from project import ROOT

from mien import config, pipeline
from mien.model import bundle
from mien.pipeline import RunReport
from mien.storage.workspace import Workspace

STAGES = ["data", "check", "prepare", "train", "evaluate", "register"]
HEAVY = {
    "alembic", "lightgbm", "matplotlib", "mlflow", "onnx", "onnxruntime", "pandas", "scipy",
    "skl2onnx", "sklearn", "sqlalchemy", "torch",
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A workspace after its first run, and the config of it."""

    workspace: Workspace
    path: Path

    def again(self, *overrides: str) -> RunReport:
        return pipeline.run(config.load(self.path, overrides), self.workspace)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Done:
    folder = tmp_path_factory.mktemp("skips")
    (folder / "home").mkdir()
    shutil.copy(mlflow_database, folder / "home")
    path = tiny.write(folder)
    made = Done(Workspace(folder / "home"), path)
    first = made.again()
    assert (list(first.seconds), first.skipped) == (STAGES, [])
    return made


def repeated(report: RunReport) -> list[str]:
    return [stage for stage in report.seconds if stage not in report.skipped]


@pytest.mark.long
def test_a_model_of_a_users_data_knows_real_data(done: Done) -> None:
    """What a model was trained on follows from its data version, into bundle, card and table."""
    folder = done.workspace.version("gesture", 1)
    assert bundle.read(folder).manifest.lineage.trained_on == "real"
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "trained_on: real" in card
    assert (done.workspace.reports("gesture") / "card.md").read_text(encoding="utf-8") == card


def test_a_second_run_does_nothing(done: Done) -> None:
    """No stage works, and nothing is loaded that only work needs: it is over in the time that it
    takes to look."""
    home = str(done.workspace.home)
    command = [sys.executable, "-X", "importtime", "-m", "mien.cli", "run", str(done.path)]
    ended = subprocess.run(
        [*command, "--home", home], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert re.findall(r"gesture: (\w+) .*unchanged, skipped", ended.stderr) == STAGES
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in ended.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "pydantic" in loaded
    assert loaded & HEAVY == set()


def test_a_second_run_writes_and_reads_no_data(done: Done) -> None:
    """What is there stays as it is, to the time of its last change; no raw data are unpacked."""
    kept = [
        path
        for folder in ("data/raw/gesture/shards", "data/processed", "data/checked", "models")
        for path in (done.workspace.home / folder).rglob("*")
        if path.is_file() and not path.name.endswith((".latest", "lock", "data.txt"))
    ]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert len(before) > 20
    assert repeated(done.again()) == []
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_touching_files_repeats_nothing(done: Done) -> None:
    """The source, the config and everything in the workspace, an hour into the future."""
    folder = done.path.parent
    touched = [path for path in folder.rglob("*") if path.is_file()]
    assert len(touched) > 40
    for path in touched:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 3600 * 10**9))
    assert repeated(done.again()) == []


CHANGES = {
    "what the trainer does": ("params.cv_folds=3", ["train", "evaluate", "register"]),
    "what the policy asks": ("policy.max_bundle_mb=30", ["evaluate", "register"]),
    "the level of a check": ("checks.class_imbalance.level=error", ["check"]),
}


@pytest.mark.parametrize(("change", "stages"), CHANGES.values(), ids=list(CHANGES))
def test_a_change_repeats_what_depends_on_it(
    done: Done, change: str, stages: Sequence[str]
) -> None:
    """And nothing before it; back again, nothing at all is repeated."""
    assert set(repeated(done.again(change))) == set(stages)
    assert repeated(done.again()) == []


@pytest.mark.long
def test_other_rows_repeat_everything(done: Done, tmp_path: Path) -> None:
    """A source of the same name and size, one number of which is another one."""
    source = done.path.parent / "hands.csv"
    text = source.read_text(encoding="utf-8")
    digit = re.search(r"\d(?=\d,)", text[len(text) // 2 :])
    assert digit is not None
    place = len(text) // 2 + digit.start()
    other = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    (tmp_path / "hands.csv").write_text(other, encoding="utf-8")
    assert len(other) == len(text)
    done_again = done.again(f"source={json.dumps(str(tmp_path / 'hands.csv'))}")
    assert repeated(done_again) == STAGES
