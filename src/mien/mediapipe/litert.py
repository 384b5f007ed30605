"""Runs TensorFlow Lite networks with LiteRT; the only importer of ai_edge_litert.

LiteRT writes one line to standard error when it creates its CPU kernels; it has no switch for that.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.model.runtime import inference_timer


class LiteRtNetwork:
    """One network, opened with one thread: callers bring their own. Not thread-safe."""

    def __init__(self, model: bytes) -> None:
        """Open the content of a .tflite file.

        Raises:
            RuntimeError, ValueError: LiteRT cannot read it.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def run(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for an image (side, side, 3), RGB, without the batch axis."""
        with inference_timer():
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index)[0] for index in self._outputs]

    def close(self) -> None:
        """Free what the library holds; the network cannot be run afterwards."""
        self._interpreter = None
