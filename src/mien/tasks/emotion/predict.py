"""From an image to the emotions of its faces: called by evaluation and by serving.

`letterbox.py` and `decode.py` compute for a detector of
emotions, `starter/crops.py` for a starter model.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np

from mien import images
from mien.errors import RequestError
from mien.model.runtime import Model
from mien.task import Detection, Prediction, Request

from .decode import detect
from .detector_spec import DetectorSpec
from .letterbox import Floats, Letterbox, letterbox, to_nchw
from .starter.crops import PREPROCESSING_VERSION as CROP_VERSION
from .starter.crops import CropSpec, classify_faces


def detect_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    """Detect the faces of each image and classify their emotions; the network runs once for all.

    Raises:
        BundleError: the bundle was made for another preprocessing.
        RequestError: a request contains no image.
    """
    spec = model.cached("spec", lambda: _spec(model))
    if isinstance(spec, CropSpec):
        faces = classify_faces(requests, spec, model)
    else:
        faces = _detect_faces(requests, spec, model)
    return [
        _prediction(request, model.labels, boxes, scores)
        for request, (boxes, scores) in zip(requests, faces, strict=True)
    ]


def _spec(model: Model) -> DetectorSpec | CropSpec:
    """How the bundle predicts: one detector of emotions, or a face detector and a classifier."""
    if model.preprocessing.get("preprocessing_version") == CROP_VERSION:
        return CropSpec.from_preprocessing(model.preprocessing)
    return DetectorSpec.from_preprocessing(model.preprocessing)


def _detect_faces(
    requests: Sequence[Request], spec: DetectorSpec, model: Model
) -> list[tuple[Floats, Floats]]:
    """Boxes and scores of the faces of each picture, by one network."""
    inputs, placements = [], []
    for request in requests:
        canvas, placement = _letterbox(request, spec)
        inputs.append(to_nchw(canvas, spec))
        placements.append(placement)
    outputs = model.run({spec.input_name: np.concatenate(inputs)})[0]
    return [
        detect(output, spec, placement)
        for output, placement in zip(outputs, placements, strict=True)
    ]


def _letterbox(request: Request, spec: DetectorSpec) -> tuple[images.Pixels, Letterbox]:
    if request.image is None:
        raise RequestError("The emotion task expects an image. Send one as the field `file`.")
    return letterbox(request.image, spec.input_size, spec.pad_value, request.size)


def _prediction(
    request: Request, labels: tuple[str, ...], boxes: Floats, scores: Floats
) -> Prediction:
    detections = _detections(boxes, scores, labels)
    pixels = cast(images.Pixels, request.image)
    return Prediction(
        outcome="ok" if detections else "no_face",
        detections=detections,
        input_stats={**images.image_stats(pixels), **_face_stats(detections, request.size)},
    )


def _detections(boxes: Floats, scores: Floats, labels: tuple[str, ...]) -> tuple[Detection, ...]:
    detections = []
    for box, row in zip(boxes, scores, strict=True):
        best = int(np.argmax(row))
        x1, y1, x2, y2 = (round(float(value), 2) for value in box)
        by_label = {label: float(score) for label, score in zip(labels, row, strict=True)}
        detections.append(Detection(labels[best], float(row[best]), (x1, y1, x2, y2), by_label))
    return tuple(detections)


def _face_stats(detections: tuple[Detection, ...], size: tuple[int, int]) -> dict[str, float]:
    if not detections or detections[0].box is None:
        return {"subjects": 0.0}
    x1, y1, x2, y2 = detections[0].box
    relative_area = (x2 - x1) * (y2 - y1) / (size[0] * size[1])
    return {"subjects": float(len(detections)), "subject_size": relative_area}
