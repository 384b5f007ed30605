"""Runs the two networks of a hand landmarker with LiteRT; the only importer of ai_edge_litert.

Knows the task file that `weights.py` packs, a zip of two TensorFlow Lite files, and nothing of what
the networks see. LiteRT tells standard error once that it made its CPU kernels; it has no switch
for that.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError
from mien.runtime import inferring

PALMS, HANDS = "hand_detector.tflite", "hand_landmarks_detector.tflite"


class Network:
    """One network, opened with one thread: callers bring their own. For one thread at a time."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def run(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for a picture (side, side, 3), RGB, 0..1, without the batch axis."""
        with inferring():
            self._interpreter.set_tensor(self._input, picture[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index)[0] for index in self._outputs]

    def close(self) -> None:
        """Free what the library holds; the network is not to be run afterwards."""
        self._interpreter = None


@dataclass(frozen=True)
class Contents:
    """The two networks as they lie in a task file, read once for all threads."""

    path: Path
    palms: bytes
    hands: bytes


def read_task(path: Path) -> Contents:
    """Read a task file; whoever opens it later does not depend on the file any more.

    Raises:
        BundleError: the file is no such zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return Contents(path, archive.read(PALMS), archive.read(HANDS))
    except (OSError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} cannot be read as a hand landmarker: {error}") from error


def open_task(contents: Contents) -> tuple[Network, Network]:
    """Open the palm detector and the hand landmark network.

    Raises:
        BundleError: LiteRT cannot open them.
    """
    try:
        return Network(contents.palms), Network(contents.hands)
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{contents.path} cannot be opened by LiteRT: {error}") from error
