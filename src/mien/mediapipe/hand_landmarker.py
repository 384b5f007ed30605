"""Detects hands in a picture: the palm detector, then the landmark network on each palm's region.

The networks and the steps of MediaPipe's HandLandmarker for single pictures; the tests compare the
results. Pictures without a detected hand are searched again where one may be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from mien.images import Pixels
from mien.model.runtime import Model

from . import crop, hand_landmarks, networks, palm_detector
from .crop import Floats, RotatedRoi
from .hand_landmarks import Hand
from .networks import RunNetwork
from .palm_detector import Palm
from .weights import LANDMARK_NETWORK, PALM_DETECTOR, HandNetworks

MAX_HANDS = 2
CANDIDATE_SCORE, MAX_CANDIDATES = 0.1, 3
"""Where no hand is detected, palms of lower scores are candidates, this many at most."""
CANDIDATE_SIDE = 0.5
"""Side of the region that is searched around a candidate, as a fraction of the picture's shorter
side. The palm detector's input has 192 x 192 pixels, too few for the hand of a person at full
length, whose palm has a low score then; chosen by `bench hands` between 0.35 and 0.75."""
TILE_SIDE = 0.6
"""The same for the tiles that are searched where no candidate shows a hand."""
MIN_SIDE = 32
"""Side in pixels below which a region shows too little to be searched."""


class HandLandmarker:
    """The two networks. Several threads may use it at once."""

    def __init__(self, palm_network: RunNetwork, landmark_network: RunNetwork) -> None:
        self.palm_network = palm_network
        self.landmark_network = landmark_network

    @classmethod
    def of_bundle(cls, model: Model) -> "HandLandmarker":
        """The networks of an open bundle."""
        names = (PALM_DETECTOR, LANDMARK_NETWORK)
        return cls(*(networks.of_bundle(model, name) for name in names))

    @classmethod
    def from_tflite(cls, files: HandNetworks) -> "HandLandmarker":
        """The networks as they are downloaded, converted and opened."""
        return cls(
            networks.from_tflite(files.palm_detector),
            networks.from_tflite(files.landmark_network),
        )

    def detect(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands of a picture (height, width, 3), RGB, upright.

        Where the whole picture shows none, it is searched where a hand is most likely, and then
        everywhere.
        """
        raw_detections, raw_scores = self.palm_network(palm_detector.preprocess(pixels))
        hands = self._detect_hands(pixels, raw_detections, raw_scores)
        if hands:
            return hands
        palms = palm_detector.decode(raw_detections, raw_scores, CANDIDATE_SCORE)
        around = (square_around(palm, pixels) for palm in palms[:MAX_CANDIDATES])
        for left, top, side in chain(around, tiles(pixels.shape[1], pixels.shape[0])):
            hands = hands or self._detect_in_square(pixels, left, top, side)
        return hands

    def detect_once(self, pixels: Pixels) -> list[Hand]:
        """Return up to two hands that are detected in the whole picture, as MediaPipe does."""
        return self.detect_others(pixels, ())

    def detect_others(self, pixels: Pixels, tracked: Sequence[RotatedRoi]) -> list[Hand]:
        """Return up to two hands as `detect_once`, without those in the regions of known hands."""
        raw_detections, raw_scores = self.palm_network(palm_detector.preprocess(pixels))
        return self._detect_hands(pixels, raw_detections, raw_scores, tracked)

    def detect_in_roi(self, pixels: Pixels, roi: RotatedRoi) -> Hand | None:
        """Run the landmark network on a region of a picture; None where it shows no hand."""
        landmarks, presence, right_score, _ = self.landmark_network(
            crop.crop(pixels, roi, hand_landmarks.INPUT_SIDE)
        )
        if presence[0] <= hand_landmarks.MIN_PRESENCE:
            return None
        return hand_landmarks.decode(landmarks, float(right_score[0]), roi)

    def _detect_hands(
        self,
        pixels: Pixels,
        raw_detections: Floats,
        raw_scores: Floats,
        tracked: Sequence[RotatedRoi] = (),
    ) -> list[Hand]:
        picture_roi = crop.full_picture_roi(pixels)
        hands = []
        for palm in palm_detector.decode(raw_detections, raw_scores)[:MAX_HANDS]:
            roi = palm_detector.hand_roi(palm_detector.to_picture(palm, picture_roi))
            if any(roi.is_near(each) for each in tracked):
                continue
            hand = self.detect_in_roi(pixels, roi)
            if hand is not None:
                hands.append(hand)
        return hand_landmarks.remove_duplicates(hands)

    def _detect_in_square(self, pixels: Pixels, left: int, top: int, side: int) -> list[Hand]:
        """The hands of a square part of the picture, in pixels of the picture."""
        if side < MIN_SIDE:
            return []
        part = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        return [_shifted(hand, left, top) for hand in self.detect_once(part)]


def _shifted(hand: Hand, left: int, top: int) -> Hand:
    """A hand of a part of the picture, in pixels of the picture."""
    roi = hand.roi and replace(hand.roi, x=hand.roi.x + left, y=hand.roi.y + top)
    return replace(hand, landmarks=hand.landmarks + np.array([left, top, 0]), roi=roi)


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Left, top and side of overlapping squares that cover a picture, three by two."""
    side = int(TILE_SIDE * min(width, height))
    columns, rows = (3, 2) if width > height else (2, 3)
    for top in np.linspace(0, height - side, rows).astype(int):
        for left in np.linspace(0, width - side, columns).astype(int):
            yield int(left), int(top), side


def square_around(palm: Palm, pixels: Pixels) -> tuple[int, int, int]:
    """Left, top and side of the square in which a hand is searched; inside the picture.

    Args:
        palm: in fractions of the palm detector's input.
        pixels: the picture.
    """
    height, width = pixels.shape[:2]
    side = int(CANDIDATE_SIDE * min(width, height))
    palm = palm_detector.to_picture(palm, crop.full_picture_roi(pixels))
    x, y = palm.points[:2].mean(axis=0) - side / 2
    return int(np.clip(x, 0, width - side)), int(np.clip(y, 0, height - side)), side
