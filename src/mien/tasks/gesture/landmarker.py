"""Finds hands in a picture with MediaPipe's HandLandmarker; the only importer of mediapipe.

Knows pictures and pixels, not gestures. MediaPipe writes a few lines to standard error when it
opens a model; its library has no switch for that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError
from mien.runtime import inferring

MAX_HANDS = 2
CLOSE_UP = 0.6
"""Side of the squares of the second look, as a share of the picture's shorter side. The palm
detector sees 192 x 192 pixels, too few for the hand of a person at full length: of 268 photos that
show a gesture it misses 25; with the second look 5. Squares of 0.5, 0.7, 0.8 and 1 miss more."""
SMALLEST = 64
"""Side in pixels below which a square holds too little to look at again."""


@dataclass(frozen=True)
class Hand:
    """One hand of a picture."""

    points: NDArray[np.float64]
    """(21, 3): x and y in pixels of the picture, z in the same unit, negative to the camera."""
    handedness: str
    """Left or Right, as the person whose hand it is would say."""
    score: float
    """How sure the detector is of the handedness, 0..1."""


class Landmarker:
    """MediaPipe's hand landmarker, opened; for one thread at a time, to be closed.

    Raises:
        BundleError: the file is no task bundle that MediaPipe can open.
    """

    def __init__(self, path: Path) -> None:
        import mediapipe

        self._mediapipe = mediapipe
        vision = mediapipe.tasks.vision
        options = vision.HandLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.IMAGE,
            num_hands=MAX_HANDS,
        )
        try:
            self._landmarker = vision.HandLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{path} cannot be opened by MediaPipe: {error}") from error

    def find(self, pixels: NDArray[np.uint8]) -> list[Hand]:
        """Return up to two hands of a picture (height, width, 3), RGB, upright.

        Where the whole picture shows none, its parts are looked at until one shows a hand.
        """
        hands = self._detect(pixels, 0, 0)
        for left, top, side in squares(pixels.shape[1], pixels.shape[0]):
            if hands:
                break
            hands = self._detect(pixels[top : top + side, left : left + side], left, top)
        return hands

    def close(self) -> None:
        """Free what the library holds."""
        self._landmarker.close()

    def _detect(self, pixels: NDArray[np.uint8], left: int, top: int) -> list[Hand]:
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        with inferring():
            found = self._landmarker.detect(image)
        height, width = pixels.shape[:2]
        return [
            Hand(
                points=_in_pixels(points, width, height) + np.array([left, top, 0]),
                handedness=sides[0].category_name,
                score=float(sides[0].score),
            )
            for points, sides in zip(found.hand_landmarks, found.handedness, strict=True)
        ]


def squares(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover a picture: three by two, from the top.

    None for a picture too small to gain by it.
    """
    side = int(CLOSE_UP * min(width, height))
    if side < SMALLEST:
        return
    columns, rows = (3, 2) if width > height else (2, 3)
    for top in np.linspace(0, height - side, rows).astype(int):
        for left in np.linspace(0, width - side, columns).astype(int):
            yield int(left), int(top), side


def _in_pixels(points: Any, width: int, height: int) -> NDArray[np.float64]:
    # MediaPipe scales z like x: both by the picture's width.
    return np.array([[point.x * width, point.y * height, point.z * width] for point in points])
