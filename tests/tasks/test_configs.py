"""Configs come with mien, so that a run needs no file of its user; a user's own come first."""

from pathlib import Path

import pytest

from mien import config, tasks
from mien.errors import ConfigError, UnknownTaskError
from mien.stages import Run
from mien.storage.workspace import Workspace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(tasks.configs()))
def test_every_shipped_config_is_found_by_its_name(name: str, folder: Path) -> None:
    """From an empty folder; its params fit its task."""
    run = tasks.run_config(name)
    assert run.name == name
    assert Run.resolve(run, Workspace(folder)).task.name in name


def test_every_task_has_a_config_of_its_name() -> None:
    assert set(tasks.names()) <= set(tasks.shipped_configs())


def test_own_configs_come_first(folder: Path) -> None:
    """A changed copy, and one of a new name; a folder of the name of a config does not matter."""
    (folder / "configs").mkdir()
    (folder / "gesture").mkdir()
    (folder / "configs" / "gesture.yaml").write_text("task: gesture\nseed: 7\n")
    (folder / "configs" / "mine.yaml").write_text("task: emotion\nseed: 8\n")
    assert tasks.run_config("gesture").seed == 7
    assert tasks.run_config("mine").seed == 8
    assert tasks.run_config("emotion").seed == 0


def test_a_path_is_taken_as_it_is(folder: Path) -> None:
    (folder / "gesture.yaml").write_text("task: gesture\nseed: 9\n")
    for path in ("gesture.yaml", folder / "gesture.yaml"):
        run = tasks.run_config(path, "rows.csv", ["params.trees=10"])
        assert (run.seed, run.source, run.params["trees"]) == (9, "rows.csv", 10)


def test_a_misspelled_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'gesture'\? There are: .*emotion_gpu"):
        tasks.run_config("gestrue")
    with pytest.raises(ConfigError, match=r"no config file absent\.yaml"):
        tasks.run_config("absent.yaml")


def test_a_config_of_a_missing_task_is_refused(folder: Path) -> None:
    (folder / "signs.yaml").write_text("task: signs\n")
    assert config.load(folder / "signs.yaml").task == "signs"
    with pytest.raises(UnknownTaskError, match="There is no task 'signs'"):
        tasks.run_config("signs.yaml")
