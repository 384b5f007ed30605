"""From an image to its faces by two networks: a detector, and a classifier of each face's crop.

What a starter bundle is predicted with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import boxes, images
from mien.boxes import Box
from mien.errors import BundleError, RequestError
from mien.mediapipe import networks
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.model.runtime import Model
from mien.task import Request

PREPROCESSING_VERSION = "face-crop/1"
"""Version of the preprocessing and of `CropSpec`; a bundle with another one is refused."""
FACE_DETECTOR = "face_detector.onnx"
"""The detector's file in a bundle."""
CROP_SCALE = 1.0
"""Side of the crop in longer sides of the face's box, hairline to chin; 0.9 to 1.2 are as good
on press faces (`bench starter`)."""
MAX_FACES = 16
"""Of one picture, the best first: limits what a request costs."""
MIN_FACE_SCORE = 0.7
"""Of the face detector. Stripes and soft noise reach 0.65; of 250 press photos (train split of
`muxspace_yolo.zip`) 3 have no face above it, of 300 of AffectNet none."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CropSpec:
    """How a classifier of face crops gets its input; the preprocessing document of its bundle."""

    network: str
    """Its file in the bundle, with an input of (n, channels, side, side)."""
    input_size: int
    """Side of the square input in pixels."""
    channels: Literal["rgb", "grey"]
    mean: tuple[float, ...]
    """Subtracted from pixel values 0..255, one number for each channel."""
    divisor: float
    """Of the differences."""
    crop_scale: float = CROP_SCALE
    preprocessing_version: str = PREPROCESSING_VERSION

    @classmethod
    def from_preprocessing(cls, document: Mapping[str, Any]) -> Self:
        """Read the document that `as_dict` returned.

        Raises:
            BundleError: a key is missing.
        """
        try:
            values = {field.name: document[field.name] for field in fields(cls)}
        except KeyError as error:
            raise BundleError(
                f"preprocessing of the bundle lacks {error}. Pull it again."
            ) from None
        return cls(**{**values, "mean": tuple(values["mean"])})

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "mean": list(self.mean)}


def classify_faces(
    requests: Sequence[Request], spec: CropSpec, model: Model
) -> list[tuple[Floats, Floats]]:
    """Detect and classify the faces of each picture; the classifier runs once for all.

    Returns:
        For each request boxes (n, 4) x1 y1 x2 y2 in pixels of the picture as sent, and scores
        (n, labels) in 0..1; the most confident face first.

    Raises:
        RequestError: a request contains no image.
    """
    regions = [_face_boxes(request, model) for request in requests]
    crops = [
        crop_input(cast(images.Pixels, request.image), box, spec)
        for request, face_boxes in zip(requests, regions, strict=True)
        for box in face_boxes
    ]
    scores = _scores(crops, spec, model)
    answers, start = [], 0
    for request, face_boxes in zip(requests, regions, strict=True):
        own = scores[start : start + len(face_boxes)]
        start += len(face_boxes)
        answers.append(_sorted(request, face_boxes, own))
    return answers


def crop_input(pixels: images.Pixels, box: Box, spec: CropSpec) -> Floats:
    """The classifier's input (side, side, channels) for a face; black beyond the border."""
    x1, y1, x2, y2 = box
    side = max(1, round(max(x2 - x1, y2 - y1) * spec.crop_scale))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    square = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    size = (spec.input_size, spec.input_size)
    resized = square.resize(size, Image.Resampling.BILINEAR)
    if spec.channels == "grey":
        values = np.asarray(resized.convert("L"), np.float32)[:, :, None]
    else:
        values = np.asarray(resized, np.float32)
    return (values - np.asarray(spec.mean, np.float32)) / np.float32(spec.divisor)


def _face_boxes(request: Request, model: Model) -> list[Box]:
    """Boxes from the hairline to the chin, in pixels of `request.image`."""
    if request.image is None:
        raise RequestError("The emotion task expects an image. Send one as the field `file`.")
    detector = FaceDetector(networks.of_bundle(model, FACE_DETECTOR))
    faces = detector.detect(request.image, PADDING_SCALES)[:MAX_FACES]
    return [face.head_box for face in faces if face.score >= MIN_FACE_SCORE]


def _scores(crops: Sequence[Floats], spec: CropSpec, model: Model) -> Floats:
    if not crops:
        return np.empty((0, len(model.labels)), np.float32)
    batch = np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))
    return cast(Floats, model.run({"images": batch}, spec.network)[0])


def _sorted(request: Request, face_boxes: Sequence[Box], scores: Floats) -> tuple[Floats, Floats]:
    """Boxes in pixels of the picture as sent, clipped at its border, the best score first."""
    if not face_boxes:
        return np.empty((0, 4), np.float32), scores
    order = np.argsort(-scores.max(axis=1), kind="stable")
    scaled = np.asarray(face_boxes, np.float32)[order] * np.tile(request.scale, 2)
    clipped = boxes.clip(scaled.astype(np.float32), *request.size)
    return clipped, np.clip(scores[order], 0.0, 1.0)
