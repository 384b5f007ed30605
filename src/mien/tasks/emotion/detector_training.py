"""Trains a detector and exports it as one ONNX file: the only entry to the code that needs torch.

Connects the networks of LibreYOLO (`networks.py`), the data (`split_tensors.py`) and the training
loop (`trainer.py`). Knows neither stages nor tracking; its work folder is not part of a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.model import runtime

from . import networks
from .expression.detector import ExpressionDetector
from .expression.linear import fit_layer
from .letterbox import letterbox, to_nchw
from .recipe import Recipe, TrainedDetector
from .split_tensors import load_split
from .trainer import BEST_CHECKPOINT, OnEpoch, train
from .training_setup import TrainingSetup

_MAX_KEEP_BYTES = 2**31 - 1
"""All memory; the largest number that mallopt accepts."""
_FEATURES_BATCH = 32
_START_STRENGTH = 0.003
"""C of the logistic regression that a detector on a public network starts from."""
TorchDetector = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def train_detector(
    size: str,
    data_yaml: Path,
    out: Path,
    recipe: Recipe,
    labels: Sequence[str],
    seed: int,
    on_epoch: OnEpoch,
) -> TrainedDetector:
    """Train a detector on a YOLO data set and export it to `out/model.onnx`.

    Equal arguments on one machine give equal bytes. An interrupted training is resumed.

    Args:
        size: a key of `networks.FAMILIES`.
        data_yaml: see `split_tensors.load_split`.
        labels: names in the order of the numbers in the label files.
        on_epoch: called after every epoch with its number from 1 and its metrics.

    Raises:
        ConfigError: an unknown size, a missing device, or unusable pretrained weights.
        DataError: the data set cannot be read.
        TrainingError: the loss diverged.
    """
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("params.device: expected a GPU for cuda, torch found none. Set cpu.")
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    start = process_time()
    with deterministic_torch(recipe.threads, seed):
        network, setup, started_from = _start(size, data_yaml, recipe, labels, seed)
        prepared_s = process_time() - start
        state, resumed = train(setup, network, seed, work, on_epoch)
        networks.export(state.ema["network"].cpu(), size, setup.spec, out / "model.onnx")
    cpu_s = prepared_s + state.cpu_s
    history, best, onnx = state.history, state.best_epoch, out / "model.onnx"
    return TrainedDetector(onnx, setup.spec, history, best, started_from, resumed, cpu_s)


def load_torch_detector(out: Path, size: str, label_count: int, side: int) -> TorchDetector:
    """Load the torch weights of a finished training, to compare the exported file with them.

    Returns a function that computes for one RGB image (h, w, 3) what the exported file does.
    """
    family = networks.family(size)
    network, _ = networks.build(size, [""] * label_count, 0, None)
    saved = torch.load(out / "work" / BEST_CHECKPOINT, map_location="cpu", weights_only=True)
    network.load_state_dict(saved["model"])
    spec = family.spec(side)

    def output(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        canvas, _ = letterbox(image, side, spec.pad_value)
        inputs = torch.from_numpy(to_nchw(canvas, spec))
        with torch.no_grad():
            batch = networks.predict(network, family.output_format, inputs)
        result: NDArray[np.float32] = batch[0].numpy()
        return result

    return output


def _start(
    size: str, data_yaml: Path, recipe: Recipe, labels: Sequence[str], seed: int
) -> tuple[networks.Network, TrainingSetup, str]:
    """The network before the first step, the setup, and where the network's weights come from."""
    network, started_from = networks.build(size, labels, seed, recipe.pretrained_weights)
    setup = _load_setup(size, data_yaml, recipe, labels, (seed, started_from))
    if isinstance(network, ExpressionDetector):
        _start_from_features(network, setup)
    return network, setup, started_from


def _load_setup(
    size: str, data_yaml: Path, recipe: Recipe, labels: Sequence[str], start: tuple[int, str]
) -> TrainingSetup:
    """Load the data; `start` is the seed and the origin of the initial weights."""
    family = networks.family(size)
    pad = family.spec(recipe.image_size).pad_value
    train_split, val_split = (
        load_split(data_yaml, split, recipe.image_size, pad, len(labels))
        for split in ("train", "val")
    )
    identity = _identity(
        size, recipe.as_dict(), list(labels), *start, train_split.digest, val_split.digest
    )
    return TrainingSetup(family, recipe, len(labels), train_split, val_split, identity)


def _start_from_features(network: ExpressionDetector, setup: TrainingSetup) -> None:
    """Fit the last layer before the first step, so that the blocks are not pulled away from what
    they know."""
    network.backbone.frozen = setup.recipe.frozen_blocks
    split = setup.train
    batches = zip(
        split.pixels.split(_FEATURES_BATCH), split.boxes.split(_FEATURES_BATCH), strict=True
    )
    features = torch.cat(
        [network.face_features(pixels.float(), boxes[..., 1:]) for pixels, boxes in batches]
    )
    labels = split.boxes[..., 0].flatten()
    values = features.flatten(0, 1)[labels >= 0]
    numbers = labels[labels >= 0].long()
    network.start_from(fit_layer(values[:, None].numpy(), numbers.numpy(), _START_STRENGTH))


def _identity(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([*parts, torch.__version__]).encode()).hexdigest()


@contextmanager
def deterministic_torch(threads: int, seed: int) -> Iterator[None]:
    """Fix all settings that determine the last digits of a sum; restore them afterwards."""
    # Returning memory to the system after each step costs a fifth of the time.
    runtime.tune_malloc(keep_bytes=_MAX_KEEP_BYTES)
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    # `use_deterministic_algorithms` does the same, and loads torch's compiler for a second.
    torch.set_deterministic_debug_mode("warn")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
