"""Promises of `mien.tracking`, on a real MLflow with SQLite."""

import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

import pytest

from mien.errors import RegistryError
from mien.storage.cache import CACHE_VARIABLE, cache_folder
from mien.storage.workspace import CHAMPION
from mien.tracking import ModelPage, TrackedData, Tracker, run_of

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


MODEL = ModelPage(
    inputs=[{"type": "array", "items": {"type": "double"}, "name": "points", "required": True}],
    outputs=[{"type": "string", "name": "gesture", "required": False}],
    example={"points": [1.0, 2.0]},
)


def complete(tracker: Tracker, work: Path) -> None:
    """End a run with a bundle of one file."""
    bundle = work / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "model.onnx").write_text("model")
    tracker.complete(work, {"f1": 0.5}, bundle, MODEL, "# gesture: svm")


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
    assert Tracker(home).lineage(run_id) == LINEAGE
    steps = client.get_metric_history(run_id, "macro_f1")
    assert [(each.step, each.value) for each in steps] == [(1, 0.5), (2, 0.7)]


def test_a_lineage_of_any_length_is_kept_whole(home: Path) -> None:
    """As one artifact: MLflow cuts or refuses long tags, depending on the call."""
    tracker, work = Tracker(home), _work(home, "long")
    lineage = {"seed": 0, "environment": {f"package-{n}": "1.0" for n in range(9000)}}
    with tracker.run("g", "svm", work, {}, lineage) as run:
        assert tracker.lineage(run.run_id) == lineage, "from the first step on"
    tags = tracker._client.get_run(run_of(work)).data.tags
    assert all(len(text) < 500 for text in tags.values())


def test_mlflow_shows_what_a_run_read_and_what_it_made(home: Path) -> None:
    """Kind of the experiment, data sets by split, description, and a model with its signature."""
    from mlflow.models import Model

    tracker, work = Tracker(home), _work(home, "shown")
    data = TrackedData(
        "gesture", "0123456789abcdef", "hands.csv", {"train": {"a": 3}, "val": {"a": 1}}
    )
    with tracker.run("shown", "svm", work, {}, LINEAGE, data):
        pass
    complete(tracker, work)
    run = tracker._client.get_run(run_of(work))
    experiment = tracker._client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    used = [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs]
    assert sorted(used) == [("gesture train", "0123456789ab"), ("gesture val", "0123456789ab")]
    assert run.data.tags["mlflow.note.content"] == "# gesture: svm"
    tracker.register("mien-shown", work, "d1", {}, never, ("of the model", "of the version"))
    version = tracker._client.get_model_version("mien-shown", "1")
    assert version.description == "of the version"
    assert tracker._client.get_registered_model("mien-shown").description == "of the model"
    folder = Path(tracker._client.download_artifacts(run.info.run_id, "model"))
    assert sorted(each.name for each in folder.iterdir()) == [
        "MLmodel", "bundle", "input_example.json",
    ]  # fmt: skip
    model = Model.load(str(folder))
    assert model.signature.inputs.input_names() == ["points"]
    assert model.load_input_example(str(folder)) == {"points": [1.0, 2.0]}


def test_the_comparison_is_of_the_newest_training(home: Path) -> None:
    """Of a task, or of all; nothing where nothing was trained."""
    tracker = Tracker(home)
    assert tracker.comparison("compared") == ""
    for name in ("old", "new"):
        for candidate in ("forest", "svm"):
            work = _work(home, f"models/compared/trained/{name}/work/{candidate}")
            with tracker.run("compared", candidate, work, {}, LINEAGE):
                pass
    address = unquote(tracker.comparison("compared"))
    assert "tags.`mien.work` LIKE 'models/compared/trained/new/work/%'" in address
    assert tracker.comparison(None) == tracker.comparison("compared")


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
    tracked(home, "second")
    work = home / "second"
    assert tracker.versions("mien-x") == []
    one = tracker.register("mien-x", work, "d1", {"candidate": "svm"}, never)
    two = tracker.register("mien-x", work, "d2", {}, never)
    assert (one.number, two.number) == (1, 2)
    assert tracker.register("mien-x", work, "d1", {}, never).number == 1
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
    tracked(home, "third")
    work = home / "third"
    tracker.register("mien-y", work, "d1", {}, never)
    tracker._client.delete_registered_model("mien-y")
    again = tracker.register("mien-y", work, "d2", {}, lambda number: number < 3)
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


@pytest.mark.parametrize("deleted", ["run", "experiment"])
def test_a_run_may_be_deleted_during_its_training(
    mlflow_database: Path, tmp_path: Path, deleted: str
) -> None:
    """The training ends with what to do; the same command goes on in a new run."""
    shutil.copy(mlflow_database, tmp_path)
    work, tracker = _work(tmp_path, "work"), Tracker(tmp_path)
    client = tracker._client

    def train() -> None:
        with tracker.run("g", "svm", work, {}, LINEAGE) as run:
            run.log(1, {"f1": 0.5})
            if deleted == "run":
                client.delete_run(run.run_id)
            else:
                client.delete_experiment(client.get_run(run.run_id).info.experiment_id)
            run.log(2, {"f1": 0.6})

    with pytest.raises(RegistryError, match=r"deleted in MLflow during its training.*same command"):
        train()
    before = run_of(work)
    if deleted == "experiment":
        with pytest.raises(RegistryError, match="mlflow experiments restore"):
            tracker.run("g", "svm", work, {}, LINEAGE).__enter__()
        client.restore_experiment(client.get_run(before).info.experiment_id)
    with tracker.run("g", "svm", work, {}, LINEAGE) as run:
        run.log(2, {"f1": 0.6})
    assert (run.run_id == before) == (deleted == "experiment")


def test_what_was_deleted_for_good_is_trained_again(mlflow_database: Path, tmp_path: Path) -> None:
    """By `mlflow gc`, or with a newer database that was replaced by an older one."""
    shutil.copy(mlflow_database, tmp_path)
    work, tracker = _work(tmp_path, "trained/key/work/svm"), Tracker(tmp_path)
    with tracker.run("g", "svm", work, {}, LINEAGE):
        pass
    shutil.copy(mlflow_database, tmp_path)
    gone = rf"older copy.*delete {tmp_path}/trained/key and run again"
    with pytest.raises(RegistryError, match=gone):
        complete(Tracker(tmp_path), work)
    with pytest.raises(RegistryError, match=gone):
        Tracker(tmp_path).register("mien-g", work, "d1", {}, never)


def test_a_deletion_says_how_to_undo_it(mlflow_database: Path, tmp_path: Path) -> None:
    """The advice is a whole command, and it works."""
    shutil.copy(mlflow_database, tmp_path)
    tracker, work = Tracker(tmp_path), tmp_path / "work"
    work.mkdir()
    with tracker.run("g2", "svm", work, {}, LINEAGE):
        pass
    run_id = run_of(work)
    tracker._client.delete_run(run_id)
    restore = rf"Run {run_id} was deleted.*mlflow runs restore --run-id"
    with pytest.raises(RegistryError, match=restore):
        complete(tracker, work)
    tracker._client.restore_run(run_id)
    complete(tracker, work)
    number = tracker._client.get_experiment_by_name("g2").experiment_id
    tracker._client.delete_experiment(number)
    restore = rf"'g2' was deleted.*sqlite:///{tmp_path}.*mlflow experiments restore -x {number}`"
    with pytest.raises(RegistryError, match=restore):
        complete(tracker, work)
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
        stored = [each.path for each in tracker._client.list_artifacts(run_id)]
        assert stored == ["lineage.json", "model"]
        version = tracker._client.get_model_version("mien-g", "1")
        assert version.source == f"{uri}/model"
        others = tracker._client.get_experiment_by_name("of a person")
        assert others.artifact_location == elsewhere


def test_a_copy_of_a_workspace_writes_its_own_artifacts(
    mlflow_database: Path, tmp_path: Path
) -> None:
    """Also in the process that has written those of the original, whose runs have the same ids."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copy(mlflow_database, here)
    run_id = tracked(here, "a")
    complete(Tracker(here), here / "a")
    shutil.copytree(here, there)
    (there / "a" / "bundle" / "model.onnx").write_text("other")
    Tracker(there).store_bundle(run_id, there / "a" / "bundle")
    for home, content in ((here, "model"), (there, "other")):
        (stored,) = home.glob("mlruns/**/bundle/model.onnx")
        assert stored.read_text() == content


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


def test_a_new_database_is_a_copy_of_the_cached_one(
    mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's migrations run once for each user; nothing of the first workspace is in the copy."""
    assert mlflow_database.is_file()  # by now the cache of this user has the file
    (cached,) = cache_folder().glob(f"mlflow-{version('mlflow-skinny')}.db")
    (tmp_path / "cache").mkdir()
    shutil.copy(cached, tmp_path / "cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with closing(sqlite3.connect(tmp_path / "cache" / cached.name)) as opened, opened:
        opened.execute("create table mark (number)")
        assert opened.execute("select count(*) from experiments").fetchone() == (0,)
    Tracker(tmp_path / "home").open()
    with closing(sqlite3.connect(tmp_path / "home" / "mlflow.db")) as opened:
        assert opened.execute("select count(*) from mark").fetchone() == (0,)
        assert opened.execute("select name from experiments").fetchall() == [("Default",)]


@pytest.mark.long
def test_without_a_cache_mlflow_makes_the_same_tables(
    mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache folder cannot be made, such as on a disk that is read only."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    Tracker(tmp_path / "home").open()
    tables = []
    for path in (mlflow_database, tmp_path / "home" / "mlflow.db"):
        with closing(sqlite3.connect(path)) as opened:
            schema = opened.execute("select type, name, sql from sqlite_master order by 1, 2")
            revision = opened.execute("select version_num from alembic_version")
            # The order of columns in constraints follows the hashes of a process.
            words = [(kind, name, sorted((sql or "").split())) for kind, name, sql in schema]
            tables.append((words, revision.fetchall()))
    assert tables[0] == tables[1]
    assert len(tables[0][0]) > 100


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
    complete(tracker, work)
    tracker.register("mien-g", work, "d1", {}, never)
    return run_of(work)
