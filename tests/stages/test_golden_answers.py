"""Promises of the stages on golden answers: made by training, checked wherever a bundle answers."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
from golden_bundle import falsify

from mien import config, pipeline
from mien.errors import BundleError
from mien.mediapipe.weights import PALM_DETECTOR
from mien.model import bundle, golden
from mien.model.runtime import Model
from mien.stages import Run
from mien.stages.batch import batch
from mien.stages.data import data
from mien.stages.predict import predict
from mien.stages.train import train
from mien.storage.workspace import Workspace


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Path:
    """The bundle of a gesture run that is over in seconds."""
    folder = tmp_path_factory.mktemp("golden")
    run = config.load(tiny.write(folder))
    (folder / "home").mkdir()
    shutil.copy(mlflow_database, folder / "home")
    pipeline.run(run, Workspace(folder / "home"))
    (made,) = (folder / "home").glob(f"models/gesture/trained/*/{tiny.CANDIDATE}")
    return made


@pytest.fixture
def altered(trained: Path, tmp_path: Path) -> Path:
    """The same bundle, as if it were made on a processor that answers differently."""
    bundle.copy(trained, tmp_path / "altered")
    falsify(tmp_path / "altered")
    return tmp_path / "altered"


@pytest.fixture
def hand(trained: Path) -> Path:
    """A CSV of hands."""
    return trained.parents[5] / "hands.csv"


@pytest.mark.long
def test_training_leaves_golden_answers(trained: Path) -> None:
    """For every network, of what the task itself draws."""
    document = json.loads((trained / golden.GOLDEN).read_text())
    assert set(document["networks"]) == {"model.onnx"}
    assert document["networks"]["model.onnx"]["cases"] >= 1
    with golden.load(trained) as model:
        assert golden.check(model).max_difference == 0


def test_predict_refuses_a_bundle_that_answers_differently(
    trained: Path, altered: Path, hand: Path
) -> None:
    """Before it answers any file; the sound bundle answers each."""
    workspace = Workspace(trained)
    assert len(list(predict([hand], None, trained, workspace))) == 1
    with pytest.raises(BundleError, match="answers its golden inputs differently"):
        list(predict([hand], None, altered, workspace))


def test_batch_refuses_a_bundle_that_answers_differently(
    trained: Path, altered: Path, hand: Path, tmp_path: Path
) -> None:
    """And writes no table; the sound bundle writes one."""
    workspace = Workspace(trained)
    with pytest.raises(BundleError, match="answers its golden inputs differently"):
        batch(hand, tmp_path / "out.csv", workspace, bundle=altered)
    assert not (tmp_path / "out.csv").exists()
    assert batch(hand, tmp_path / "out.csv", workspace, bundle=trained).failed == 0


@pytest.mark.long
def test_a_training_searches_each_golden_picture_once(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All candidates have the same hand landmarker."""
    searched = []
    run = Model.run

    def counted(model: Model, feeds: Mapping[str, Any], name: str = "model.onnx") -> Any:
        if name == PALM_DETECTOR:
            searched.append(model.bundle.manifest.candidate)
        return run(model, feeds, name)

    candidates = ("logistic_regression", "svm")
    tiny_run = config.load(tiny.write(tmp_path))
    params = {**tiny_run.params, "candidates": candidates, "accept_images": True}
    shutil.copy(mlflow_database, tmp_path)
    run_of_two = Run.resolve(tiny_run.model_copy(update={"params": params}), Workspace(tmp_path))
    data(run_of_two)
    monkeypatch.setattr(Model, "run", counted)
    trained = train(run_of_two)
    assert sorted(trained.fresh) == sorted(candidates)
    assert searched == ["logistic_regression"] * 2, "the picture and its mirror image"
    for each in candidates:
        with golden.load(trained.folder / each) as model:
            assert golden.check(model).max_difference == 0
