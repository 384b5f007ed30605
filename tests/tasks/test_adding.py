"""Adding a task is one new folder under `tasks/`; deleting one takes its route and tests along."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT
from waiting import PATIENCE

from mien.model import bundle
from mien.model.bundle import MANIFEST

NEW = "signs"

ASK = """
import io, sys
from pathlib import Path
import requests
from mien import config, tasks
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace

picture = io.BytesIO()
tasks.load("signs").inference.sample_picture().save(picture, "PNG")
settings = config.settings().model_copy(update={"port": 0})
folder = Path(sys.argv[1])
with serve.running(Workspace(folder.parent / "home"), [], [folder], settings) as address:
    files = {"file": ("hand.png", picture.getvalue(), "image/png")}
    print(requests.post(f"{address}/predict/signs", files=files, timeout=60).text)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more folder, a copy of `tasks/gesture`, and nothing else."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(folder / "src/mien/tasks/gesture", folder / f"src/mien/tasks/{NEW}")
    return folder


def python(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src"), "MIEN_HOME": str(project)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.long
def test_a_copied_folder_is_a_task(project: Path, fitted_gesture: Path) -> None:
    """The command lists it, the contract suite runs it, and the server answers on its route."""
    assert NEW in python(project, "-m", "mien.cli", "tasks").stdout
    suite = python(
        project, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider",
        "tests/tasks/test_contract.py", "-k", f"{NEW} and not champion and not empty_picture",
    )  # fmt: skip
    assert suite.returncode == 0, suite.stdout
    assert " passed" in suite.stdout

    renamed = project / "bundle"
    shutil.copytree(fitted_gesture, renamed)
    manifest = bundle.read(renamed).manifest.model_copy(update={"task": NEW})
    (renamed / MANIFEST).unlink()
    bundle.write(renamed, manifest)
    answer = python(project, "-c", ASK, str(renamed))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[NEW] == "like"


def test_a_deleted_folder_takes_its_tests_along(project: Path, tmp_path: Path) -> None:
    """What is left still works: the task is not listed, its tests are not collected."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    shutil.rmtree(copy / "src/mien/tasks/emotion")
    listed = python(copy, "-m", "mien.cli", "tasks").stdout
    assert "gesture" in listed
    assert "emotion" not in listed
    found = python(
        copy, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests/tasks"
    )
    assert found.returncode == 0, found.stdout
    assert "tests/tasks/test_contract.py" in found.stdout
    assert "emotion" not in found.stdout
