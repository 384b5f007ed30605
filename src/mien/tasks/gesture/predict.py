"""From one picture, or the landmarks of one hand, to gestures: called by evaluation and serving.

Knows the bundle's preprocessing and what an answer holds. Where hands are is `landmarker.py`'s
business, what a hand looks like to the classifier `landmarks.py`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import images
from mien.boxes import Box
from mien.errors import BundleError, RequestError
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.hand_tracker import HandTracker
from mien.model.runtime import Model
from mien.task import Detection, Outcome, Prediction, Request

from . import landmarks, typical
from .landmarks import Floats
from .params import Body

INPUT = "landmarks"
LANDMARKER = "hand_landmarker.task"
MIN_SIDE = 1200
"""Pixels of a picture's shorter side with which hands, near and far, are found as with all 3000 of
12 megapixels; with half as many, small hands are missed (`bench photos`)."""
_DECIMALS = 5
"""Scores are rounded to it before the best is chosen: a tie of the original (votes of a forest)
stays a tie in float32 and goes to the first label in both."""

Find = Callable[[images.Pixels, HandLandmarker], list[Hand]]
Run = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


def predict_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    """Name the gesture of every hand of each request; the surest hand answers the request.

    The classifier runs once for all hands. Of several hands one usually rests: on 27 photos with
    two hands the surest was the one that shows the gesture in all 27, the larger one in 22, the
    detector's first in 13.

    Raises:
        BundleError: the bundle was trained with another normalisation.
        RequestError: a picture for a bundle without landmarker, or a hand without extent.
    """
    return _answer(requests, model, lambda pixels, landmarker: landmarker.detect(pixels))


def follow(model: Model) -> Callable[[Request], Prediction]:
    """Make a `predict` for the frames of one video, in their order and from one thread.

    It skips the palm detector where the landmark network still sees the hands of the frame before.
    """
    tracker = HandTracker()
    return lambda request: _answer([request], model, tracker.detect)[0]


def class_scores(run: Run, points: Floats) -> Floats:
    """Scores (n, labels) of hands (n, 21, 3) of the common frame, as the product tells them."""
    return _scores(run, landmarks.normalise(points))


def rounded(scores: NDArray[Any]) -> Floats:
    """Scores in 0..1 with so few decimals that two ways of computing them agree on the best."""
    result: Floats = np.clip(np.round(scores.astype(np.float64), _DECIMALS), 0.0, 1.0)
    return result


@dataclass(frozen=True)
class _Seen:
    """What is known of a request before its hands are named."""

    points: Floats
    """(hands, 21, 3)"""
    input_stats: Mapping[str, float]
    hands: Sequence[Hand] = ()
    """Those of a picture, in the order of `points`; none for landmarks that were sent,"""
    size: tuple[int, int] | None = None
    """and its width and height."""


def _answer(requests: Sequence[Request], model: Model, find: Find) -> list[Prediction]:
    preprocessing = model.preprocessing
    if preprocessing.get("normalisation") != landmarks.VERSION:
        raise BundleError(
            f"The bundle wants normalisation {preprocessing.get('normalisation')!r}; this mien has "
            f"{landmarks.VERSION!r}. Train it again."
        )
    seen = [_look(request, model, find) for request in requests]
    points = np.concatenate([each.points for each in seen])
    if not len(points):
        return [Prediction("no_hand", (), each.input_stats) for each in seen]
    features = landmarks.normalise(points)
    ends = np.cumsum([len(each.points) for each in seen])[:-1]
    scores = np.split(_scores(model.run, features), ends)
    return [
        _named(each, rows, own, model)
        for each, rows, own in zip(seen, scores, np.split(features, ends), strict=True)
    ]


def _look(request: Request, model: Model, find: Find) -> _Seen:
    if request.image is None:
        return _Seen(_points(request.body), {"hands": 1.0})
    hands = [_as_sent(hand, request.scale) for hand in _hands(request.image, model, find)]
    points = np.stack([hand.landmarks for hand in hands]) if hands else np.empty((0, 21, 3))
    input_stats = {**images.image_stats(request.image), "hands": float(len(hands))}
    return _Seen(points, input_stats, hands, request.size)


def _points(body: object) -> Floats:
    if not isinstance(body, Body):
        raise RequestError("The gesture task takes a picture, or JSON {'landmarks': 21 points}.")
    points = landmarks.as_array(body.landmarks)
    if not landmarks.measurable(points).all():
        raise RequestError(
            "landmarks: all 21 points lie in one place, or too far apart to be computed with; "
            "expected the points of one hand in pixels."
        )
    return points


def _named(seen: _Seen, scores: Floats, features: NDArray[np.float32], model: Model) -> Prediction:
    """The answer to one request, of the scores (hands, labels) and features of its hands."""
    if not len(scores):
        return Prediction("no_hand", (), seen.input_stats)
    best, *others = np.argsort(-scores.max(axis=1), kind="stable")
    detections = tuple(_of_hand(seen, place, scores[place], model) for place in (best, *others))
    input_stats = {**seen.input_stats, **_unusual(features[best], model)}
    if seen.size is not None:
        input_stats |= _input_stats(seen.hands[best], seen.size)
    return Prediction(_outcome(detections, model.preprocessing), detections, input_stats)


def _of_hand(seen: _Seen, place: int, scores: Floats, model: Model) -> Detection:
    if seen.size is None:
        return _detection(scores, model.labels, None, {})
    hand = seen.hands[place]
    return _detection(scores, model.labels, _box(hand, seen.size), _extra(hand))


def _hands(pixels: images.Pixels, model: Model, find: Find) -> list[Hand]:
    path = model.path(LANDMARKER)
    if path is None:
        raise RequestError(
            "This model takes landmarks, not pictures: it was trained with params.images = false. "
            "Send JSON {'landmarks': [[x, y, z], ...]} with 21 points."
        )
    file = model.cached("hand_landmarker", lambda: weights.read_hand_landmarker(path))
    landmarker = model.per_thread("hand_landmarker", lambda: HandLandmarker(file))
    found = find(pixels, landmarker)
    return [hand for hand in found if landmarks.measurable(hand.landmarks[None])[0]]


def _scores(run: Run, features: NDArray[np.float32]) -> Floats:
    return rounded(run({INPUT: features})[0])


def _detection(
    scores: Floats, labels: Sequence[str], box: Box | None, extra: Mapping[str, Any]
) -> Detection:
    best = int(np.argmax(scores))
    by_label = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return Detection(labels[best], float(scores[best]), box, by_label, extra)


def _as_sent(hand: Hand, scale: tuple[float, float]) -> Hand:
    """The hand in pixels of the picture as sent; depths are in the unit of x."""
    across, down = scale
    return replace(hand, landmarks=hand.landmarks * (across, down, across))


def _box(hand: Hand, size: tuple[int, int]) -> Box:
    width, height = size
    x, y = np.clip(hand.landmarks[:, 0], 0, width), np.clip(hand.landmarks[:, 1], 0, height)
    corners = (x.min(), y.min(), x.max(), y.max())
    x1, y1, x2, y2 = (round(float(value), 2) for value in corners)
    return (x1, y1, x2, y2)


def _extra(hand: Hand) -> dict[str, Any]:
    return {"handedness": hand.handedness, "landmarks": np.round(hand.landmarks, 2).tolist()}


def _outcome(detections: Sequence[Detection], preprocessing: Mapping[str, Any]) -> Outcome:
    if not detections:
        return "no_hand"
    return "ok" if detections[0].confidence >= preprocessing["min_confidence"] else "unsure"


def _input_stats(hand: Hand, size: tuple[int, int]) -> dict[str, float]:
    """Share of the picture that the hand takes, and share of its points that lie inside."""
    width, height = size
    x1, y1, x2, y2 = _box(hand, size)
    inside = (hand.landmarks[:, :2] >= 0).all(axis=1) & (
        hand.landmarks[:, :2] <= (width, height)
    ).all(axis=1)
    return {
        "subject_size": (x2 - x1) * (y2 - y1) / (height * width),
        "landmark_completeness": float(inside.mean()),
    }


def _unusual(features: NDArray[np.float32], model: Model) -> dict[str, float]:
    if "typical" not in model.preprocessing:
        return {}  # a bundle from before hands were described
    known = model.cached("typical", lambda: typical.Typical.of(model.preprocessing["typical"]))
    return {typical.MEASURE: known.distance(features)}
