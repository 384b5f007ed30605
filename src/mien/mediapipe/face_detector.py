"""Face detection with MediaPipe's BlazeFace for faces within two metres.

The constants are those of MediaPipe's published graph
(mediapipe/tasks/cc/vision/face_detector/face_detector_graph.cc); the code is this file's own, and
the tests compare its detections with MediaPipe's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import boxes
from mien.boxes import Box
from mien.images import Pixels

from . import networks, ssd, weights
from .networks import RunNetwork
from .ssd import Floats

INPUT_SIDE = 128
"""Width and height of the network's input, in pixels."""
MIN_SCORE = 0.5
"""Detections with a lower score are dropped; the default of MediaPipe's FaceDetector."""
IOU_THRESHOLD = 0.3
"""Boxes with a larger IoU show the same face."""
PADDING_SCALES = (1.0, 1.5)
"""With a margin around it, a face that fills the picture is detected too (`bench faces`)."""
FOREHEAD = 0.23
"""Height from the brows to the hairline, as a fraction of the network's box: the median over
AffectNet of the difference between its boxes and those of the YuNet detector."""
Corners = NDArray[np.float64]


@dataclass(frozen=True)
class Face:
    """One detected face."""

    box: Box
    """From the brows to the chin, in pixels of the picture; it may reach beyond the border."""
    score: float
    """0..1."""

    @property
    def head_box(self) -> Box:
        """The box from the hairline to the chin, as data sets and other detectors define it."""
        x1, y1, x2, y2 = self.box
        return (x1, y1 - FOREHEAD * (y2 - y1), x2, y2)


class FaceDetector:
    """Detects the faces of pictures."""

    def __init__(self, network: RunNetwork | None = None) -> None:
        """Keep the network.

        Args:
            network: runs it; by default it is downloaded or read from the cache, and opened.

        Raises:
            WeightsError: the weights cannot be downloaded.
        """
        self._run = network or networks.from_tflite(weights.read_face_detector())

    def detect(self, pixels: Pixels, padding_scales: Sequence[float] = (1.0,)) -> list[Face]:
        """Return the faces of a picture (height, width, 3), RGB, best score first.

        Args:
            pixels: the picture.
            padding_scales: side of the padded square in sides of the picture, for each run of the
                network. MediaPipe runs it once, at 1.
        """
        runs = [self._detect(pixels, max(pixels.shape[:2]) * scale) for scale in padding_scales]
        detections, scores = (np.concatenate(arrays) for arrays in zip(*runs, strict=True))
        return suppress(detections, scores)

    def _detect(self, pixels: Pixels, side: float) -> tuple[Corners, Corners]:
        raw_detections, raw_scores = self._run(preprocess(pixels, side))
        detections, scores = ssd.decode(raw_detections, raw_scores, INPUT_SIDE, MIN_SCORE)
        height, width = pixels.shape[:2]
        origin = np.array([width - side, height - side]) / 2
        return detections[:, :4] * side + np.tile(origin, 2), scores


def preprocess(pixels: Pixels, side: float) -> Floats:
    """Make the network's input: planes (3, INPUT_SIDE, INPUT_SIDE), values -1..1.

    The picture lies in the centre of a black square of `side` pixels, not distorted. As in
    MediaPipe on a CPU, pixels are interpolated between four neighbours without smoothing first,
    and the square's corner is the centre of a pixel.
    """
    height, width = pixels.shape[:2]
    step = side / INPUT_SIDE
    # Pillow counts from corners of pixels: half a pixel on either side of the mapping.
    x, y = ((length - side + 1 - step) / 2 for length in (width, height))
    resampled = Image.fromarray(pixels).transform(
        (INPUT_SIDE, INPUT_SIDE),
        Image.Transform.AFFINE,
        (step, 0, x, 0, step, y),
        Image.Resampling.BILINEAR,
    )
    planes = np.asarray(resampled, np.float32).transpose(2, 0, 1)
    return planes / np.float32(127.5) - np.float32(1)


def suppress(boxes_xyxy: Corners, scores: Corners) -> list[Face]:
    """Merge boxes (n, 4) of the same face; scores (n,)."""
    merged, best_scores = boxes.weighted_nms(boxes_xyxy, scores, IOU_THRESHOLD)
    faces = []
    for (x1, y1, x2, y2), score in zip(merged.tolist(), best_scores.tolist(), strict=True):
        faces.append(Face((x1, y1, x2, y2), score))
    return faces
