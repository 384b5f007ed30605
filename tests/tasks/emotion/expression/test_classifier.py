"""Promises of the classifier on frozen features: what it learns, the same bytes, its bundle."""

from pathlib import Path

import numpy as np
import pytest

from mien.model import bundle, runtime
from mien.task import Request
from mien.tasks.emotion.expression.linear import fit_layer
from mien.tasks.emotion.params import LABELS, Params
from mien.tasks.emotion.predict import detect_many
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.emotion.starter import crops

from ..short_training import train
from ..starter.package import Package

NAME = "face-api-logistic"
PARAMS = Params(candidates=(NAME,), threads=1)


def test_the_layer_separates_what_features_separate() -> None:
    """Three of the labels occur; a label without a face is never named."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 90) * 2
    values = random.normal(0, 0.3, (90, 2, 5)).astype(np.float32)
    values[np.arange(90), :, labels] += 2
    layer = fit_layer(values, labels, strength=1.0)
    logits = values[:, 0] @ layer["fc/weights"] + layer["fc/bias"]
    assert (logits.argmax(1) == labels).mean() > 0.95
    assert set(logits.argmax(1)) == {0, 2, 4}


@pytest.mark.long
def test_a_training_gives_the_same_bytes_twice_and_a_bundle_that_predicts(
    public_network: Package, prepared: Path, tmp_path: Path
) -> None:
    """The scores are those of all labels, the box that of the face detector."""
    one, two = (train(NAME, prepared, tmp_path / name, PARAMS) for name in ("one", "two"))
    content = (one.out / "model.onnx").read_bytes()
    assert content == (two.out / "model.onnx").read_bytes()
    assert one.fit.lineage["started_from"]["sha256"] == public_network.weights.sha256
    bundle.write(one.out, bundle.describe("emotion", LABELS, NAME, one.fit.preprocessing))
    picture = np.asarray(draw_face_image("happy").convert("RGB"))
    with runtime.load(one.out) as model:
        (prediction,) = detect_many([Request(image=picture)], model)
    assert prediction.best
    assert tuple(prediction.best.scores) == LABELS
    assert crops.FACE_DETECTOR in {path.name for path in one.out.iterdir()}
