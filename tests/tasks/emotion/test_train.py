"""Promises of the detector's training: repeatable and resumable.

That the exported file answers as torch does is held in `tests/test_parity.py`, with a network that
has learnt: one of three epochs says the same of every picture.
"""

from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.model.runtime import Session
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.train import candidates, outside

from .short import SHORT, Training, train

pytestmark = pytest.mark.xdist_group("torch")


@pytest.mark.parametrize("size", ["yolox-nano", "yolov9-t"])
def test_the_same_training_gives_the_same_bytes(size: str, ready: Path, tmp_path: Path) -> None:
    """Config, data and seed decide every byte of the ONNX file; another seed gives another."""
    one, two = (train(size, ready, tmp_path / name) for name in ("one", "two"))
    assert (one.out / "model.onnx").read_bytes() == (two.out / "model.onnx").read_bytes()
    other = train(size, ready, tmp_path / "three", seed=1)
    assert (one.out / "model.onnx").read_bytes() != (other.out / "model.onnx").read_bytes()


def test_an_interrupted_training_goes_on_and_ends_the_same(
    ready: Path, nano: Training, tmp_path: Path
) -> None:
    """After Ctrl-C the next start does the missing epochs only, and leaves the same bytes."""
    from mien.tasks.emotion.train import fit

    def stop(step: int, total: int, metrics: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("yolox-nano", ready, tmp_path, SHORT, 0, stop)
    again = train("yolox-nano", ready, tmp_path)
    assert again.fit.lineage["resumed"] is True
    assert again.steps == (3,)
    assert (tmp_path / "model.onnx").read_bytes() == (nano.out / "model.onnx").read_bytes()


def test_every_epoch_is_reported_with_its_metrics(nano: Training) -> None:
    """Losses and a validation score for each epoch, of the primer and of the detector."""
    assert nano.steps == (1, 2, 3)
    assert len(nano.fit.history) == 3
    assert all({"lr", "val_accuracy"} <= set(step) for step in nano.fit.history)
    assert nano.fit.lineage["started_from"] == "scratch"


def test_the_file_serves_batches_and_holds_no_trace_of_the_machine(nano: Training) -> None:
    """Dynamic batch; no path, date or metadata in it."""
    session = Session(nano.out / "model.onnx")
    batch = np.zeros((3, 3, 64, 64), np.float32)
    assert session.run({"images": batch})[0].shape[0] == 3
    raw = (nano.out / "model.onnx").read_bytes()
    assert str(nano.out).encode() not in raw
    assert b"/torch/" not in raw


def test_a_training_that_gets_no_better_stops_early(ready: Path, tmp_path: Path) -> None:
    """With a rate of nothing, the second epoch is not better than the first and the last."""
    still = {"epochs": 6, "primer_epochs": 0, "lr": 1e-12, "average": 0.0, "patience": 1}
    done = train("yolox-nano", ready, tmp_path, SHORT.model_copy(update=still))
    assert done.steps == (1, 2)


def test_a_device_that_is_not_there_is_refused(ready: Path, tmp_path: Path) -> None:
    """A GPU that torch does not find is an error of the config, not a silent fallback."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="finds no GPU"):
        train("yolox-nano", ready, tmp_path, SHORT.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"candidates": ("yolox-nanu",)}, "Did you mean 'yolox-nano'"),
        ({"candidates": ()}, "candidates is empty"),
    ],
)
def test_unknown_sizes_are_refused(params: dict[str, object], message: str) -> None:
    """A misspelt size names the nearest one."""
    with pytest.raises(ConfigError, match=message):
        candidates(Params(**params))  # type: ignore[arg-type]


def test_missing_pretrained_weights_are_refused(ready: Path, tmp_path: Path) -> None:
    """A path that is not there is an error; `auto` trains from scratch and says so."""
    with pytest.raises(ConfigError, match="no pretrained weights"):
        train("yolox-nano", ready, tmp_path / "a", SHORT.model_copy(update={"pretrained": "x.pt"}))


def test_pretrained_weights_are_used_and_named(
    nano: Training, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` takes the file of that size from the folder; the lineage has its name and hash."""
    (tmp_path / "weights").mkdir()
    best = nano.out / "work" / "best.pt"
    (tmp_path / "weights" / "yolox-nano.pt").write_bytes(best.read_bytes())
    monkeypatch.setenv("MIEN_PRETRAINED_DIR", str(tmp_path / "weights"))
    params = SHORT.model_copy(update={"pretrained": "auto", "epochs": 1, "primer_epochs": 0})
    done = train("yolox-nano", ready, tmp_path / "out", params)
    assert done.fit.lineage["started_from"].startswith("file yolox-nano.pt sha256 ")
    assert outside(params)["yolox-nano"] == done.fit.lineage["started_from"].split()[-1]
    assert outside(SHORT)["yolox-nano"] is None


def test_small_faces_train_with_a_primer_of_cut_out_ones(ready: Path, tmp_path: Path) -> None:
    """As configs/emotion_faces.yaml has it; the same bytes again, and others without."""
    small = SHORT.model_copy(update={"scatter": 0.7, "primer_crop": 32, "epochs": 1})
    one, two = (train("yolox-nano", ready, tmp_path / name, small) for name in ("one", "two"))
    assert (one.out / "model.onnx").read_bytes() == (two.out / "model.onnx").read_bytes()
    plain = small.model_copy(update={"scatter": 0.0})
    other = train("yolox-nano", ready, tmp_path / "three", plain)
    assert (one.out / "model.onnx").read_bytes() != (other.out / "model.onnx").read_bytes()
