"""People and their own code change MLflow and the folders: every command agrees, nothing is lost.

Each edit is made with MLflow's own client, or to the files, between two commands of mien.
"""

import json
import shutil
from pathlib import Path

import pytest
from evaluated import CLEAN, MODEL, RUN, evaluated

from mien.cli.registry import models as list_versions
from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.stages import Run, predict, register
from mien.stages.register import Registered
from mien.stages.serve import models
from mien.stages.serve.reloader import ModelReloader
from mien.storage.workspace import CHAMPION, Workspace
from mien.tracking import CHALLENGER, Tracker


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """A workspace with two versions: the first, and the champion after it. Read only; copy it."""
    home = tmp_path_factory.mktemp("registered")
    shutil.copy(mlflow_database, home)
    made = Workspace(home)
    train(made, "first", 0.8, None)
    train(made, "second", 0.9, (1, 0.8))
    assert made.aliases("gesture") == {CHAMPION: 2}
    return home


@pytest.fixture
def workspace(registered: Path, tmp_path: Path) -> Workspace:
    """A copy of it, to be edited."""
    shutil.copytree(registered, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path)


def train(
    workspace: Workspace, name: str, score: float, champion: tuple[int, float] | None
) -> Registered:
    evaluated(workspace.home, name, score, champion, code=CLEAN)
    return register.register(Run.resolve(RUN, workspace))


def foreign_version(workspace: Workspace, *aliases: str) -> int:
    """What somebody's own code registers under the name of mien's model."""
    client = Tracker(workspace.home)._client
    made = client.create_model_version(MODEL, "file:///elsewhere/model")
    for alias in aliases:
        client.set_registered_model_alias(MODEL, alias, made.version)
    return int(made.version)


def contents(workspace: Workspace) -> dict[int, str]:
    """What the network of each exported version is."""
    return {
        number: (workspace.version("gesture", number) / "model.onnx").read_text()
        for number in sorted(workspace.exported_versions("gesture"))
    }


def shown(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> str:
    """What `mien models gesture` prints."""
    list_versions("gesture", workspace.home)
    return capsys.readouterr().out


def require_no_champion(workspace: Workspace) -> None:
    """Registry, prediction and server agree."""
    assert CHAMPION not in workspace.aliases("gesture")
    with pytest.raises(RegistryError, match=r"no champion of gesture.*mien models gesture"):
        next(predict.predict([], "gesture", None, workspace))
    with pytest.raises(RegistryError, match="no champion"):
        models.resolve_sources(workspace, ["gesture"], [])


def test_a_champion_of_other_code_is_not_served(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no bundle of mien. The next training says so and keeps its result; promoting another
    version is enough."""
    number = foreign_version(workspace, CHAMPION)
    require_no_champion(workspace)
    of_other_code = "is not served: it was registered by other code than mien"
    assert f"version {number} {of_other_code}" in shown(workspace, capsys)
    with pytest.raises(RegistryError, match=rf"Version {number} of .*mien promote gesture VERSION"):
        train(workspace, "third", 0.95, (2, 0.9))
    with pytest.raises(RegistryError, match="registered by other code than mien"):
        register.promote("gesture", number, "by hand", workspace)
    register.promote("gesture", 2, "by hand", workspace)
    done = register.register(Run.resolve(RUN, workspace))
    assert (done.number, done.alias) == (number + 1, CHAMPION)
    assert contents(workspace) == {1: "first", 2: "second", number + 1: "third"}


def test_a_recreated_model_does_not_inherit_the_bundles(workspace: Workspace) -> None:
    """Other code makes version 1 again, whose folder holds a bundle of before."""
    client = Tracker(workspace.home)._client
    client.delete_registered_model(MODEL)
    client.create_registered_model(MODEL)
    assert foreign_version(workspace, CHAMPION) == 1
    workspace.write_aliases("gesture", {CHAMPION: 1})
    require_no_champion(workspace)
    client.delete_registered_model_alias(MODEL, CHAMPION)
    done = train(workspace, "third", 0.95, None)
    assert (done.number, done.alias) == (3, CHAMPION)
    assert contents(workspace) == {1: "first", 2: "second", 3: "third"}


def test_an_altered_bundle_is_no_champion(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written again with new checksums: whole, and not what was registered."""
    folder = workspace.version("gesture", 2)
    manifest = bundle.read(folder).manifest
    (folder / "model.onnx").write_text("other")
    bundle.write(folder, manifest)
    require_no_champion(workspace)
    assert "version 2 is not served" in shown(workspace, capsys)


def test_an_older_database_registers_beside_what_it_does_not_know(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Version 3 is exported, and the database that is brought back never had it."""
    shutil.copy(workspace.database, tmp_path / "backup.db")
    assert train(workspace, "third", 0.95, (2, 0.9)).number == 3
    shutil.copy(tmp_path / "backup.db", workspace.database)
    assert workspace.aliases("gesture") == {CHAMPION: 2}
    unchanged = register.register(Run.resolve(RUN, workspace))
    assert (unchanged.number, unchanged.alias) == (3, None)
    assert "deleted in MLflow" in unchanged.summary
    with pytest.raises(RegistryError, match=r"older copy.*delete .*third and run again"):
        register.register(Run.resolve(RUN, workspace), force="bring it back")
    assert train(workspace, "fourth", 0.96, (2, 0.9)).number == 4
    assert contents(workspace) == {1: "first", 2: "second", 3: "third", 4: "fourth"}


def test_several_aliases_on_one_version_are_one_champion(workspace: Workspace) -> None:
    """Those of people stay theirs."""
    client = Tracker(workspace.home)._client
    for alias in ("production", CHALLENGER):
        client.set_registered_model_alias(MODEL, alias, "2")
    again = register.register(Run.resolve(RUN, workspace))
    assert (again.number, again.alias, again.fresh) == (2, CHAMPION, False)
    register.promote("gesture", 1, "back", workspace)
    aliases = {CHAMPION: 1, "production": 2, CHALLENGER: 2}
    assert workspace.aliases("gesture") == aliases == Tracker(workspace.home).aliases(MODEL)
    again = register.register(Run.resolve(RUN, workspace))
    assert (again.number, again.alias) == (2, CHALLENGER)


def test_a_champion_without_its_folder_is_named(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until it is back; its unchanged run brings it back."""
    shutil.rmtree(workspace.version("gesture", 2))
    with pytest.raises(BundleError, match=r"2: expected a bundle, found no folder. Bring it back"):
        next(predict.predict([], "gesture", None, workspace))
    assert "version 2 is not served: its bundle is missing" in (shown(workspace, capsys))
    with pytest.raises(BundleError, match="found no folder"):
        register.promote("gesture", 2, "by hand", workspace)
    assert register.register(Run.resolve(RUN, workspace)).alias == CHAMPION
    assert contents(workspace) == {1: "first", 2: "second"}


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"who": "me"}'])
def test_an_edited_history_is_named_and_stops_no_prediction(
    workspace: Workspace, text: str
) -> None:
    """The tags of a registered model can be edited in MLflow's page."""
    client = Tracker(workspace.home)._client
    client.set_registered_model_tag(MODEL, "mien.history.000001", text)
    assert workspace.aliases("gesture") == {CHAMPION: 2}
    fault = r"mien\.history\.000001 of the registered model: expected an entry.*Delete the tag"
    with pytest.raises(RegistryError, match=fault):
        register.rollback("gesture", "by hand", workspace)
    client.delete_registered_model_tag(MODEL, "mien.history.000001")
    register.promote("gesture", 1, "by hand", workspace)
    moves = [(each.action, each.after) for each in Tracker(workspace.home).history(MODEL)]
    assert moves == [("register", 2), ("promote", 1)], "no other entry was replaced"


def test_a_first_training_does_not_take_the_place_of_another_champion(
    tmp_path: Path, mlflow_database: Path
) -> None:
    """Somebody's own code registered a champion under that name before."""
    shutil.copy(mlflow_database, tmp_path)
    workspace = Workspace(tmp_path)
    client = Tracker(tmp_path)._client
    client.create_registered_model(MODEL)
    foreign_version(workspace, CHAMPION)
    with pytest.raises(RegistryError, match="or take the alias from it in MLflow"):
        train(workspace, "first", 0.8, None)
    client.delete_registered_model_alias(MODEL, CHAMPION)
    done = register.register(Run.resolve(RUN, workspace))
    assert (done.number, done.alias) == (2, CHAMPION)


@pytest.mark.parametrize("text", ['{"champion": 1}', '{"champion": 99}', "{}", "[1]", "no JSON"])
def test_the_export_is_not_the_registry(workspace: Workspace, text: str) -> None:
    """Edited by hand it decides nothing while the database is here, and it is written again."""
    path = workspace.models("gesture") / "aliases.json"
    path.write_text(text)
    assert workspace.aliases("gesture") == {CHAMPION: 2}
    register.promote("gesture", 2, "by hand", workspace)
    assert json.loads(path.read_text()) == {CHAMPION: 2}


def test_a_server_follows_and_says_why_it_does_not(served_home: Path, tmp_path: Path) -> None:
    """It answers with the model that it has; `/health` gives the reason, and the next good champion
    ends it."""
    shutil.copytree(served_home, tmp_path / "home")
    workspace = Workspace(tmp_path / "home")
    loaded = models.Models(models.resolve_sources(workspace, ["gesture"], []))
    loaded.load(lambda work: work(), lambda _: None, lambda: False)
    reloader = ModelReloader(loaded, workspace, 0, lambda _: None, lambda *_: None)
    (slot,) = loaded.slots
    folder = workspace.version("gesture", 1)
    folder.rename(tmp_path / "away")
    reloader.poll()
    assert slot.as_json()["reload_error"] == "the bundle of version 1 of mien-gesture is missing"
    (tmp_path / "away").rename(folder)
    reloader.poll()
    assert (slot.as_json()["reload_error"], slot.state) == (None, "ready")
    work = tmp_path / "work"
    work.mkdir()
    tracker = Tracker(tmp_path / "other")
    with tracker.run("gesture", "svm", work, {}, {}):
        pass
    tracker.register(MODEL, work, "another bundle", {}, lambda _: False)
    tracker.move(MODEL, CHAMPION, 1, "register", "")
    shutil.copy(tmp_path / "other" / "mlflow.db", workspace.database)
    reloader.poll()
    assert "`mien models gesture` says why" in slot.as_json()["reload_error"]
    assert slot.model is not None
