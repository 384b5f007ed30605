"""From one picture to the emotions of its faces: called by evaluation and by serving.

Knows the bundle's facts and the product's thresholds; the numbers are worked out in `decode.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from mien import images
from mien.errors import BundleError, RequestError
from mien.model.runtime import Model
from mien.task import Detection, Outcome, Prediction, Request

from .decode import Fit, Floats, detect, letterbox, planes

PREPROCESSING = "letterbox-center/2"
"""Changes when a picture is brought to the network in another way; a bundle names its own."""
ENOUGH = 640
"""Pixels of a picture's shorter side with which faces are named as with all 3000 of 12 megapixels
(`bench photos`). A network of 96 x 96 needs fewer; this leaves enough for one of 640 x 640."""


def predict(request: Request, model: Model) -> Prediction:
    """Find the faces of a picture and name their emotions.

    Raises:
        BundleError: the bundle was made for another way of preprocessing.
        RequestError: the request holds no picture.
    """
    return predict_many([request], model)[0]


def predict_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    """What `predict` gives for each request; the network is asked once for all."""
    facts = model.facts
    if facts.get("preprocessing") != PREPROCESSING:
        raise BundleError(
            f"The bundle wants preprocessing {facts.get('preprocessing')!r}; this mien has "
            f"{PREPROCESSING!r}. Train it again."
        )
    seen, fits = [], []
    for request in requests:
        canvas, fit = _fitted(request, facts)
        seen.append(planes(canvas, facts))
        fits.append(fit)
    outputs = model.run({facts["input_name"]: np.concatenate(seen)})[0]
    return [
        _answer(request, model, *detect(output, facts, fit))
        for request, output, fit in zip(requests, outputs, fits, strict=True)
    ]


def _fitted(request: Request, facts: Mapping[str, Any]) -> tuple[images.Pixels, Fit]:
    if request.image is None:
        raise RequestError("The emotion task takes a picture; send one as the field `file`.")
    return letterbox(request.image, facts["input_size"], facts["pad_value"], request.size)


def _answer(request: Request, model: Model, boxes: Floats, scores: Floats) -> Prediction:
    detections = _detections(boxes, scores, model.labels)
    pixels = cast(images.Pixels, request.image)
    return Prediction(
        outcome=_outcome(detections, model.facts["min_confidence"]),
        detections=detections,
        input_stats={**images.image_stats(pixels), **_input_stats(detections, request.size)},
    )


def _detections(boxes: Floats, scores: Floats, labels: tuple[str, ...]) -> tuple[Detection, ...]:
    found = []
    for box, row in zip(boxes, scores, strict=True):
        best = int(np.argmax(row))
        x1, y1, x2, y2 = (round(float(value), 2) for value in box)
        by_label = {label: float(score) for label, score in zip(labels, row, strict=True)}
        found.append(Detection(labels[best], float(row[best]), (x1, y1, x2, y2), by_label))
    return tuple(found)


def _outcome(detections: tuple[Detection, ...], threshold: float) -> Outcome:
    if not detections:
        return "no_face"
    return "ok" if detections[0].confidence >= threshold else "unsure"


def _input_stats(detections: tuple[Detection, ...], size: tuple[int, int]) -> dict[str, float]:
    if not detections or detections[0].box is None:
        return {"subjects": 0.0}
    x1, y1, x2, y2 = detections[0].box
    share = (x2 - x1) * (y2 - y1) / (size[0] * size[1])
    return {"subjects": float(len(detections)), "subject_size": share}
