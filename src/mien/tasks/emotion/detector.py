"""Trains a detector and leaves one ONNX file: the door to everything that needs torch.

Joins the networks of LibreYOLO (`networks.py`), the pictures (`pictures.py`) and the training
loop (`learning.py`). Knows neither stages nor tracking; the work folder it trains in is no
part of a bundle.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import ConfigError

from . import networks
from .decode import letterbox, planes
from .learning import OnEpoch, learn
from .lesson import Lesson
from .pictures import read_split
from .recipe import Recipe, Trained

Reference = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
WEIGHTS = "best.pt"
"""The trained torch weights in `out/work`, for comparison with the exported file."""


def train(
    size: str,
    data_yaml: Path,
    out: Path,
    recipe: Recipe,
    labels: Sequence[str],
    seed: int,
    on_epoch: OnEpoch,
) -> Trained:
    """Train a detector on a YOLO data set and export it to `out/model.onnx`.

    Same size, recipe, data and seed on one machine give the same bytes, also after an
    interruption: an unfinished checkpoint of the same training in `out/work` is continued.

    Args:
        size: a key of `networks.FAMILIES`.
        data_yaml: names `path`, `train` and `val`; see `pictures.read_split`.
        labels: names in the order of the numbers in the label files.
        on_epoch: called after every epoch with its number from 1 and its metrics.

    Raises:
        ConfigError: an unknown size, no such device, or pretrained weights that cannot be used.
        DataError: the data set cannot be read.
        TrainingError: the loss diverged.
    """
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("params.device is cuda, and torch finds no GPU. Set it to cpu.")
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    chosen = networks.family(size)
    facts = chosen.facts(recipe.image_size)
    with _settings(recipe.threads, seed):
        network, started_from = networks.build(size, labels, seed, recipe.pretrained)
        train_split, val_split = (
            read_split(data_yaml, split, recipe.image_size, facts["pad_value"], len(labels))
            for split in ("train", "val")
        )
        identity = _identity(
            size, recipe.as_dict(), list(labels), seed, started_from,
            train_split.digest, val_split.digest,
        )  # fmt: skip
        lesson = Lesson(chosen, recipe, len(labels), train_split, val_split, identity)
        progress, resumed = learn(lesson, network, seed, work, on_epoch)
        network = progress.average["network"].cpu()
        networks.export(network, size, recipe.image_size, out / "model.onnx")
    return Trained(
        onnx=out / "model.onnx",
        facts=facts,
        history=progress.history,
        best_epoch=progress.best_epoch,
        started_from=started_from,
        resumed=resumed,
    )


def reference(out: Path, size: str, label_count: int, side: int) -> Reference:
    """Open the torch weights of a finished training, to hold the exported file against them.

    Returns a function that gives for one RGB picture (h, w, 3) what the exported file gives.
    """
    chosen = networks.family(size)
    network, _ = networks.build(size, [""] * label_count, 0, None)
    stored = torch.load(out / "work" / WEIGHTS, map_location="cpu", weights_only=True)
    network.load_state_dict(stored["model"])
    facts = chosen.facts(side)

    def output(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        canvas, _ = letterbox(image, side, facts["pad_value"])
        inputs = torch.from_numpy(planes(canvas, facts))
        with torch.no_grad():
            batch = networks.predict(network, chosen.layout, inputs)
        result: NDArray[np.float32] = batch[0].numpy()
        return result

    return output


def _identity(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([*parts, torch.__version__]).encode()).hexdigest()


@contextmanager
def _settings(threads: int, seed: int) -> Iterator[None]:
    """Fix what decides the last digits of a sum, and give the process its own settings back."""
    _keep_memory()
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _keep_memory() -> None:
    """Tell glibc to keep freed memory: giving it back after every step costs a fifth of the time.

    The numbers are M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h; other C libraries have no
    such function and need none.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, (1 << 31) - 1)
