"""Finds faces with a network that others have trained, to count them and to mend boxes.

The network is MediaPipe's BlazeFace for faces within two metres. Knows what it sees of a picture
and what its answer means, not where its weights come from (`weights.py`). The numbers are those of
MediaPipe's published graph (mediapipe/tasks/cc/vision/face_detector/face_detector_graph.cc); how it
is computed is this file's own, and the tests compare both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import RequestError
from mien.images import Pixels
from mien.mediapipe.litert import Network
from mien.task import Box, Request

from . import weights
from .decode import overlap
from .letterbox import Floats

SIDE = 128
"""Width and height of what the network sees, in pixels."""
GRIDS = ((8, 2), (16, 6))
"""Strides in pixels, and anchors in each place: the graph's four layers have the strides 8, 16, 16
and 16 with two anchors each, and layers of one stride share their places. Anchors have no size."""
MIN_SCORE = 0.5
"""Less sure faces are dropped; the default of MediaPipe's FaceDetector."""
MIN_OVERLAP = 0.3
"""Boxes with a larger intersection over union are of one face."""
ROOMS = (1.0, 1.5)
"""With room around it, a face that fills the picture is found too (`bench faces`)."""
FOREHEAD = 0.23
"""Height from the brows to the hairline, in heights of what the network marks: the median over
AffectNet of what lies between its boxes and those of the YuNet detector."""
Corners = NDArray[np.float64]


@dataclass(frozen=True)
class Face:
    """One face."""

    box: Box
    """From the brows to the chin, in pixels of the picture; it may reach beyond it."""
    score: float
    """How sure the network is, 0..1."""

    @property
    def whole(self) -> Box:
        """The box from the hairline to the chin, as data sets and detectors mark faces."""
        x1, y1, x2, y2 = self.box
        return (x1, y1 - FOREHEAD * (y2 - y1), x2, y2)


class Finder:
    """Finds the faces of pictures. For one thread at a time."""

    def __init__(self, content: bytes | None = None) -> None:
        """Open the network.

        Args:
            content: the file of its weights; None fetches them.

        Raises:
            TrainingError: the weights cannot be fetched.
        """
        self._network = Network(weights.face_detector() if content is None else content)

    def find(self, pixels: Pixels, rooms: Sequence[float] = (1.0,)) -> list[Face]:
        """The faces of a picture (height, width, 3), the surest first.

        Args:
            rooms: how many times larger than the picture the black square is in which the network
                sees it, for each time that it looks. Once, at 1, is what MediaPipe does.
        """
        looks = [self._look(pixels, max(pixels.shape[:2]) * room) for room in rooms]
        corners = np.concatenate([each for each, _ in looks])
        scores = np.concatenate([each for _, each in looks])
        order = np.argsort(-scores, kind="stable")
        return merged(corners[order], scores[order])

    def _look(self, pixels: Pixels, side: float) -> tuple[Corners, Corners]:
        corners, scores = found(*self._network.run(seen(pixels, side)))
        height, width = pixels.shape[:2]
        start = np.array([width - side, height - side]) / 2
        return corners * side + np.tile(start, 2), scores


def subjects() -> Callable[[Request], int]:
    """Make a function that counts the faces of a picture, to be called by one thread at a time.

    Raises:
        TrainingError: the weights cannot be fetched.
    """
    finder = Finder()

    def count(request: Request) -> int:
        if request.image is None:
            raise RequestError("The emotion task counts faces in pictures; this is none.")
        return len(finder.find(request.image, ROOMS))

    return count


def seen(pixels: Pixels, side: float) -> Floats:
    """What the network sees of a picture: (SIDE, SIDE, 3), values -1..1.

    The picture lies unstretched in the middle of a black square of `side` of its pixels. As
    MediaPipe does on a CPU, each pixel is taken between its four neighbours without smoothing
    first, and the square's corner is the middle of a pixel.
    """
    height, width = pixels.shape[:2]
    step = side / SIDE
    # Pillow counts from corners of pixels: half a pixel on either side of the way.
    x, y = ((length - side + 1 - step) / 2 for length in (width, height))
    piece = Image.fromarray(pixels).transform(
        (SIDE, SIDE),
        Image.Transform.AFFINE,
        (step, 0, x, 0, step, y),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(piece, np.float32) / np.float32(127.5) - np.float32(1)


def found(boxes: Floats, scores: Floats) -> tuple[Corners, Corners]:
    """The boxes that the network's answer means; several of them may be of one face.

    Args:
        boxes: (896, 16) middle, size and six points, in pixels of SIDE from each anchor.
        scores: (896, 1) how sure the network is, before the logistic function.

    Returns:
        (n, 4) x1, y1, x2, y2 in shares of what was seen, and (n,) scores in 0..1.
    """
    sure = 1 / (1 + np.exp(-np.clip(scores[:, 0].astype(np.float64), -100, 100)))
    kept = np.flatnonzero(sure >= MIN_SCORE)
    middle = boxes[kept, :2].astype(np.float64) / SIDE + anchors()[kept]
    half = boxes[kept, 2:4].astype(np.float64) / SIDE / 2
    return np.concatenate([middle - half, middle + half], axis=1), sure[kept]


def merged(corners: Corners, scores: Corners) -> list[Face]:
    """One face for all boxes that overlap the surest of them: their mean, weighted by score.

    Args:
        corners: (n, 4) x1, y1, x2, y2, the surest first.
        scores: (n,) in the same order.
    """
    faces = []
    while len(scores):
        same = overlap(corners[0].astype(np.float32), corners.astype(np.float32)) > MIN_OVERLAP
        same[0] = True
        x1, y1, x2, y2 = map(float, np.average(corners[same], axis=0, weights=scores[same]))
        faces.append(Face((x1, y1, x2, y2), float(scores[0])))
        corners, scores = corners[~same], scores[~same]
    return faces


@cache
def anchors() -> Corners:
    """Places (896, 2) from which boxes are measured, in shares of what the network sees."""
    grids = []
    for stride, count in GRIDS:
        steps = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(grid, count, axis=0))
    return np.concatenate(grids)
