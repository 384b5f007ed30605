"""Promises of the detector on a public network: nothing forgotten, boxes, repeatable bytes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mien.boxes import iou
from mien.errors import ConfigError, UnreachableError
from mien.tasks.emotion import networks
from mien.tasks.emotion.decode import detect
from mien.tasks.emotion.letterbox import Letterbox
from mien.tasks.emotion.params import LABELS, Params
from mien.tasks.emotion.starter import face_api, npm
from mien.tasks.emotion.train import candidates, external_weights, fit

from ..short_training import ShortTraining, train
from ..starter import package
from ..starter.package import Package

pytestmark = pytest.mark.xdist_group("torch")
SHORT = Params.model_validate(
    {"threads": 1, "finetuning": {"epochs": 2, "image_size": 64, "batch_size": 8}}
)


def test_the_blocks_compute_what_the_public_network_does() -> None:
    """With its own last layer on the pooled features, the probabilities of the converted file."""
    import torch

    from mien.tasks.emotion.expression.network import ExpressionBlocks

    tensors = package.draw().tensors
    pixels = np.random.default_rng(2).integers(0, 256, (2, 3, 112, 112)).astype(np.float32)
    with torch.no_grad():
        pooled = ExpressionBlocks(tensors)(torch.from_numpy(pixels)).mean((2, 3)).numpy()
    logits = pooled @ tensors["fc/weights"] + tensors["fc/bias"]
    actual = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    session = onnxruntime.InferenceSession(face_api.to_onnx(tensors))
    mean = np.asarray(face_api.SPEC.mean, np.float32)[:, None, None]
    expected = session.run(None, {"images": (pixels - mean) / np.float32(255)})[0]
    assert np.abs(actual - expected).max() < 1e-5


def test_the_emotion_of_a_face_is_that_of_the_cells_in_its_box() -> None:
    """Two faces side by side: each box gets the logits of its own half."""
    import torch

    from mien.tasks.emotion.expression.detector import pool

    centres = torch.tensor(
        [[16.0 * (x + 0.5), 16.0 * (y + 0.5)] for y in range(4) for x in range(4)]
    )
    left = (centres[:, 0] < 32).float()
    logits = torch.stack([left * 4, (1 - left) * 4], 1)[None]
    boxes = torch.tensor([[[0.0, 0, 32, 64], [32.0, 0, 64, 64], [0.0, 0, 64, 64]]])
    pooled = pool(logits, boxes, centres)[0].softmax(1)
    assert pooled[0, 0] > 0.9
    assert pooled[1, 1] > 0.9
    assert pooled[2].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.long
def test_training_learns_boxes_and_emotions_of_two_faces_in_one_image() -> None:
    """After some steps on one image, decoding finds both, each with its own emotion."""
    import torch

    from mien.tasks.emotion.expression.detector import ExpressionDetector, losses

    torch.manual_seed(0)
    detector = ExpressionDetector(package.draw().tensors, label_count=3)
    pixels = torch.zeros(1, 3, 128, 128)
    pixels[:, 0, 16:80, 0:56] = 255.0
    pixels[:, 1, 32:112, 72:128] = 255.0
    boxes = torch.tensor([[[0.0, 0, 16, 56, 80], [2.0, 72, 32, 128, 112], [-1.0, 0, 0, 0, 0]]])
    target = torch.nn.functional.one_hot(boxes[..., 0].clamp(min=0).long(), 3).float()
    optimizer = torch.optim.Adam(detector.parameters(), lr=0.01)
    for _ in range(120):
        optimizer.zero_grad()
        sum(losses(detector.raw_outputs(pixels), boxes, target, 128).values()).backward()
        optimizer.step()
    output = detector(pixels)[0].detach().numpy()
    spec = networks.family("face-api").spec(128)
    boxes_xyxy, scores = detect(output, spec, Letterbox(1.0, 0, 0, 128, 128))
    for label, *corners in boxes[0, :2].numpy():
        ious = iou(np.array(corners, np.float32), boxes_xyxy)
        assert ious.max() > 0.6
        assert scores[ious.argmax()].argmax() == label


@pytest.mark.long
def test_the_same_training_gives_the_same_bytes_and_resumes(
    public_network: Package, prepared: Path, tmp_path: Path
) -> None:
    """Config, data and seed determine the file; after an interrupt the missing epoch is trained."""
    whole = train("face-api", prepared, tmp_path / "one", SHORT)
    broken = tmp_path / "two"

    def stop(step: int, total: int, metrics: object) -> None:
        raise KeyboardInterrupt

    broken.mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit("face-api", prepared, broken, SHORT, 0, stop)
    again = train("face-api", prepared, broken, SHORT)
    assert (whole.steps, again.steps) == ((1, 2), (2,))
    assert model(whole) == model(again)
    assert whole.fit.lineage["started_from"].startswith("npm @vladmandic/face-api@")
    assert public_network.weights.sha256[face_api.SHARD] in whole.fit.lineage["started_from"]


def model(training: ShortTraining) -> bytes:
    return (training.out / "model.onnx").read_bytes()


def test_the_exported_file_predicts_like_torch(public_network: Package, tmp_path: Path) -> None:
    """A batch of two, by both."""
    import torch

    network, _ = networks.build("face-api", LABELS, 0, None)
    spec = networks.family("face-api").spec(96)
    networks.export(network, "face-api", spec, tmp_path / "model.onnx")
    inputs = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 96)).astype(np.float32)
    with torch.no_grad():
        expected = networks.predict(network, "face-api", torch.from_numpy(inputs)).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    actual = session.run(None, {"images": inputs})[0]
    assert actual.shape == (2, 36, 5 + len(LABELS))
    assert np.abs(actual - expected).max() < 1e-3


def test_without_packages_only_candidates_from_scratch_are_trained() -> None:
    """`pretrained: none` needs no network and names no hash; alone it is refused with a remedy."""
    params = Params(candidates=("yolox-nano", "face-api"))
    assert candidates(params) == ("yolox-nano", "face-api")
    offline = params.model_copy(update={"pretrained": "none"})
    assert candidates(offline) == ("yolox-nano",)
    assert external_weights(offline) == {"yolox-nano": None}
    with pytest.raises(ConfigError, match="yolox-nano"):
        candidates(Params(candidates=("face-api",), pretrained="none"))


def test_a_missing_package_ends_the_run_before_the_first_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says what to install, and how to train without it."""

    def no_npm() -> str:
        raise UnreachableError("npm: expected it on PATH, found none.")

    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    monkeypatch.setattr(npm, "find", no_npm)
    with pytest.raises(UnreachableError, match=r"npm: expected .* params.pretrained=none"):
        external_weights(Params(candidates=("yolox-nano", "face-api")))


def test_the_lineage_names_every_file_of_the_package(public_network: Package) -> None:
    """Hashes of all its files: the result depends on them."""
    weights = external_weights(Params(candidates=("yolox-nano", "face-api")))
    assert weights == {"yolox-nano": None, "face-api": dict(public_network.weights.sha256)}
