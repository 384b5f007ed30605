"""Runs the converted networks with ONNX Runtime: from a bundle, or from their bytes alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.model.runtime import Model, inference_timer, shared_session

from .tflite_to_onnx import INPUT, to_onnx

RunNetwork = Callable[[NDArray[np.float32]], list[NDArray[Any]]]
"""`run(planes)` returns the outputs for planes (channels, height, width), without the batch axis.
Several threads may call it at once."""


def of_bundle(model: Model, name: str) -> RunNetwork:
    """A network of an open bundle."""
    return lambda planes: [output[0] for output in model.run({INPUT: planes[None]}, name)]


def from_tflite(content: bytes) -> RunNetwork:
    """Convert and open a .tflite file."""
    session = shared_session(to_onnx(content))

    def run(planes: NDArray[np.float32]) -> list[NDArray[Any]]:
        with inference_timer():
            return [output[0] for output in session.run({INPUT: planes[None]})]

    return run
