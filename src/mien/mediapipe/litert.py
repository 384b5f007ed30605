"""Runs TensorFlow Lite networks with LiteRT; the only importer of ai_edge_litert."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from threading import RLock
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

        with _without_notice():
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


_NOTICE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
_STDERR = 2
_opening = RLock()
"""Held while the first network of a process is opened: a second thread must not be faster."""
_opened: list[bool] = []


@contextmanager
def _without_notice() -> Iterator[None]:
    """Drop the line that LiteRT 2.3 writes to standard error for the first network of a process: it
    has no switch for that. Whatever else is written meanwhile is written afterwards."""
    with _opening:
        if not _opened:
            with _notice_dropped():
                yield
            _opened.append(True)
            return
    yield


@contextmanager
def _notice_dropped() -> Iterator[None]:
    try:
        original = os.dup(_STDERR)
    except OSError:  # standard error is closed
        yield
        return
    with TemporaryFile() as written:
        os.dup2(written.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(original, _STDERR)
            os.close(original)
            written.seek(0)
            if rest := written.read().replace(_NOTICE, b""):
                os.write(_STDERR, rest)
