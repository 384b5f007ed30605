"""Promises of the demo without torch: public models where there are any, drawings elsewhere."""

import shutil
from pathlib import Path

import pytest
from project import ROOT
from public_models import task_with, toy, unreachable

from mien.cli.demo import drawn_run
from mien.cli.quick import make_model
from mien.storage.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
    return Workspace(tmp_path)


def test_a_public_model_is_taken_and_nothing_is_trained(workspace: Workspace) -> None:
    """It becomes champion, and there are no data."""
    assert "version 1 is champion" in make_model(task_with(toy=toy), workspace)
    assert not (workspace.home / "data").exists()


def test_without_a_network_the_other_tasks_go_on(workspace: Workspace) -> None:
    """The sentence says why a task is not served; no error ends the demo."""
    sentence = make_model(task_with(toy=unreachable), workspace)
    assert sentence.startswith("not served. No public model of gesture can be fetched.")
    assert workspace.aliases("gesture") == {}


def test_the_quick_config_trains_one_classical_candidate() -> None:
    """A task without such a config is trained with all defaults."""
    assert drawn_run("gesture", "quick").params == {"candidates": ["svm"]}
    run = drawn_run("emotion", "quick")
    assert (run.task, run.source, run.params) == ("emotion", "sample", {})


def test_the_recipe_uses_an_environment_of_its_own() -> None:
    """What it installs is in no way of the other recipes, and git ignores it."""
    assert ".venv-try/" in (ROOT / ".gitignore").read_text().splitlines()
    recipes = (ROOT / "tasks.py").read_text()
    assert 'TRY_LOCK = ROOT / ".venv-try", "requirements_classical.txt"' in recipes
