"""Promises of the register stage, on a real registry with small bundles."""

import json
from pathlib import Path

import pytest

from mien import bundle
from mien.config import RunConfig
from mien.errors import BundleError, RegistryError
from mien.stages import register
from mien.tracking import Tracker
from mien.workspace import RESULT, WORK, Workspace, point

RUN = RunConfig(name="run", task="gesture")


def evaluated(home: Path, name: str, score: float, champion: tuple[int, float] | None) -> None:
    """What the stages before leave for `register`: one measured bundle, tracked and chosen."""
    workspace = Workspace(home)
    trained, folder = workspace.trained("gesture") / name, workspace.evaluated("gesture") / name
    work = trained / WORK / "svm"
    work.mkdir(parents=True)
    with Tracker(home).run("gesture", "svm", work, {}, {"seed": 0}):
        pass
    (folder / "svm").mkdir(parents=True)
    (folder / "svm" / "model.onnx").write_text(name)
    metrics = {"val": {"macro_f1": score}, "test": {"macro_f1": score}}
    manifest = bundle.describe("gesture", ("a", "b"), "svm", {}, metrics=metrics, lineage={})
    bundle.write(folder / "svm", manifest)
    rows = [{"candidate": "svm", "val": {"macro_f1": score}}]
    document = {
        "choice": "svm",
        "trained": name,
        "policy": {"maximise": "macro_f1"},
        "candidates": rows,
    }
    (folder / RESULT).write_text(json.dumps(document))
    if champion:
        path = folder.with_name(f"{name}.champion-{champion[0]}.json")
        path.write_text(json.dumps({"macro_f1": champion[1]}))
    for place in (workspace.trained("gesture"), workspace.evaluated("gesture")):
        point(place, "run", name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three registered versions: the first, a worse one, a better one."""
    folder = tmp_path_factory.mktemp("registry")
    done = []
    for name, score, champion in (
        ("first", 0.8, None),
        ("worse", 0.7, (1, 0.75)),
        ("better", 0.9, (1, 0.8)),
    ):
        evaluated(folder, name, score, champion)
        done.append(register.register(RUN, Workspace(folder)))
    assert [(each.number, each.alias) for each in done] == [
        (1, "champion"),
        (2, "challenger"),
        (3, "champion"),
    ]
    assert "0.7000 against 0.7500 of version 1, same data" in done[1].why
    return folder


def test_the_better_one_is_champion_and_the_worse_one_challenger(home: Path) -> None:
    """Registry and export agree, and every version's bundle is there and whole."""
    workspace = Workspace(home)
    assert workspace.aliases("gesture") == {"champion": 3, "challenger": 2}
    assert Tracker(home).aliases("mien-gesture") == workspace.aliases("gesture")
    for number, text in ((1, "first"), (2, "worse"), (3, "better")):
        folder = bundle.read(workspace.version("gesture", number)).folder
        assert (folder / "model.onnx").read_text() == text


def test_registering_again_changes_nothing(home: Path) -> None:
    """The same bundle is the same version; a lost export is made again."""
    workspace = Workspace(home)
    before = len(Tracker(home).history("mien-gesture"))
    (workspace.models("gesture") / "aliases.json").unlink()
    again = register.register(RUN, workspace)
    assert (again.number, again.fresh) == (3, False)
    assert workspace.aliases("gesture")["champion"] == 3
    assert len(Tracker(home).history("mien-gesture")) == before


def test_promote_and_rollback_move_the_alias_and_say_why(home: Path) -> None:
    """Rollback leads to the champion before, and both are written to the history."""
    workspace = Workspace(home)
    register.promote("gesture", 2, "trying it", workspace)
    assert workspace.aliases("gesture")["champion"] == 2
    assert register.rollback("gesture", "was bad", workspace) == 3
    assert register.rollback("gesture", "further", workspace) == 1
    with pytest.raises(RegistryError, match="no champion before"):
        register.rollback("gesture", "too far", workspace)
    last = Tracker(home).history("mien-gesture")[-3:]
    assert [(move.what, move.after, move.why) for move in last] == [
        ("promote", 2, "trying it"),
        ("rollback", 3, "was bad"),
        ("rollback", 1, "further"),
    ]
    register.promote("gesture", 3, "back", workspace)


def test_running_again_does_not_undo_a_rollback(home: Path) -> None:
    """A version that people set aside stays aside when its unchanged run is started again."""
    workspace = Workspace(home)
    register.rollback("gesture", "bad in the field", workspace)
    set_aside = register.register(RUN, workspace)
    assert (set_aside.number, set_aside.alias, set_aside.fresh) == (3, None, False)
    assert workspace.aliases("gesture")["champion"] != 3
    register.promote("gesture", 3, "mended", workspace)


def test_the_registry_is_the_truth_where_its_export_is_lost(tmp_path: Path) -> None:
    """Without aliases.json a worse model still meets the champion that MLflow knows."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(RUN, workspace)
    (workspace.models("gesture") / "aliases.json").unlink()
    evaluated(tmp_path, "worse", 0.1, (1, 0.9))
    assert register.register(RUN, workspace).alias == "challenger"
    assert workspace.aliases("gesture") == {"champion": 1, "challenger": 2}


def test_a_champion_that_cannot_answer_gives_way(tmp_path: Path) -> None:
    """After a change of preprocessing the old champion must not block every new one."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(RUN, workspace)
    evaluated(tmp_path, "second", 0.5, (1, 0.9))
    folder = workspace.evaluated("gesture") / "second"
    unable = json.dumps({"cannot_answer": "Train it again."})
    folder.with_name("second.champion-1.json").write_text(unable)
    done = register.register(RUN, workspace)
    assert done.alias == "champion"
    assert "can no longer answer: Train it again." in done.why


def test_a_variant_follows_the_candidate_that_it_was_made_from(tmp_path: Path) -> None:
    """The policy bears what it lost: it is held against the champion by its origin's score."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(RUN, workspace)
    evaluated(tmp_path, "second", 0.895, (1, 0.9))
    path = workspace.evaluated("gesture") / "second" / RESULT
    document = json.loads(path.read_text())
    document["candidates"][0]["variant"] = {"of": "origin", "form": "int8"}
    document["candidates"].append({"candidate": "origin", "val": {"macro_f1": 0.9}})
    path.write_text(json.dumps(document))
    done = register.register(RUN, workspace)
    assert done.alias == "champion"
    assert "a variant of origin, itself 0.8950" in done.why


def test_a_version_that_is_not_there_is_not_promoted(home: Path) -> None:
    """Nor is one whose bundle was damaged; the champion stays."""
    workspace = Workspace(home)
    with pytest.raises(RegistryError, match="no version 9"):
        register.promote("gesture", 9, "", workspace)
    (workspace.version("gesture", 1) / "model.onnx").write_text("damaged")
    with pytest.raises(BundleError, match="checksum"):
        register.promote("gesture", 1, "", workspace)
    assert workspace.aliases("gesture")["champion"] == 3
