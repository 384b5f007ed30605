"""Promises of `mien.tracking`, on a real MLflow with SQLite."""

import shutil
from pathlib import Path

import pytest

from mien.errors import RegistryError
from mien.storage.workspace import CHAMPION
from mien.tracking import Tracker, run_of

LINEAGE = {"seed": 1, "code": {"commit": "abc"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("tracking")
    shutil.copy(mlflow_database, folder)
    return folder


def tracked(home: Path, name: str) -> str:
    work = home / name
    work.mkdir()
    with Tracker(home).run("gesture", "svm", work, {"cv_folds": 3}, LINEAGE) as run:
        run.log(1, {"macro_f1": 0.5})
        run.log(2, {"macro_f1": 0.7})
    return run_of(work)


def never(_: int) -> bool:
    """No number belongs to another bundle."""
    return False


def test_a_run_keeps_params_lineage_and_metrics_by_step(home: Path) -> None:
    """What was logged can be read back from MLflow itself."""
    from mlflow.tracking import MlflowClient

    run_id = tracked(home, "first")
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"candidate": "svm", "cv_folds": "3"}
    assert run.data.tags["lineage.seed"] == "1"
    steps = client.get_metric_history(run_id, "macro_f1")
    assert [(each.step, each.value) for each in steps] == [(1, 0.5), (2, 0.7)]


def test_an_interrupted_run_fails_and_is_taken_up_again(home: Path) -> None:
    """The same work folder means the same run."""
    from mlflow.tracking import MlflowClient

    work = home / "interrupted"
    work.mkdir()
    with pytest.raises(KeyboardInterrupt), Tracker(home).run("g", "svm", work, {}, LINEAGE):
        raise KeyboardInterrupt
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    assert client.get_run(run_of(work)).info.status == "FAILED"
    with Tracker(home).run("g", "svm", work, {}, LINEAGE) as again:
        assert again.run_id == run_of(work)
    assert client.get_run(again.run_id).info.status == "FINISHED"


def test_a_bundle_is_registered_once_and_aliases_have_a_history(home: Path) -> None:
    """Registering the same digest again gives the same version; each move says who and why."""
    tracker = Tracker(home)
    run_id = tracked(home, "second")
    assert tracker.versions("mien-x") == []
    one = tracker.register("mien-x", run_id, "d1", {"candidate": "svm"}, never)
    two = tracker.register("mien-x", run_id, "d2", {}, never)
    assert (one.number, two.number) == (1, 2)
    assert tracker.register("mien-x", run_id, "d1", {}, never).number == 1
    tracker.move("mien-x", CHAMPION, 1, "register", "first" * 200)
    tracker.move("mien-x", CHAMPION, 2, "promote", "better")
    assert tracker.aliases("mien-x") == {CHAMPION: 2}
    last = tracker.history("mien-x")[-1]
    assert (last.action, last.before, last.after, last.reason) == ("promote", 1, 2, "better")
    assert last.who
    with pytest.raises(RegistryError, match="no version 9"):
        tracker.move("mien-x", CHAMPION, 9, "promote", "")


def test_a_number_that_belongs_to_another_bundle_is_not_given_again(home: Path) -> None:
    """MLflow counts from 1 again where a registered model was deleted."""
    tracker = Tracker(home)
    run_id = tracked(home, "third")
    tracker.register("mien-y", run_id, "d1", {}, never)
    tracker._client.delete_registered_model("mien-y")
    again = tracker.register("mien-y", run_id, "d2", {}, lambda number: number < 3)
    assert again.number == 3
    assert [each.number for each in tracker.versions("mien-y")] == [3]


@pytest.mark.parametrize("lost", ["run", "database"])
def test_a_training_goes_on_where_its_run_was_deleted(
    mlflow_database: Path, tmp_path: Path, lost: str
) -> None:
    """In MLflow's page, or with the whole database: a new run takes its place."""
    shutil.copy(mlflow_database, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(KeyboardInterrupt), Tracker(tmp_path).run("g", "svm", work, {}, LINEAGE):
        raise KeyboardInterrupt
    before = run_of(work)
    if lost == "run":
        Tracker(tmp_path)._client.delete_run(before)
    else:
        shutil.copy(mlflow_database, tmp_path)
    with Tracker(tmp_path).run("g", "svm", work, {}, LINEAGE) as again:
        assert again.run_id == run_of(work) != before


def test_a_deletion_says_how_to_undo_it(mlflow_database: Path, tmp_path: Path) -> None:
    """The advice is a whole command, and it works."""
    shutil.copy(mlflow_database, tmp_path)
    tracker, work = Tracker(tmp_path), tmp_path / "work"
    work.mkdir()
    with tracker.run("g2", "svm", work, {}, LINEAGE):
        pass
    run_id = run_of(work)
    tracker._client.delete_run(run_id)
    with pytest.raises(RegistryError, match=rf"Run {run_id} was deleted.*mlflow runs restore"):
        tracker.complete(work, {"f1": 0.5}, {})
    tracker._client.restore_run(run_id)
    tracker.complete(work, {"f1": 0.5}, {})
    number = tracker._client.get_experiment_by_name("g2").experiment_id
    tracker._client.delete_experiment(number)
    restore = rf"'g2' was deleted.*sqlite:///{tmp_path}.*mlflow experiments restore -x {number}`"
    with pytest.raises(RegistryError, match=restore), tracker.run("g2", "a", tmp_path, {}, LINEAGE):
        pass


def test_a_workspace_that_was_moved_finds_its_artifacts(tmp_path: Path) -> None:
    """MLflow stores whole paths; names with blanks count."""
    old, new = tmp_path / "old place", tmp_path / "new place"
    run_id = _with_artifact(old)
    elsewhere = "file:///elsewhere/mlruns/own"
    Tracker(old)._client.create_experiment("of a person", elsewhere)
    shutil.copytree(old, new)
    moved = Tracker(new)
    with moved.run("g", "forest", _work(new, "forest"), {}, LINEAGE):
        pass
    for home, tracker in ((new, moved), (old, Tracker(old))):
        uri = tracker._client.get_run(run_id).info.artifact_uri
        assert uri.startswith(f"{home.as_uri()}/mlruns/g/")
        assert [each.path for each in tracker._client.list_artifacts(run_id)] == ["bundle"]
        version = tracker._client.get_model_version("mien-g", "1")
        assert version.source == f"{uri}/bundle"
        others = tracker._client.get_experiment_by_name("of a person")
        assert others.artifact_location == elsewhere


def test_a_lost_database_is_no_empty_registry(mlflow_database: Path, tmp_path: Path) -> None:
    """Versions that nobody knows any more would be overwritten, or compared with nothing."""
    (tmp_path / "models" / "g" / "versions" / "1").mkdir(parents=True)
    with (
        pytest.raises(RegistryError, match=r"mlflow\.db is missing.*Bring the database back"),
        Tracker(tmp_path).run("g", "svm", tmp_path, {}, LINEAGE),
    ):
        pass
    assert not (tmp_path / "mlflow.db").exists()
    shutil.copy(mlflow_database, tmp_path)
    with Tracker(tmp_path).run("g", "svm", tmp_path, {}, LINEAGE):
        pass


def test_a_metric_that_is_no_number_is_not_stored(home: Path) -> None:
    """MLflow would show NaN as 0."""
    tracker, work = Tracker(home), _work(home, "nan")
    with tracker.run("g", "svm", work, {}, LINEAGE) as run:
        run.log(1, {"f1": 0.5, "map50": float("nan"), "loss": float("inf")})
    assert tracker._client.get_run(run_of(work)).data.metrics == {"f1": 0.5}


def _work(home: Path, name: str) -> Path:
    work = home / name
    work.mkdir(parents=True)
    return work


def _with_artifact(home: Path) -> str:
    """A registered version whose run has one artifact."""
    tracker, work = Tracker(home), _work(home, "svm")
    with tracker.run("g", "svm", work, {}, LINEAGE):
        pass
    bundle = _work(home, "bundle")
    (bundle / "model.onnx").write_text("model")
    tracker.complete(work, {"f1": 0.5}, {"bundle": bundle})
    tracker.register("mien-g", run_of(work), "d1", {}, never)
    return run_of(work)
