"""Promises of `mien export`: a folder that a server reads, and that holds nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import CommandLine

from mien.errors import BundleError, ConfigError, RegistryError
from mien.model import bundle
from mien.stages import export as stage
from mien.stages.serve import models
from mien.stages.serve.loading import BundleSource
from mien.storage.workspace import CHAMPION, EXPORT_CONTENTS, Workspace


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def sources(home: Path) -> dict[str, tuple[str | None, str]]:
    """What a server would load from a workspace: version and digest, by task."""
    found = models.resolve_sources(Workspace(home), [], [])
    return {
        source.task.name: (source.version, bundle.read(source.folder).digest)
        for source in found
        if isinstance(source, BundleSource)
    }


def test_an_export_is_served_as_the_workspace_is(served_home: Path, tmp_path: Path) -> None:
    """The same champions under the same numbers, and `export.json` names them."""
    made = stage.export(Workspace(served_home), CHAMPION, tmp_path / "out")
    assert sources(tmp_path / "out") == sources(served_home)
    listed = json.loads((tmp_path / "out" / EXPORT_CONTENTS).read_text())
    assert {name: each["digest"] for name, each in listed.items()} == {
        name: digest for name, (_, digest) in sources(served_home).items()
    }
    assert set(made) == set(listed)


def test_an_export_depends_on_the_models_alone(served_home: Path, tmp_path: Path) -> None:
    """The same bytes each time, so that an image of the same models is the same; nothing else of
    the workspace is in it, and an earlier export is gone."""
    home = tmp_path / "home"
    shutil.copytree(served_home, home)
    (home / "predictions.db").write_text("private")
    shutil.copytree(Workspace(home).version("gesture", 1), Workspace(home).version("gesture", 2))
    stage.export(Workspace(served_home), CHAMPION, tmp_path / "one")
    stage.export(Workspace(home), CHAMPION, tmp_path / "two")
    (tmp_path / "two" / "left").write_text("of an earlier export")
    stage.export(Workspace(home), CHAMPION, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_user_can_read_it(served_home: Path, tmp_path: Path) -> None:
    """A workspace may have been written under a stricter umask than an image's user can bear."""
    home, out = tmp_path / "home", tmp_path / "out"
    shutil.copytree(served_home, home)
    for path in home.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    stage.export(Workspace(home), CHAMPION, out)
    modes = {path.stat().st_mode & 0o777 for path in [out, *out.rglob("*")]}
    assert modes == {0o755, 0o644}


def test_a_challenger_is_exported_as_what_is_served(served_home: Path, tmp_path: Path) -> None:
    """An image of it is tried before it becomes champion; tasks without one are left out."""
    home = tmp_path / "home"
    shutil.copytree(served_home, home)
    shutil.copytree(Workspace(home).version("gesture", 1), Workspace(home).version("gesture", 2))
    Workspace(home).write_aliases("gesture", {CHAMPION: 1, "challenger": 2})
    stage.export(Workspace(home), "challenger", tmp_path / "out")
    assert {task: version for task, (version, _) in sources(tmp_path / "out").items()} == {
        "gesture": "2"
    }


@pytest.mark.parametrize("name", ["file.txt", "models"])
def test_a_folder_of_something_else_is_left_alone(
    served_home: Path, tmp_path: Path, name: str
) -> None:
    """A slip in the name must not delete a project, or the workspace itself."""
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="earlier export"):
        stage.export(Workspace(served_home), CHAMPION, tmp_path)
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize("name", ["predictions.db", "mlflow.db"])
def test_what_was_written_to_an_export_is_not_deleted(
    served_home: Path, tmp_path: Path, name: str
) -> None:
    """`mien serve --home OUT` keeps answers and feedback there."""
    stage.export(Workspace(served_home), CHAMPION, tmp_path / "out")
    (tmp_path / "out" / name).write_text("answers")
    with pytest.raises(ConfigError, match=f"found {name}"):
        stage.export(Workspace(served_home), CHAMPION, tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "answers"


def test_a_damaged_bundle_is_not_exported(served_home: Path, tmp_path: Path) -> None:
    """Nothing is left of the folder then."""
    home = tmp_path / "home"
    shutil.copytree(served_home, home)
    (network,) = Workspace(home).version("emotion", 1).glob("*.onnx")
    network.write_bytes(network.read_bytes()[:-1])
    with pytest.raises(BundleError, match="differs from its checksum"):
        stage.export(Workspace(home), CHAMPION, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_model_there_is_nothing_to_export(tmp_path: Path) -> None:
    """And no folder is made."""
    with pytest.raises(RegistryError, match="no challenger in"):
        stage.export(Workspace(tmp_path), "challenger", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_alias_that_does_not_exist_is_refused(tmp_path: Path, command_line: CommandLine) -> None:
    """With the nearest one, in mien's own words."""
    done = command_line("export", "champoin", str(tmp_path / "out"), home=tmp_path)
    assert done.returncode == 1
    message = "alias: expected champion or challenger, found 'champoin'. Did you mean 'champion'?"
    assert message in done.stderr


def test_the_command_names_what_it_exported(
    served_home: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    """One line a task, and how to serve it."""
    done = command_line("export", "champion", str(tmp_path / "out"), home=served_home)
    assert done.returncode == 0, done.stderr
    assert "mien-gesture version 1" in done.stdout
    assert f"mien serve --home {tmp_path / 'out'}" in done.stdout.replace("\n", " ")
