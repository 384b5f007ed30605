"""Promises of the register stage, on a real registry with small bundles."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from evaluated import MODEL, RUN, evaluated, measure
from measured import candidate, ratio

from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.model.evaluation import (
    ChampionScores,
    Evaluation,
    VariantComparison,
)
from mien.stages import Run, register
from mien.storage.workspace import Workspace
from mien.tracking import Tracker


@pytest.fixture(autouse=True)
def _tables(tmp_path: Path, mlflow_database: Path) -> None:
    shutil.copy(mlflow_database, tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """Three registered versions: the first, a worse one, a better one."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(mlflow_database, folder)
    done = []
    for name, score, champion in (
        ("first", 0.8, None),
        ("worse", 0.7, (1, 0.75)),
        ("better", 0.9, (1, 0.8)),
    ):
        evaluated(folder, name, score, champion)
        done.append(register.register(Run.resolve(RUN, Workspace(folder))))
    assert [(each.number, each.alias) for each in done] == [
        (1, "champion"),
        (2, "challenger"),
        (3, "champion"),
    ]
    assert "0.7000 against 0.7500 of version 1, same data" in done[1].reason
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
    again = register.register(Run.resolve(RUN, workspace))
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
    with pytest.raises(RegistryError, match="expected a champion before the present one"):
        register.rollback("gesture", "too far", workspace)
    last = Tracker(home).history("mien-gesture")[-3:]
    assert [(move.action, move.after, move.reason) for move in last] == [
        ("promote", 2, "trying it"),
        ("rollback", 3, "was bad"),
        ("rollback", 1, "further"),
    ]
    register.promote("gesture", 3, "back", workspace)


def test_running_again_does_not_undo_a_rollback(home: Path) -> None:
    """A version that people set aside stays aside when its unchanged run is started again."""
    workspace = Workspace(home)
    register.rollback("gesture", "bad in the field", workspace)
    set_aside = register.register(Run.resolve(RUN, workspace))
    assert (set_aside.number, set_aside.alias, set_aside.fresh) == (3, None, False)
    assert set_aside.summary.startswith("version 3 is set aside. Registered before")
    assert workspace.aliases("gesture")["champion"] != 3
    register.promote("gesture", 3, "mended", workspace)


def test_the_registry_is_the_truth_where_its_export_is_lost(tmp_path: Path) -> None:
    """Without aliases.json a worse model still meets the champion that MLflow knows."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(Run.resolve(RUN, workspace))
    (workspace.models("gesture") / "aliases.json").unlink()
    evaluated(tmp_path, "worse", 0.1, (1, 0.9))
    assert register.register(Run.resolve(RUN, workspace)).alias == "challenger"
    assert workspace.aliases("gesture") == {"champion": 1, "challenger": 2}


def test_a_champion_that_cannot_answer_gives_way(tmp_path: Path) -> None:
    """After a change of preprocessing the old champion must not block every new one."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(Run.resolve(RUN, workspace))
    evaluated(tmp_path, "second", 0.5, (1, 0.9))
    folder = workspace.evaluated("gesture") / "second"
    measure(folder, 1, ChampionScores(error="Train it again."))
    done = register.register(Run.resolve(RUN, workspace))
    assert done.alias == "champion"
    assert "can no longer answer: Train it again." in done.reason


def test_a_variant_follows_the_candidate_that_it_was_made_from(tmp_path: Path) -> None:
    """The policy bears what it lost: it is held against the champion by its origin's score."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(Run.resolve(RUN, workspace))
    evaluated(tmp_path, "second", 0.895, (1, 0.9))
    folder = workspace.evaluated("gesture") / "second"
    evaluation = Evaluation.read(folder)
    made = VariantComparison(form="int8", base="origin", cpu_ratio=ratio(1))
    row = evaluation.candidates[0].model_copy(update={"variant": made})
    rows = (row, candidate("origin", 0.9))
    evaluation.model_copy(update={"candidates": rows}).write(folder)
    done = register.register(Run.resolve(RUN, workspace))
    assert done.alias == "champion"
    assert "a variant of origin, itself 0.8950" in done.reason


def test_a_version_that_is_not_there_is_not_promoted(home: Path) -> None:
    """Nor is one whose bundle was damaged; the champion stays."""
    workspace = Workspace(home)
    with pytest.raises(RegistryError, match="no version 9"):
        register.promote("gesture", 9, "", workspace)
    (workspace.version("gesture", 1) / "model.onnx").write_text("damaged")
    with pytest.raises(BundleError, match="checksum"):
        register.promote("gesture", 1, "", workspace)
    assert workspace.aliases("gesture")["champion"] == 3


def test_an_alias_that_was_moved_in_mlflow_reaches_the_server(home: Path) -> None:
    """Also where nothing else changed; the history says that it was found so."""
    workspace = Workspace(home)
    register.promote("gesture", 3, "as it was", workspace)
    Tracker(home)._client.set_registered_model_alias(MODEL, "champion", "2")
    assert workspace.aliases("gesture")["champion"] == 2
    assert workspace.exported_aliases("gesture")["champion"] == 3
    register.register(Run.resolve(RUN, workspace))
    assert workspace.exported_aliases("gesture")["champion"] == 2
    last = Tracker(home).history(MODEL)[-1]
    assert (last.action, last.alias, last.after) == ("found", "champion", 2)
    register.promote("gesture", 3, "back", workspace)


def test_what_was_deleted_in_mlflow_stays_deleted(tmp_path: Path) -> None:
    """Its unchanged run does not bring it back, and both sides agree; force does, as a new
    version."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.8, None)
    register.register(Run.resolve(RUN, workspace))
    Tracker(tmp_path)._client.delete_model_version(MODEL, "1")
    done = register.register(Run.resolve(RUN, workspace))
    assert (done.number, done.alias, done.fresh) == (1, None, False)
    assert "deleted in MLflow" in done.summary
    assert workspace.exported_aliases("gesture") == {} == Tracker(tmp_path).aliases(MODEL)
    forced = register.register(Run.resolve(RUN, workspace), force="needed again")
    assert (forced.number, forced.alias) == (2, "champion")
    assert workspace.exported_aliases("gesture") == {"champion": 2}


def test_a_deleted_model_leaves_its_bundles_alone(tmp_path: Path) -> None:
    """MLflow counts from 1 again; the next model does not."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.8, None)
    register.register(Run.resolve(RUN, workspace))
    before = bundle.read(workspace.version("gesture", 1)).digest
    Tracker(tmp_path)._client.delete_registered_model(MODEL)
    evaluated(tmp_path, "second", 0.7, None)
    done = register.register(Run.resolve(RUN, workspace))
    assert (done.number, done.alias) == (2, "champion")
    assert bundle.read(workspace.version("gesture", 1)).digest == before
    assert (workspace.version("gesture", 2) / "model.onnx").read_text() == "second"
    assert workspace.exported_aliases("gesture") == {"champion": 2}


def test_nothing_changed_is_told_without_mlflow(home: Path) -> None:
    """Its import takes longer than all the rest of such a run."""
    script = (
        "import sys; from pathlib import Path; from mien.config import RunConfig; "
        "from mien.stages import Run, register; from mien.storage.workspace import Workspace; "
        "run = RunConfig(name='run', task='gesture'); "
        "done = register.register(Run.resolve(run, Workspace(Path(sys.argv[1])))); "
        "print(done.fresh, 'mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False False", done.stderr


def test_an_interrupted_registration_is_completed(tmp_path: Path) -> None:
    """Cut off between MLflow's alias and its entry in the history: one version, one champion."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(Run.resolve(RUN, workspace))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("delete from registered_model_tags where key like 'mien.history%'")
    (workspace.models("gesture") / "aliases.json").unlink()
    assert register.register(Run.resolve(RUN, workspace)).alias == "champion"
    assert workspace.aliases("gesture") == {"champion": 1} == Tracker(tmp_path).aliases(MODEL)
    assert [move.after for move in Tracker(tmp_path).history(MODEL)] == [1]
