"""Finds hands in a picture: the palm detector, then the landmark network where a palm is.

Knows the way from a picture to hands, not gestures. It is the way of MediaPipe's HandLandmarker for
single pictures, with the same two networks, and finds the same hands; the tests compare them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mien.images import Pixels

from . import crops, hands, networks, palms
from .crops import Square
from .hands import Hand

MAX_HANDS = 2
CLOSE_UP = 0.6
"""Side of the squares of the second look, as a share of the picture's shorter side. The palm
detector sees 192 x 192 pixels, too few for the hand of a person at full length: of 268 photos that
show a gesture it misses 25; with the second look 5. Squares of 0.5, 0.7, 0.8 and 1 miss more."""
SMALLEST = 64
"""Side in pixels below which a square holds too little to look at again."""


class Landmarker:
    """The hand landmarker, opened; for one thread at a time, to be closed.

    Raises:
        BundleError: LiteRT cannot open the networks.
    """

    def __init__(self, contents: networks.Contents) -> None:
        self._palms, self._hands = networks.open_task(contents)

    def find(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands of a picture (height, width, 3), RGB, upright.

        Where the whole picture shows none, its parts are looked at until one shows a hand.
        """
        return look_twice(self.look, pixels)

    def look(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands that a single look at the whole picture finds."""
        boxes, scores = self._palms.run(palms.seen(pixels))
        found = []
        for palm in palms.found(boxes, scores)[:MAX_HANDS]:
            square = palms.hand_square(palms.placed(palm, crops.around(pixels)))
            hand = self.within(pixels, square)
            if hand is not None:
                found.append(hand)
        return hands.distinct(found)

    def within(self, pixels: Pixels, square: Square) -> Hand | None:
        """The hand that the landmark network sees in a square of a picture, if it sees one."""
        points, presence, right, _ = self._hands.run(crops.cut(pixels, square, hands.SIDE))
        if presence[0] <= hands.MIN_PRESENCE:
            return None
        return hands.read(points, float(right[0]), square)

    def close(self) -> None:
        """Free what LiteRT holds."""
        self._palms.close()
        self._hands.close()


def look_twice(look: Callable[[Pixels], list[Hand]], pixels: Pixels) -> list[Hand]:
    """What `look` finds in a picture, or else in the first of its `squares` that shows a hand."""
    found = look(pixels)
    for left, top, side in squares(pixels.shape[1], pixels.shape[0]):
        if found:
            break
        found = [
            replace(hand, points=hand.points + np.array([left, top, 0]))
            for hand in look(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
        ]
    return found


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
