"""Promises of `mien.storage.registry`: MLflow's own tables, read without MLflow."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mien.storage.registry import RegistryState, read_registry
from mien.storage.workspace import Workspace
from mien.tracking import Tracker

MODEL = "mien-t"


@pytest.fixture
def home(tmp_path: Path, mlflow_database: Path) -> Path:
    shutil.copy(mlflow_database, tmp_path)
    return tmp_path


def registered(home: Path, *untrusted: bool) -> Tracker:
    """A registry with one version for each argument."""
    tracker = Tracker(home)
    with tracker.run("t", "svm", home, {}, {}):
        for number, tagged in enumerate(untrusted):
            tags = {"mien.untrusted": "no commit"} if tagged else {}
            tracker.register(MODEL, home, f"digest {number}", tags, lambda _: False)
    return tracker


def test_aliases_are_read_as_mlflow_has_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved, and gone with the version that they name."""
    tracker = registered(home, False, False)
    workspace = Workspace(home)
    tracker._client.set_registered_model_alias(MODEL, "champion", "2")
    assert workspace.aliases("t") == {"champion": 2} == tracker.aliases(MODEL)
    monkeypatch.chdir(home)
    assert Workspace(Path()).aliases("t") == {"champion": 2}, "by default it is the current folder"
    tracker._client.delete_model_version(MODEL, "2")
    workspace.write_aliases("t", {"champion": 2})
    assert workspace.aliases("t") == {} == tracker.aliases(MODEL)
    assert workspace.exported_aliases("t") == {"champion": 2}


def test_a_champion_that_is_not_trusted_counts_once_it_was_forced(home: Path) -> None:
    """In MLflow's page anybody can move the alias; the champion that was exported stays."""
    tracker = registered(home, False, True)
    workspace = Workspace(home)
    tracker._client.set_registered_model_alias(MODEL, "champion", "2")
    assert workspace.aliases("t") == {}
    workspace.write_aliases("t", {"champion": 1})
    assert workspace.aliases("t") == {"champion": 1}
    tracker.move(MODEL, "champion", 2, "forced promote", "needed")
    assert workspace.aliases("t") == {"champion": 2}
    digests = {1: frozenset({"digest 0"}), 2: frozenset({"digest 1"})}
    expected = RegistryState({"champion": 2}, frozenset(), digests)
    assert read_registry(workspace.database, MODEL) == expected


def test_the_export_counts_where_there_is_no_database_that_can_be_read(home: Path) -> None:
    """A server has the models alone; another MLflow may have other tables."""
    workspace = Workspace(home)
    workspace.database.unlink()
    workspace.write_aliases("t", {"champion": 1})
    assert workspace.aliases("t") == {"champion": 1}
    with closing(sqlite3.connect(workspace.database)) as database, database:
        database.execute("create table other (name)")
    assert read_registry(workspace.database, MODEL) is None
    assert workspace.aliases("t") == {"champion": 1}
