"""Box geometry: formats, intersection over union (IoU) and non-maximum suppression (NMS).

Names say the format: `xyxy` is left, top, right, bottom; `xcycwh` is centre x, centre y, width,
height. Each function keeps the dtype of its input. Pure numpy.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""One box as xyxy; x1, y1, x2, y2 in pixels of the upright picture as it was sent."""
Array = TypeVar("Array", NDArray[np.float32], NDArray[np.float64])


def xcycwh_to_xyxy(boxes_xcycwh: Array) -> Array:
    """Convert boxes (..., 4)."""
    centre, half = boxes_xcycwh[..., :2], boxes_xcycwh[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_xcycwh(boxes_xyxy: Array) -> Array:
    """Convert boxes (..., 4)."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def clip(boxes_xyxy: Array, width: float, height: float) -> Array:
    """Cut boxes (..., 4) at the border of a picture of `width` x `height`."""
    limit = np.array([width, height, width, height], boxes_xyxy.dtype)
    result: Array = np.clip(boxes_xyxy, boxes_xyxy.dtype.type(0), limit)
    return result


def enclosing(points_xy: Array) -> Array:
    """The smallest box (4,), xyxy, around points (n, 2)."""
    return np.concatenate([points_xy.min(axis=0), points_xy.max(axis=0)])


def area(boxes_xyxy: Array) -> Array:
    """Area of boxes (..., 4); 0 where the right or lower edge comes before the other one."""
    result: Array = np.prod(np.clip(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0, None), axis=-1)
    return result


def iou(box_xyxy: Array, boxes_xyxy: Array) -> Array:
    """Intersection over union of one box (4,) with others (n, 4); 0 where both are empty."""
    low = np.maximum(box_xyxy[:2], boxes_xyxy[:, :2])
    high = np.minimum(box_xyxy[2:], boxes_xyxy[:, 2:])
    intersection = area(np.concatenate([low, high], axis=1))
    union = area(box_xyxy[None]) + area(boxes_xyxy) - intersection
    result: Array = np.where(union > 0, intersection / np.where(union > 0, union, 1), 0)
    return result


def nms(boxes_xyxy: Array, scores: Array, iou_threshold: float, max_boxes: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the indices of the remaining boxes, best score first.

    A box is suppressed where its IoU with a better one exceeds `iou_threshold`.
    """
    order = np.argsort(-scores, kind="stable")
    selected: list[int] = []
    while len(order) and len(selected) < max_boxes:
        best, order = int(order[0]), order[1:]
        selected.append(best)
        order = order[iou(boxes_xyxy[best], boxes_xyxy[order]) <= iou_threshold]
    return np.array(selected, np.intp)


def weighted_nms(
    detections: NDArray[np.float64], scores: NDArray[np.float64], iou_threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Replace overlapping detections by their mean, weighted by score.

    As MediaPipe's non_max_suppression_calculator.cc does it in its WEIGHTED mode: the best
    detection absorbs all whose IoU with it exceeds `iou_threshold`, and keeps its own score.

    Args:
        detections: (n, 4 + m), a box as xyxy and m values that are averaged with it.
        scores: (n,).
        iou_threshold: boxes with a larger IoU show the same object.

    Returns:
        The merged detections (k, 4 + m) and their scores (k,), best score first.
    """
    order = np.argsort(-scores, kind="stable")
    detections, scores = detections[order], scores[order]
    merged, best_scores = [], []
    while len(scores):
        same = iou(detections[0, :4], detections[:, :4]) > iou_threshold
        same[0] = True
        merged.append(np.average(detections[same], axis=0, weights=scores[same]))
        best_scores.append(scores[0])
        detections, scores = detections[~same], scores[~same]
    width = detections.shape[1]
    return np.array(merged).reshape(-1, width), np.array(best_scores, dtype=np.float64)
