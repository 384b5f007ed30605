"""Tracks the hands of one video, so that the palm detector does not run on every frame.

MediaPipe's video mode detects palms in every frame with fewer hands than the maximum; here every
`REDETECT_INTERVAL`-th frame has to do.
"""

import struct
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from mien.errors import RequestError
from mien.images import Pixels

from .crop import RotatedRoi
from .hand_landmarker import MAX_HANDS, HandLandmarker
from .hand_landmarks import Hand, remove_duplicates
from .palm_detector import hand_roi, palm_of

REDETECT_INTERVAL = 30
"""Frames after which palms are detected again while only one hand is tracked: one second of a
video, two or three of a camera."""
SCENE_CHANGE = 0.1
"""Mean change of a thumbnail, 0..1, above which a frame belongs to another scene."""
_THUMBNAIL_SIDE = 16
_HEAD = struct.Struct("<HHB")
"""Height and width of the last frame, and the frames since palms were detected."""
_REGION = struct.Struct("<8d")
"""Centre, side and rotation of a region, in pixels and radians, and of its offset."""
_NO_OFFSET = RotatedRoi(0.0, 0.0, 1.0)
_MAX_OFFSET = 0.5
"""In sides and radians; regions of one hand differ by less."""


class HandTracker:
    """The state after the frames so far. For one video and one thread; frames in their order.

    The state can leave the process as bytes and come back with the next frame. Whatever the bytes
    say, a hand is one only where the landmark network confirms it.
    """

    def __init__(self) -> None:
        self._rois: list[RotatedRoi] = []
        """Where the hands of the last frame are expected in the next one."""
        self._offsets: list[RotatedRoi] = []
        """How the palm detector's region of each hand differs from that of its landmarks: about the
        same from frame to frame, but not from hand to hand."""
        self._thumbnail: NDArray[np.uint8] | None = None
        self._size = (0, 0)
        self._frames_since_detection = 0

    @classmethod
    def from_bytes(cls, state: bytes) -> "HandTracker":
        """A tracker that goes on where `to_bytes` was called; b"" is that of a first frame.

        Raises:
            RequestError: the bytes are no such state.
        """
        tracker = cls()
        if not state:
            return tracker
        start = _HEAD.size + _THUMBNAIL_SIDE**2
        if len(state) not in [start + count * _REGION.size for count in range(MAX_HANDS + 1)]:
            raise RequestError(
                "the state of the video: expected what the answer to its last frame had, found "
                "something else. Send the next frame as the first one of a video."
            )
        *size, tracker._frames_since_detection = _HEAD.unpack_from(state)
        tracker._size = (size[0], size[1])
        thumbnail = np.frombuffer(state[_HEAD.size : start], np.uint8)
        tracker._thumbnail = thumbnail.reshape(_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
        regions = list(_REGION.iter_unpack(state[start:]))
        tracker._rois = [RotatedRoi(*values[:4]) for values in regions]
        tracker._offsets = [RotatedRoi(*values[4:]) for values in regions]
        return tracker

    def to_bytes(self) -> bytes:
        """The state after a frame, of at most 389 bytes."""
        if self._thumbnail is None:
            return b""
        head = _HEAD.pack(*self._size, self._frames_since_detection)
        pairs = zip(self._rois, self._offsets, strict=True)
        regions = [_REGION.pack(*astuple(roi), *astuple(offset)) for roi, offset in pairs]
        return b"".join([head, self._thumbnail.tobytes(), *regions])

    def detect(self, pixels: Pixels, landmarker: HandLandmarker) -> list[Hand]:
        """Return up to two hands of the next frame (height, width, 3), RGB, upright."""
        thumbnail = _thumbnail(pixels)
        size = (pixels.shape[0], pixels.shape[1])
        new_scene = size != self._size or self._scene_changed(thumbnail)
        hands = [] if new_scene else self._track(pixels, landmarker)
        self._frames_since_detection += 1
        if not hands or len(hands) < len(self._rois):
            hands, self._frames_since_detection = landmarker.detect(pixels), 0
        elif len(hands) == MAX_HANDS:
            self._frames_since_detection = 0
        elif self._frames_since_detection >= REDETECT_INTERVAL:
            others = landmarker.detect_others(pixels, _rois(hands))
            hands = remove_duplicates([*hands, *others])[:MAX_HANDS]
            self._frames_since_detection = 0
        self._offsets = [self._offset_of(hand) for hand in hands]
        pairs = zip(_rois(hands), self._offsets, strict=True)
        self._rois = [roi.moved_by(offset) for roi, offset in pairs]
        self._thumbnail, self._size = thumbnail, size
        return hands

    def _track(self, pixels: Pixels, landmarker: HandLandmarker) -> list[Hand]:
        """The hands of the previous frame that the landmark network confirms in this one."""
        rois = [roi for roi in self._rois if _is_usable(roi, max(pixels.shape[:2]))]
        hands = [landmarker.detect_in_roi(pixels, roi) for roi in rois]
        return remove_duplicates([hand for hand in hands if hand is not None])

    def _offset_of(self, hand: Hand) -> RotatedRoi:
        """The offset that a hand was tracked with; of a detected one, that of its region."""
        assert hand.roi is not None
        pairs = zip(self._rois, self._offsets, strict=True)
        tracked = next((offset for roi, offset in pairs if roi is hand.roi), None)
        offset = tracked or hand.roi.within(hand_roi(palm_of(hand.landmarks)))
        values = (offset.x, offset.y, offset.side - 1, offset.rotation)
        return offset if all(abs(each) <= _MAX_OFFSET for each in values) else _NO_OFFSET

    def _scene_changed(self, thumbnail: NDArray[np.uint8]) -> bool:
        if self._thumbnail is None:
            return True
        change = np.abs(thumbnail.astype(np.float32) - self._thumbnail).mean() / 255
        return float(change) > SCENE_CHANGE


def _rois(hands: list[Hand]) -> list[RotatedRoi]:
    """Where the hands are expected in the next frame."""
    return [hand_roi(palm_of(hand.landmarks)) for hand in hands]


def _is_usable(roi: RotatedRoi, longer_side: int) -> bool:
    """Whether a region may show a part of the picture; no for NaN."""
    return (
        1 <= roi.side <= 4 * longer_side
        and all(-longer_side <= centre <= 2 * longer_side for centre in (roi.x, roi.y))
        and np.isfinite(roi.rotation)
    )


def _thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Brightness at evenly spaced pixels: (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)."""
    rows, columns = (
        ((np.arange(_THUMBNAIL_SIDE) + 0.5) * length / _THUMBNAIL_SIDE).astype(np.intp)
        for length in pixels.shape[:2]
    )
    brightness = pixels[np.ix_(rows, columns)].mean(axis=2, dtype=np.float32)
    thumbnail: NDArray[np.uint8] = np.rint(brightness).astype(np.uint8)
    return thumbnail
