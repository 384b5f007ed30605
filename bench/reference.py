"""MediaPipe's own HandLandmarker behind the functions of `Landmarker`, to be compared with it.

The only importer of mediapipe. MediaPipe writes a few lines to standard error when it opens a
model; its library has no switch for that.
"""

from pathlib import Path

import numpy as np

from mien.images import Pixels
from mien.tasks.gesture.hands import Hand
from mien.tasks.gesture.landmarker import MAX_HANDS, look_twice


class Reference:
    """MediaPipe's hand landmarker, opened; for one thread at a time, to be closed."""

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

    def find(self, pixels: Pixels) -> list[Hand]:
        """Up to two hands of a picture, with the same second look as `Landmarker.find`."""
        return look_twice(self.look, pixels)

    def look(self, pixels: Pixels) -> list[Hand]:
        """Up to two hands that a single look at the whole picture finds."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        found = self._landmarker.detect(image)
        height, width = pixels.shape[:2]
        return [
            Hand(
                # MediaPipe scales z like x: both by the picture's width.
                points=np.array([[each.x, each.y, each.z] for each in points])
                * (width, height, width),
                handedness=sides[0].category_name,
                score=float(sides[0].score),
            )
            for points, sides in zip(found.hand_landmarks, found.handedness, strict=True)
        ]

    def close(self) -> None:
        """Free what the library holds."""
        self._landmarker.close()
