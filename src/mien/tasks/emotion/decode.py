"""Numbers in, numbers out: a picture to the detector's input, and its raw output to boxes.

Knows the two output layouts of the detector families and the square canvas that a picture is
fitted on; training fits its pictures with the same function. Knows no torch, no ONNX session,
no labels by name and no threshold of the product. Pure numpy, and Pillow for the resizing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
_GAP = 2.0
"""How much larger than the result a picture stays that is averaged before it is resized."""


@dataclass(frozen=True)
class Fit:
    """How a picture of `width` x `height` pixels lies on the square canvas."""

    scale: float
    dx: int
    dy: int
    width: int
    height: int

    def to_canvas(self, boxes: Floats) -> Floats:
        """Move boxes (n, 4) x1 y1 x2 y2 from pixels of the picture to pixels of the canvas."""
        return cast(Floats, boxes * np.float32(self.scale) + self._shift())

    def to_picture(self, boxes: Floats) -> Floats:
        """Move boxes (n, 4) from the canvas back to the picture, cut at its border."""
        inside = (boxes - self._shift()) / np.float32(self.scale)
        limit = np.array([self.width, self.height, self.width, self.height], np.float32)
        return cast(Floats, np.clip(inside, np.float32(0), limit))

    def _shift(self) -> Floats:
        return np.array([self.dx, self.dy, self.dx, self.dy], np.float32)


def letterbox(
    image: Pixels, side: int, pad: int, size: tuple[int, int] | None = None
) -> tuple[Pixels, Fit]:
    """Fit `image` (h, w, 3) on a canvas (side, side, 3), centred, border filled with `pad`.

    The longer side of the picture becomes `side`; a small picture is enlarged. A much larger one is
    averaged, then resized bilinear with Pillow's area support, so that a photo does not alias.

    Args:
        image: the picture, perhaps already reduced.
        side: of the canvas, in pixels.
        pad: value of the border.
        size: width and height of the picture as sent, in which the fit counts; by default
            those of `image`.
    """
    width, height = size or (image.shape[1], image.shape[0])
    scale = side / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    dx, dy = (side - fitted[0]) // 2, (side - fitted[1]) // 2
    canvas = np.full((side, side, 3), pad, np.uint8)
    canvas[dy : dy + fitted[1], dx : dx + fitted[0]] = _resized(image, fitted)
    return canvas, Fit(scale, dx, dy, width, height)


def planes(canvas: Pixels, facts: Mapping[str, Any]) -> Floats:
    """Turn a canvas (side, side, 3) RGB into the input (1, 3, side, side) of the family."""
    ordered = canvas[:, :, ::-1] if facts["channels"] == "bgr" else canvas
    scaled = ordered.astype(np.float32) * np.float32(facts["scale"])
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def decode(output: Floats, facts: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Split the raw output of ONE picture into boxes and scores.

    Layout "yolox": (anchors, 5 + labels) as cx, cy, w, h, objectness, classes; a score is
    objectness x class. Layout "yolo9": (4 + labels, anchors) as x1, y1, x2, y2, classes.

    Returns:
        boxes (anchors, 4) x1 y1 x2 y2 in pixels of the canvas, scores (anchors, labels) in 0..1.
    """
    if facts["layout"] == "yolox":
        centre, half = output[:, 0:2], output[:, 2:4] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        return boxes, output[:, 4:5] * output[:, 5:]
    if facts["layout"] == "yolo9":
        return output[:4].T, output[4:].T
    raise ValueError(f"layout is 'yolox' or 'yolo9', not {facts['layout']!r}")


def detect(
    output: Floats, facts: Mapping[str, Any], fit: Fit, floor: float | None = None
) -> tuple[Floats, Floats]:
    """Turn the raw output of one picture into its faces, best first.

    A face is what one box says after non-maximum suppression over all labels together, since
    a face has one emotion. Its scores are what all overlapping candidates say on average
    (`vote`), as the training's loss judges them: neighbours look at the same face.

    Args:
        output: see `decode`.
        facts: the facts of the model, see `families.Family.facts`.
        fit: how `letterbox` placed the picture.
        floor: candidates whose best score is below are dropped; by default the facts' own.

    Returns:
        boxes (n, 4) x1 y1 x2 y2 in pixels of the picture, scores (n, labels) in 0..1.
    """
    boxes, scores = decode(output, facts)
    lowest = facts["score_floor"] if floor is None else floor
    good = np.isfinite(boxes).all(axis=1) & (scores.max(axis=1) >= lowest)
    boxes, scores = boxes[good], scores[good]
    kept = nms(boxes, scores.max(axis=1), facts["nms_iou"], int(facts["max_faces"]))
    voted = vote(boxes, scores, kept, facts["vote_iou"])
    order = np.argsort(-voted.max(axis=1), kind="stable") if len(voted) else kept
    return fit.to_picture(boxes[kept][order]), voted[order]


def nms(boxes: Floats, confidence: Floats, iou: float, limit: int) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, best first: greedy suppression above `iou`."""
    waiting = np.argsort(-confidence, kind="stable")
    kept: list[int] = []
    while len(waiting) and len(kept) < limit:
        best = int(waiting[0])
        kept.append(best)
        waiting = waiting[1:][overlap(boxes[best], boxes[waiting[1:]]) <= iou]
    return np.array(kept, np.intp)


def vote(boxes: Floats, scores: Floats, kept: NDArray[np.intp], iou: float) -> Floats:
    """Average the scores of all candidates that overlap a kept box by at least `iou`.

    Weighted by each candidate's own confidence, so that a candidate which sees no face has no
    say. Scores stay in 0..1. Returns (kept, labels).
    """
    voted = np.empty((len(kept), scores.shape[1]), np.float32)
    for row, index in enumerate(kept):
        weight = scores.max(axis=1) * (overlap(boxes[index], boxes) >= iou)
        weight[index] = max(weight[index], np.float32(1e-6))
        voted[row] = weight @ scores / weight.sum()
    return voted


def overlap(box: Floats, others: Floats) -> Floats:
    """Return the intersection over union of one box (4,) with others (n, 4); 0 for empty ones."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = _area(box[None]) + _area(others) - shared
    return cast(Floats, np.where(union > 0, shared / np.where(union > 0, union, 1), 0))


def _resized(image: Pixels, fitted: tuple[int, int]) -> Pixels:
    """`image` at the size `fitted`, without a copy if it has it."""
    if fitted == (image.shape[1], image.shape[0]):
        return image
    # Averaged first where it is far too large, which is faster and changes the canvas of a photo by
    # less than one step of 255 on average (tests); hard edges by more.
    picture = Image.fromarray(image)
    return np.asarray(picture.resize(fitted, Image.Resampling.BILINEAR, reducing_gap=_GAP))


def _area(boxes: Floats) -> Floats:
    return cast(Floats, np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))
