"""From the raw output of the detector to boxes and scores. Pure numpy.

Knows the output formats of the detector families. Knows no torch, no ONNX session, no label names
and no threshold of the product.
"""

import numpy as np
from numpy.typing import NDArray

from mien import boxes

from .detector_spec import DetectorSpec
from .letterbox import Floats, Letterbox


def decode_output(output: Floats, output_format: str) -> tuple[Floats, Floats]:
    """Split the raw output of ONE image into boxes and scores.

    Format "yolox": (anchors, 5 + labels) as cx, cy, w, h, objectness, classes; a score is
    objectness x class; format "face-api" has the same rows. Format "yolo9": (4 + labels, anchors)
    as x1, y1, x2, y2, classes.

    Returns:
        boxes (anchors, 4) x1 y1 x2 y2 in pixels of the canvas, scores (anchors, labels) in 0..1.

    Raises:
        ValueError: an unknown format.
    """
    if output_format in ("yolox", "face-api"):
        return boxes.xcycwh_to_xyxy(output[:, :4]), output[:, 4:5] * output[:, 5:]
    if output_format == "yolo9":
        return output[:4].T, output[4:].T
    raise ValueError(f"output format: expected 'yolox' or 'yolo9', found {output_format!r}")


def detect(
    output: Floats, spec: DetectorSpec, placement: Letterbox, score_threshold: float | None = None
) -> tuple[Floats, Floats]:
    """Turn the raw output of one image into its faces, the best first.

    Non-maximum suppression runs over all labels together, since a face has one emotion. The scores
    of a face are the average over all anchors whose boxes overlap its box (`vote`), as in the loss
    of the training: neighbouring anchors see the same face.

    Args:
        output: see `decode_output`.
        spec: of the model.
        placement: what `letterbox` returned.
        score_threshold: boxes whose best score is below are dropped; by default that of `spec`.

    Returns:
        boxes (n, 4) x1 y1 x2 y2 in pixels of the image, scores (n, labels) in 0..1.
    """
    boxes_xyxy, scores = decode_output(output, spec.output_format)
    threshold = spec.score_threshold if score_threshold is None else score_threshold
    usable = np.isfinite(boxes_xyxy).all(axis=1) & (scores.max(axis=1) >= threshold)
    boxes_xyxy, scores = boxes_xyxy[usable], scores[usable]
    selected = boxes.nms(boxes_xyxy, scores.max(axis=1), spec.nms_iou, spec.max_detections)
    voted = vote(boxes_xyxy, scores, selected, spec.vote_iou)
    order = np.argsort(-voted.max(axis=1), kind="stable") if len(voted) else selected
    return placement.to_image(boxes_xyxy[selected][order]), voted[order]


def vote(boxes_xyxy: Floats, scores: Floats, selected: NDArray[np.intp], min_iou: float) -> Floats:
    """Average the scores of all boxes that overlap a selected box by at least `min_iou`.

    Weighted by the confidence of each box, so that one without a face has no influence. Scores stay
    in 0..1. Returns (selected, labels).
    """
    voted = np.empty((len(selected), scores.shape[1]), np.float32)
    for row, index in enumerate(selected):
        weight = scores.max(axis=1) * (boxes.iou(boxes_xyxy[index], boxes_xyxy) >= min_iou)
        weight[index] = max(weight[index], np.float32(1e-6))
        voted[row] = weight @ scores / weight.sum()
    return voted
