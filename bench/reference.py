"""MediaPipe's own HandLandmarker with the methods of mien's, to be compared with it.

The only importer of mediapipe. MediaPipe writes a few lines to standard error when it opens a
model; its library has no switch for that.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mien.images import Pixels
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarker import MAX_HANDS
from mien.mediapipe.hand_landmarks import Hand

T = TypeVar("T")
_NEWNET = 0x40000000


class Reference:
    """MediaPipe's hand landmarker, opened in a thread without a network. Not thread-safe."""

    def __init__(self) -> None:
        path, _ = weights.task_file()
        self._thread = _thread_without_network()
        self._mediapipe, self._landmarker = self._thread.submit(_open, path).result()

    def detect(self, pixels: Pixels) -> list[Hand]:
        """Up to two hands of a picture."""
        # MediaPipe 1.2.3 reads an array without its strides: of a view it sees other pixels.
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        result = self._thread.submit(self._landmarker.detect, image).result()
        height, width = pixels.shape[:2]
        return [
            Hand(
                # MediaPipe scales z like x: both by the picture's width.
                landmarks=np.array([[each.x, each.y, each.z] for each in points])
                * (width, height, width),
                handedness=sides[0].category_name,
                score=float(sides[0].score),
            )
            for points, sides in zip(result.hand_landmarks, result.handedness, strict=True)
        ]

    def close(self) -> None:
        """Free what the library holds."""
        self._thread.submit(self._landmarker.close).result()
        self._thread.shutdown()


def without_network(work: Callable[[], T]) -> T:
    """Return what `work` returns in a thread that has no network, nor have threads that it starts.

    MediaPipe 1.2.3 looks up a log host after its first picture, and no option prevents it. Where
    the system does not grant it (Linux does to the superuser), the thread has the usual network.
    """
    with _thread_without_network() as thread:
        return thread.submit(work).result()


def _thread_without_network() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "mediapipe", initializer=_leave_network)


def _leave_network() -> None:
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is not None:
        unshare(_NEWNET)


def _open(path: Path) -> tuple[Any, Any]:
    import mediapipe

    vision = mediapipe.tasks.vision
    options = vision.HandLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)),
        running_mode=vision.RunningMode.IMAGE,
        num_hands=MAX_HANDS,
    )
    return mediapipe, vision.HandLandmarker.create_from_options(options)
