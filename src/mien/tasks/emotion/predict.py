"""From one picture to the emotions of its faces: called by evaluation and by serving.

Knows the bundle's facts and the product's thresholds; the numbers are worked out in `decode.py`.
"""

import numpy as np

from mien import images
from mien.errors import BundleError, RequestError
from mien.runtime import Model
from mien.task import Finding, Outcome, Prediction, Request

from .decode import Floats, detect, letterbox, planes

PREPROCESSING = "letterbox-center/1"
"""Changes when a picture is brought to the network in another way; a bundle names its own."""


def predict(request: Request, model: Model) -> Prediction:
    """Find the faces of a picture and name their emotions.

    Raises:
        BundleError: the bundle was made for another way of preprocessing.
        RequestError: the request holds no picture.
    """
    facts = model.facts
    if facts.get("preprocessing") != PREPROCESSING:
        raise BundleError(
            f"The bundle wants preprocessing {facts.get('preprocessing')!r}; this mien has "
            f"{PREPROCESSING!r}. Train it again."
        )
    if request.image is None:
        raise RequestError("The emotion task takes a picture; send one as the field `file`.")
    canvas, fit = letterbox(request.image, facts["input_size"], facts["pad_value"])
    output = model.run({facts["input_name"]: planes(canvas, facts)})[0][0]
    boxes, scores = detect(output, facts, fit)
    findings = _findings(boxes, scores, model.labels)
    return Prediction(
        outcome=_outcome(findings, facts["min_confidence"]),
        findings=findings,
        measures={**images.measures(request.image), **_measures(findings, request.image.shape)},
    )


def _findings(boxes: Floats, scores: Floats, labels: tuple[str, ...]) -> tuple[Finding, ...]:
    found = []
    for box, row in zip(boxes, scores, strict=True):
        best = int(np.argmax(row))
        x1, y1, x2, y2 = (round(float(value), 2) for value in box)
        by_label = {label: float(score) for label, score in zip(labels, row, strict=True)}
        found.append(Finding(labels[best], float(row[best]), (x1, y1, x2, y2), by_label))
    return tuple(found)


def _outcome(findings: tuple[Finding, ...], threshold: float) -> Outcome:
    if not findings:
        return "no_face"
    return "ok" if findings[0].confidence >= threshold else "unsure"


def _measures(findings: tuple[Finding, ...], shape: tuple[int, ...]) -> dict[str, float]:
    if not findings or findings[0].box is None:
        return {"subjects": 0.0}
    x1, y1, x2, y2 = findings[0].box
    share = (x2 - x1) * (y2 - y1) / (shape[0] * shape[1])
    return {"subjects": float(len(findings)), "subject_size": share}
