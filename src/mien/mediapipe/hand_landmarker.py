"""Detects hands in a picture: the palm detector, then the landmark network on each palm's region.

The same steps as MediaPipe's HandLandmarker for single pictures, with the same two networks and the
same results; the tests compare them. Pictures without a detected hand are searched in tiles too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mien.errors import BundleError
from mien.images import Pixels

from . import crop, hand_landmarks, palm_detector
from .crop import RotatedRoi
from .hand_landmarks import Hand
from .litert import LiteRtNetwork
from .weights import HandLandmarkerFile

MAX_HANDS = 2
TILE_SCALE = 0.6
"""Side of the tiles as a fraction of the picture's shorter side. The palm detector's input has
192 x 192 pixels, too few for the hand of a person at full length: of 268 photos that show a gesture
it misses 25; with tiles 5. Tiles of 0.5, 0.7, 0.8 and 1 miss more."""
MIN_TILE_SIDE = 64
"""Side in pixels below which a tile shows too little to be searched."""


class HandLandmarker:
    """The two networks, opened. Not thread-safe: each thread needs its own, and closes it."""

    def __init__(self, file: HandLandmarkerFile) -> None:
        """Open both networks.

        Raises:
            BundleError: LiteRT cannot open them.
        """
        try:
            self._palm_detector = LiteRtNetwork(file.palm_detector)
            self._landmark_network = LiteRtNetwork(file.landmark_network)
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{file.path} cannot be opened by LiteRT: {error}") from error

    def detect(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands of a picture (height, width, 3), RGB, upright.

        Where the whole picture shows none, its tiles are searched until one shows a hand.
        """
        return detect_with_tiling(self.detect_once, pixels)

    def detect_once(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands that are detected in the whole picture, without tiles."""
        palms = palm_detector.decode(*self._palm_detector.run(palm_detector.preprocess(pixels)))
        picture_roi = crop.full_picture_roi(pixels)
        hands = []
        for palm in palms[:MAX_HANDS]:
            roi = palm_detector.hand_roi(palm_detector.to_picture(palm, picture_roi))
            hand = self.detect_in_roi(pixels, roi)
            if hand is not None:
                hands.append(hand)
        return hand_landmarks.remove_duplicates(hands)

    def detect_in_roi(self, pixels: Pixels, roi: RotatedRoi) -> Hand | None:
        """Run the landmark network on a region of a picture; None where it shows no hand."""
        landmarks, presence, right_score, _ = self._landmark_network.run(
            crop.crop(pixels, roi, hand_landmarks.INPUT_SIDE)
        )
        if presence[0] <= hand_landmarks.MIN_PRESENCE:
            return None
        return hand_landmarks.decode(landmarks, float(right_score[0]), roi)

    def close(self) -> None:
        """Free both networks."""
        self._palm_detector.close()
        self._landmark_network.close()


def detect_with_tiling(detect: Callable[[Pixels], list[Hand]], pixels: Pixels) -> list[Hand]:
    """Return the hands that `detect` finds in a picture, or else in the first tile with a hand."""
    hands = detect(pixels)
    for left, top, side in tiles(pixels.shape[1], pixels.shape[0]):
        if hands:
            break
        hands = [
            replace(hand, landmarks=hand.landmarks + np.array([left, top, 0]))
            for hand in detect(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
        ]
    return hands


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of overlapping square tiles that cover a picture, three by two.

    None for a picture that is too small to gain by it.
    """
    side = int(TILE_SCALE * min(width, height))
    if side < MIN_TILE_SIDE:
        return
    columns, rows = (3, 2) if width > height else (2, 3)
    for top in np.linspace(0, height - side, rows).astype(int):
        for left in np.linspace(0, width - side, columns).astype(int):
            yield int(left), int(top), side
