"""MediaPipe's own HandLandmarker with the methods of mien's, to be compared with it.

The only importer of mediapipe. MediaPipe writes a few lines to standard error when it opens a
model; its library has no switch for that.
"""

from pathlib import Path

import numpy as np

from mien.images import Pixels
from mien.mediapipe.hand_landmarker import MAX_HANDS, detect_with_tiling
from mien.mediapipe.hand_landmarks import Hand


class Reference:
    """MediaPipe's hand landmarker, opened. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        import mediapipe

        self._mediapipe = mediapipe
        vision = mediapipe.tasks.vision
        options = vision.HandLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.IMAGE,
            num_hands=MAX_HANDS,
        )
        self._landmarker = vision.HandLandmarker.create_from_options(options)

    def detect(self, pixels: Pixels) -> list[Hand]:
        """Up to two hands of a picture, with the same tiles as `HandLandmarker.detect`."""
        return detect_with_tiling(self.detect_once, pixels)

    def detect_once(self, pixels: Pixels) -> list[Hand]:
        """Up to two hands that MediaPipe detects in the whole picture."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        result = self._landmarker.detect(image)
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
        self._landmarker.close()
