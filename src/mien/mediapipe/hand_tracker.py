"""Tracks the hands of one video, so that the palm detector does not run on every frame.

MediaPipe's video mode detects palms in every frame with fewer hands than the maximum; here every
`REDETECT_INTERVAL`-th frame has to do.
"""

import numpy as np
from numpy.typing import NDArray

from mien.images import Pixels

from .hand_landmarker import MAX_HANDS, HandLandmarker
from .hand_landmarks import Hand, next_roi, remove_duplicates

REDETECT_INTERVAL = 15
"""Frames after which palms are detected again while only one hand is tracked: half a second."""
SCENE_CHANGE = 0.1
"""Mean change of a thumbnail, 0..1, above which a frame belongs to another scene."""
_THUMBNAIL_SIDE = 16


class HandTracker:
    """The state after the frames so far. For one video and one thread; frames in their order."""

    def __init__(self) -> None:
        self._hands: list[Hand] = []
        self._thumbnail: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()
        self._frames_since_detection = 0

    def detect(self, pixels: Pixels, landmarker: HandLandmarker) -> list[Hand]:
        """Return up to two hands of the next frame (height, width, 3), RGB, upright."""
        thumbnail = _thumbnail(pixels)
        new_scene = pixels.shape != self._shape or self._scene_changed(thumbnail)
        tracked = [] if new_scene else self._track(pixels, landmarker)
        if not tracked or len(tracked) < len(self._hands):
            self._hands, self._frames_since_detection = landmarker.detect(pixels), 0
        elif self._frames_since_detection + 1 >= REDETECT_INTERVAL and len(tracked) < MAX_HANDS:
            detected = landmarker.detect_once(pixels)
            self._hands = remove_duplicates([*detected, *tracked])[:MAX_HANDS]
            self._frames_since_detection = 0
        else:
            self._hands = tracked
            self._frames_since_detection += 1
        self._thumbnail, self._shape = thumbnail, pixels.shape
        return self._hands

    def _track(self, pixels: Pixels, landmarker: HandLandmarker) -> list[Hand]:
        """The hands of the previous frame that the landmark network confirms in this one."""
        rois = [next_roi(hand.landmarks) for hand in self._hands]
        hands = [landmarker.detect_in_roi(pixels, roi) for roi in rois if roi.side >= 1]
        return remove_duplicates([hand for hand in hands if hand is not None])

    def _scene_changed(self, thumbnail: NDArray[np.float32]) -> bool:
        previous = self._thumbnail
        return previous is None or float(np.abs(thumbnail - previous).mean()) > SCENE_CHANGE


def _thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """Brightness 0..1 at evenly spaced pixels: (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)."""
    rows, columns = (
        ((np.arange(_THUMBNAIL_SIDE) + 0.5) * length / _THUMBNAIL_SIDE).astype(np.intp)
        for length in pixels.shape[:2]
    )
    thumbnail: NDArray[np.float32] = (
        pixels[np.ix_(rows, columns)].mean(axis=2, dtype=np.float32) / 255
    )
    return thumbnail
