"""Adding a task is one new folder under `tasks/`; deleting one takes its route and tests along."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from project import ROOT
from waiting import TRAINING_PATIENCE

from mien.errors import ConfigError
from mien.stages import scaffold

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
    """A copy of the project with the folder of a new task, and nothing else."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    assert scaffold.write_task(NEW, folder) == folder / "src" / "mien" / "tasks" / NEW
    return folder


def python(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in the copy; a pytest in it is no worker of the one that runs this test."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**own, "PYTHONPATH": str(project / "src"), "MIEN_HOME": str(project)},
        capture_output=True,
        text=True,
        timeout=TRAINING_PATIENCE,
        check=False,
    )


@pytest.mark.long
def test_a_new_task_works_at_once(project: Path, tmp_path: Path) -> None:
    """The command lists it, the contract suite passes, and its champion answers on its route."""
    assert NEW in python(project, "-m", "mien.cli", "tasks").stdout
    suite = python(
        project, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider",
        "tests/tasks/test_contract.py", "-k", f"{NEW} and not empty_picture",
    )  # fmt: skip
    assert suite.returncode == 0, suite.stdout
    assert "skipped" not in suite.stdout

    run = ("-m", "mien.cli", "run", NEW, "--source", "sample", "--home", str(tmp_path))
    done = python(project, *run, "--force", "a test")
    assert done.returncode == 0, done.stderr
    assert "version 1 is champion" in done.stderr
    answer = python(project, "-c", ASK, str(tmp_path / "models" / NEW / "versions" / "1"))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[NEW] == "blue"


@pytest.mark.long
def test_the_commands_of_the_page_make_a_task(project: Path, tmp_path: Path) -> None:
    """In a clone; `mien`, `python` and `pytest` are those of its environment."""
    clone = tmp_path / "clone"
    shutil.copytree(project, clone)
    shutil.rmtree(clone / "src" / "mien" / "tasks" / NEW)
    (clone / "bin").mkdir()
    for name, module in (("mien", "mien.cli"), ("pytest", "pytest")):
        program = clone / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        program.chmod(0o755)
    script = pages.script("own_project.md", "mien new-task")
    source = {"PYTHONPATH": str(clone / "src"), "MIEN_HOME": str(tmp_path)}
    out = pages.run(script, clone, **source, PYTEST_ADDOPTS="-p no:cacheprovider")
    assert f"mien-{NEW} version 1 is" in out
    assert re.search(r"\d+ passed", out)


def test_a_new_task_passes_the_checkers(project: Path) -> None:
    """Style and strict types hold for what the command writes."""
    folder = project / "src" / "mien" / "tasks" / NEW
    assert (folder / "configs" / f"{NEW}.yaml").is_file()
    for command in (("ruff", "check"), ("ruff", "format", "--check")):
        done = python(project, "-m", *command, str(folder))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [("Signs", "expected lower-case letters"), ("gesture", "There is a task 'gesture'")],
)
def test_a_name_that_is_none_is_refused(project: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scaffold.write_task(name, project)


def test_an_installed_package_gets_no_task(tmp_path: Path) -> None:
    """Nothing is written where pip installed mien."""
    with pytest.raises(ConfigError, match="expected a clone of its repository"):
        scaffold.write_task(NEW, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
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
