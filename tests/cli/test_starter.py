"""Promises of the demo's public model: served where it can be fetched, else a sentence why not."""

import shutil
import threading
from pathlib import Path

import pytest
from public_models import task_with, toy, unreachable

from mien.cli.starter import StarterFetch, longest_wait_s, served_origin
from mien.storage.workspace import Workspace
from mien.task import Fit


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
    return Workspace(tmp_path)


def test_a_fetched_model_is_served(workspace: Workspace) -> None:
    """The sentence names its version and what it was trained on."""
    sentence = StarterFetch(task_with(toy=toy), workspace).register()
    assert "gesture: pulled a public model: version 1 is champion" in sentence
    assert "The champion's trained_on is pretrained." in sentence
    assert served_origin("gesture", workspace) == "pretrained"


def test_without_a_network_the_sentence_says_what_is_served(workspace: Workspace) -> None:
    """Nothing is registered, and nothing fails."""
    sentence = StarterFetch(task_with(toy=unreachable), workspace).register()
    assert "the model of drawings is served (trained_on: synthetic)" in sentence
    assert "npm: expected it on PATH, found none" in sentence
    assert served_origin("gesture", workspace) is None


@pytest.mark.parametrize(("limit_s", "wait_s"), [(1e-9, 600.0), (600.0, 0.01)])
def test_a_slow_network_is_not_waited_for(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], limit_s: float, wait_s: float
) -> None:
    """The demo goes on after the bound since the start, and after that since nothing is trained;
    it says once that it waits, and how to fetch the model."""
    stop = threading.Event()

    def hang(out: Path, timeout_s: float) -> Fit:
        stop.wait()
        return toy(out, timeout_s)

    try:
        sentence = StarterFetch(task_with(toy=hang), workspace, limit_s).register(wait_s)
    finally:
        stop.set()
    assert "no public model was fetched in time; `mien pull gesture` takes the time" in sentence
    assert capsys.readouterr().err.count("waiting up to") == (wait_s == 0.01)


def test_a_demo_that_trains_nothing_waits_for_seconds_only() -> None:
    """A training hides a longer fetch."""
    assert longest_wait_s(["data", "train", "register"]) <= 3 < longest_wait_s(["data"])
