"""Follows the hands of one video from frame to frame, so that palms need not be searched in each.

Knows when to trust where a hand was and when to look anew. What is seen in a square is
`landmarker.py`'s business, where a hand is next `hands.py`'s. MediaPipe's video mode searches palms
in every frame with fewer hands than it may find; here every `REST`-th frame must do.
"""

import numpy as np
from numpy.typing import NDArray

from mien.images import Pixels

from . import hands
from .hands import Hand
from .landmarker import MAX_HANDS, Landmarker

REST = 15
"""Frames after which a second hand is looked for again, and the first one found anew: half a second
of video."""
CUT = 0.1
"""Mean change of a thumbnail, 0..1, above which a frame belongs to another scene."""
_THUMB = 16
"""Places along each side of a frame that are compared."""


class Following:
    """What is known of the frames so far. For one video and one thread; frames in their order."""

    def __init__(self) -> None:
        self._hands: list[Hand] = []
        self._thumb: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()
        self._rested = 0

    def find(self, pixels: Pixels, landmarker: Landmarker) -> list[Hand]:
        """Return up to two hands of the next frame (height, width, 3), RGB, upright."""
        thumb = _thumbnail(pixels)
        new = pixels.shape != self._shape or self._is_cut(thumb)
        followed = [] if new else self._followed(pixels, landmarker)
        if not followed or len(followed) < len(self._hands):
            self._hands, self._rested = landmarker.find(pixels), 0
        elif self._rested + 1 >= REST and len(followed) < MAX_HANDS:
            seen = landmarker.look(pixels)
            self._hands = hands.distinct([*seen, *followed])[:MAX_HANDS]
            self._rested = 0
        else:
            self._hands, self._rested = followed, self._rested + 1
        self._thumb, self._shape = thumb, pixels.shape
        return self._hands

    def _followed(self, pixels: Pixels, landmarker: Landmarker) -> list[Hand]:
        squares = [hands.square_after(hand.points) for hand in self._hands]
        found = [landmarker.within(pixels, square) for square in squares if square.side >= 1]
        return hands.distinct([hand for hand in found if hand is not None])

    def _is_cut(self, thumb: NDArray[np.float32]) -> bool:
        before = self._thumb
        return before is None or float(np.abs(thumb - before).mean()) > CUT


def _thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """Brightness (_THUMB, _THUMB), 0..1, at places spread evenly over a picture."""
    rows, columns = (
        ((np.arange(_THUMB) + 0.5) * length / _THUMB).astype(np.intp) for length in pixels.shape[:2]
    )
    thumb: NDArray[np.float32] = pixels[np.ix_(rows, columns)].mean(axis=2, dtype=np.float32) / 255
    return thumb
