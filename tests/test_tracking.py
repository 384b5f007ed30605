"""Promises of `mien.tracking`, on a real MLflow with SQLite."""

from pathlib import Path

import pytest

from mien.errors import RegistryError
from mien.storage.workspace import CHAMPION
from mien.tracking import Tracker, run_of

LINEAGE = {"seed": 1, "code": {"commit": "abc"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracking")


def tracked(home: Path, name: str) -> str:
    work = home / name
    work.mkdir()
    with Tracker(home).run("gesture", "svm", work, {"cv_folds": 3}, LINEAGE) as run:
        run.log(1, {"macro_f1": 0.5})
        run.log(2, {"macro_f1": 0.7})
    return run_of(work)


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
    one = tracker.register("mien-x", run_id, "d1", {"candidate": "svm"})
    two = tracker.register("mien-x", run_id, "d2", {})
    assert (one.number, two.number) == (1, 2)
    assert tracker.register("mien-x", run_id, "d1", {}).number == 1
    tracker.move("mien-x", CHAMPION, 1, "register", "first" * 200)
    tracker.move("mien-x", CHAMPION, 2, "promote", "better")
    assert tracker.aliases("mien-x") == {CHAMPION: 2}
    last = tracker.history("mien-x")[-1]
    assert (last.action, last.before, last.after, last.reason) == ("promote", 1, 2, "better")
    assert last.who
    with pytest.raises(RegistryError, match="no version 9"):
        tracker.move("mien-x", CHAMPION, 9, "promote", "")
