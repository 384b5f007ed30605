"""Runs networks of TensorFlow Lite files with LiteRT; the only importer of ai_edge_litert.

Knows nothing of what a network sees. LiteRT tells standard error once that it made its CPU kernels;
it has no switch for that.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.model.runtime import inference_timer


class Network:
    """One network, opened with one thread: callers bring their own. For one thread at a time."""

    def __init__(self, content: bytes) -> None:
        """Open what a file holds.

        Raises:
            RuntimeError, ValueError: as LiteRT has it, over bytes that are no such file.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def run(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for a picture (side, side, 3), RGB, without the batch axis."""
        with inference_timer():
            self._interpreter.set_tensor(self._input, picture[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index)[0] for index in self._outputs]

    def close(self) -> None:
        """Free what the library holds; the network is not to be run afterwards."""
        self._interpreter = None
