"""The training of the detector is repeatable and resumable.

`tests/test_parity.py` compares the exported file with torch, with a network of more epochs: after
three, it answers the same for every image.
"""

from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.model.runtime import Session
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.train import candidates, external_weights, fit

from .short_training import SHORT, ShortTraining, train

pytestmark = pytest.mark.xdist_group("torch")


@pytest.mark.long
@pytest.mark.parametrize("size", ["yolox-nano", "yolov9-t"])
def test_the_same_training_gives_the_same_bytes(size: str, prepared: Path, tmp_path: Path) -> None:
    """Config, data and seed determine every byte of the ONNX file; another seed gives another."""
    one, two = (train(size, prepared, tmp_path / name) for name in ("one", "two"))
    assert (one.out / "model.onnx").read_bytes() == (two.out / "model.onnx").read_bytes()
    other = train(size, prepared, tmp_path / "three", seed=1)
    assert (one.out / "model.onnx").read_bytes() != (other.out / "model.onnx").read_bytes()


@pytest.mark.long
def test_an_interrupted_training_resumes_and_ends_the_same(
    prepared: Path, nano: ShortTraining, tmp_path: Path
) -> None:
    """After Ctrl-C the next start trains the missing epochs only and gives the same bytes."""

    def stop(step: int, total: int, metrics: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("yolox-nano", prepared, tmp_path, SHORT, 0, stop)
    again = train("yolox-nano", prepared, tmp_path)
    assert again.fit.lineage["resumed"] is True
    assert again.steps == (3,)
    assert (tmp_path / "model.onnx").read_bytes() == (nano.out / "model.onnx").read_bytes()


@pytest.mark.long
def test_every_epoch_is_reported_with_its_metrics(nano: ShortTraining) -> None:
    """Losses and a validation score for each epoch of both phases."""
    assert nano.steps == (1, 2, 3)
    assert len(nano.fit.history) == 3
    assert all({"lr", "val_accuracy"} <= set(step) for step in nano.fit.history)
    assert nano.fit.lineage["started_from"] == "scratch"


@pytest.mark.long
def test_the_file_accepts_batches_and_contains_no_trace_of_the_machine(nano: ShortTraining) -> None:
    """Dynamic batch size; no path, date or metadata."""
    session = Session(nano.out / "model.onnx")
    batch = np.zeros((3, 3, 64, 64), np.float32)
    assert session.run({"images": batch})[0].shape[0] == 3
    raw = (nano.out / "model.onnx").read_bytes()
    assert str(nano.out).encode() not in raw
    assert b"/torch/" not in raw


@pytest.mark.long
def test_a_training_without_improvement_stops_early(prepared: Path, tmp_path: Path) -> None:
    """With a learning rate of almost 0, the second epoch is not better than the first: it ends."""
    changes = {"epochs": 6, "pretrain_epochs": 0, "lr": 1e-12, "ema_decay": 0.0}
    params = SHORT.model_copy(update={**changes, "early_stopping_patience": 1})
    assert train("yolox-nano", prepared, tmp_path, params).steps == (1, 2)


def test_a_missing_device_is_refused(prepared: Path, tmp_path: Path) -> None:
    """A GPU that torch does not find is a config error; there is no silent fallback."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="expected a GPU"):
        train("yolox-nano", prepared, tmp_path, SHORT.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"candidates": ("yolox-nanu",)}, "Did you mean 'yolox-nano'"),
        ({"candidates": ()}, "expected at least one candidate"),
    ],
)
def test_unknown_candidates_are_refused(params: dict[str, object], message: str) -> None:
    """A misspelt one names the nearest."""
    with pytest.raises(ConfigError, match=message):
        candidates(Params(**params))  # type: ignore[arg-type]


def test_missing_pretrained_weights_are_refused(prepared: Path, tmp_path: Path) -> None:
    """A path that does not exist is an error."""
    params = SHORT.model_copy(update={"pretrained_weights": "x.pt"})
    with pytest.raises(ConfigError, match="expected a file, found none"):
        train("yolox-nano", prepared, tmp_path / "a", params)


@pytest.mark.long
def test_pretrained_weights_are_used_and_recorded(
    nano: ShortTraining, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` uses the file of that size in the folder; the lineage has its name and hash."""
    (tmp_path / "weights").mkdir()
    best = nano.out / "work" / "best.pt"
    (tmp_path / "weights" / "yolox-nano.pt").write_bytes(best.read_bytes())
    monkeypatch.setenv("MIEN_PRETRAINED_DIR", str(tmp_path / "weights"))
    changes = {"pretrained_weights": "auto", "epochs": 1, "pretrain_epochs": 0}
    params = SHORT.model_copy(update=changes)
    training = train("yolox-nano", prepared, tmp_path / "out", params)
    started_from = training.fit.lineage["started_from"]
    assert started_from.startswith("file yolox-nano.pt sha256 ")
    assert external_weights(params)["yolox-nano"] == started_from.split()[-1]
    assert external_weights(SHORT)["yolox-nano"] is None


@pytest.mark.long
def test_training_with_small_faces_and_pretraining_on_crops(prepared: Path, tmp_path: Path) -> None:
    """As in emotion_faces.yaml: repeatable, and different from a training without."""
    changes = {"small_object_prob": 0.7, "pretrain_crop_size": 32, "epochs": 1}
    small = SHORT.model_copy(update=changes)
    one, two = (train("yolox-nano", prepared, tmp_path / name, small) for name in ("one", "two"))
    assert (one.out / "model.onnx").read_bytes() == (two.out / "model.onnx").read_bytes()
    plain = small.model_copy(update={"small_object_prob": 0.0})
    other = train("yolox-nano", prepared, tmp_path / "three", plain)
    assert (one.out / "model.onnx").read_bytes() != (other.out / "model.onnx").read_bytes()
