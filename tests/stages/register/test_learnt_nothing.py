"""A detector that has learnt nothing, through all stages: refused with the reason, or forced."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small

from mien import pipeline, tasks
from mien.errors import RegistryError
from mien.model import bundle
from mien.pipeline import RunReport
from mien.stages import predict
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Fit
from mien.tracking import CHALLENGER, Tracker


@pytest.fixture
def run(
    drawn_detector: Path,
    few_samples: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mlflow_database: Path,
) -> Callable[[str | None], RunReport]:
    """A run of the emotion task whose training leaves a detector with weights at random."""
    emotion = tasks.load("emotion")

    def fit(_name: str, _ready: Path, work: Path, *_rest: object) -> Fit:
        shutil.copy(drawn_detector / "model.onnx", work)
        return Fit(bundle.read(drawn_detector).manifest.preprocessing, ({"loss": 1.0},))

    untrained = replace(emotion, training=replace(emotion.training, fit=fit))
    faces = few_samples("emotion")
    monkeypatch.setattr(tasks, "load", lambda _: untrained)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(mlflow_database, home)
    config = small.EMOTION.model_copy(update={"source": str(faces)})
    return lambda force: pipeline.run(config, Workspace(home), force)


@pytest.mark.long
def test_a_detector_that_has_learnt_nothing_is_champion_by_force_alone(
    run: Callable[[str | None], RunReport], tmp_path: Path
) -> None:
    """The reason has the numbers and what to do; the history keeps it."""
    workspace = Workspace(tmp_path / "home")
    done = run(None).registered
    assert (done.number, done.alias) == (1, CHALLENGER)
    assert "it has learnt nothing measurable (on " in done.reason
    assert "mien data check" in done.reason
    with pytest.raises(RegistryError, match=r"no champion of emotion.*mien models emotion"):
        next(predict.predict([tmp_path], "emotion", None, workspace))
    forced = run("a demo of the tools").registered
    assert (forced.number, forced.alias) == (1, CHAMPION)
    reason = Tracker(workspace.home).history("mien-emotion")[-1].reason
    assert reason.startswith("a demo of the tools. Not trusted: it has learnt nothing")
