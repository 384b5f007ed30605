"""From a picture, or the landmarks of a hand, to gestures: called by evaluation and by serving.

Where the hands are: `mien/mediapipe/hand_landmarker.py`; from landmarks to features:
`landmarks.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import boxes, images
from mien.boxes import Box
from mien.errors import BundleError, RequestError
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.hand_tracker import HandTracker
from mien.mediapipe.weights import PALM_DETECTOR
from mien.model.runtime import Model
from mien.task import Detection, Prediction, Request

from . import landmarks
from .landmarks import Floats
from .outlier_model import DISTANCE_STAT, GaussianOutlierModel
from .params import Body
from .rejection import RejectionModel

INPUT = "landmarks"
_DECIMALS = 5
"""Scores are rounded to it before the best is selected: a tie of the original (votes of a forest)
stays a tie in float32 and goes to the first label in both."""

RunModel = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


@dataclass(frozen=True)
class ClassifierSpec:
    """The preprocessing document of a gesture bundle."""

    outlier_model: GaussianOutlierModel | None = None
    """None: predictions carry no distance to the training hands."""
    rejection: RejectionModel | None = None
    """None: predictions carry no novelty."""

    @classmethod
    def from_preprocessing(cls, preprocessing: Mapping[str, Any]) -> "ClassifierSpec":
        """Read the document of a bundle.

        Raises:
            BundleError: the bundle was trained with another normalization.
        """
        version = preprocessing.get("preprocessing_version")
        if version != landmarks.NORMALIZATION_VERSION:
            raise BundleError(
                f"the bundle's normalization: expected {landmarks.NORMALIZATION_VERSION!r}, found "
                f"{version!r}. Train it again."
            )
        outlier_model = preprocessing.get("outlier_model")
        rejection = preprocessing.get("rejection")
        return cls(
            rejection=rejection and RejectionModel.from_json(rejection),
            outlier_model=outlier_model and GaussianOutlierModel.from_json(outlier_model),
        )


def detect_many(requests: Sequence[Request], model: Model) -> list[Prediction]:
    """Classify every hand of each request; the hand with the best score answers the request.

    The classifier runs once for all hands. Of several hands one usually rests: on 27 photos with
    two hands the one with the best score showed the gesture in all 27, the larger one in 22, the
    first one detected in 13. In a frame of a video, the
    palm detector is skipped while the landmark network confirms the hands of the frame before.

    Raises:
        BundleError: the bundle was trained with another normalization.
        RequestError: a picture for a bundle without landmarker, a hand without extent, or a
            `Request.video` that no prediction returned.
    """
    spec = model.cached(
        "classifier_spec", lambda: ClassifierSpec.from_preprocessing(model.preprocessing)
    )
    inputs = [_request_hands(request, model) for request in requests]
    points = np.concatenate([each.points for each in inputs])
    if not len(points):
        return [Prediction("no_hand", (), each.input_stats, each.video) for each in inputs]
    features = landmarks.normalize(points)
    ends = np.cumsum([len(each.points) for each in inputs])[:-1]
    scores = np.split(_class_scores(model.run, features), ends)
    return [
        _to_prediction(each, own_scores, own_features, model.labels, spec)
        for each, own_scores, own_features in zip(
            inputs, scores, np.split(features, ends), strict=True
        )
    ]


def class_scores(run: RunModel, points: Floats) -> Floats:
    """Scores (n, labels) of hands (n, 21, 3) of the common frame, as in predictions."""
    return _class_scores(run, landmarks.normalize(points))


def round_scores(scores: NDArray[Any]) -> Floats:
    """Scores in 0..1 with so few decimals that two ways of computing them agree on the best."""
    result: Floats = np.clip(np.round(scores.astype(np.float64), _DECIMALS), 0.0, 1.0)
    return result


@dataclass(frozen=True)
class _RequestHands:
    """The hands of a request before their classification."""

    points: Floats
    """(hands, 21, 3)"""
    input_stats: Mapping[str, float]
    hands: Sequence[Hand] = ()
    """Those of a picture, in the order of `points`; none for a request of landmarks."""
    size: tuple[int, int] | None = None
    """Width and height of the picture."""
    video: bytes = b""
    """For the next frame of a video."""


def _request_hands(request: Request, model: Model) -> _RequestHands:
    if request.image is None:
        return _RequestHands(_body_points(request.body), {"hands": 1.0})
    detected, video = _detect(request.image, model, request.video)
    hands = [_scale_to_original(hand, request.scale) for hand in detected]
    points = np.stack([hand.landmarks for hand in hands]) if hands else np.empty((0, 21, 3))
    input_stats: dict[str, float] = {}
    if request.video is None:  # frames of a video are not monitored
        input_stats = {**images.image_stats(request.image), "hands": float(len(hands))}
    return _RequestHands(points, input_stats, hands, request.size, video)


def _body_points(body: object) -> Floats:
    if not isinstance(body, Body):
        raise RequestError("the gesture task: expected a picture or JSON {'landmarks': 21 points}.")
    points = body.points()
    if not landmarks.has_extent(points).all():
        raise RequestError(
            "landmarks: expected the 21 points of one hand in pixels, found 21 equal points or "
            "numbers too large to compute with."
        )
    return points


def _detect(pixels: images.Pixels, model: Model, video: bytes | None) -> tuple[list[Hand], bytes]:
    """The hands of a picture, or of a frame of a video with the state for its next one."""
    if model.path(PALM_DETECTOR) is None:
        raise RequestError(
            "this model: expected landmarks, found a picture; it was trained with "
            "params.accept_images = false. Send JSON {'landmarks': [[x, y, z], ...]} with 21 "
            "points."
        )
    landmarker = model.cached("hand_landmarker", lambda: HandLandmarker.of_bundle(model))
    if video is None:
        hands, state = landmarker.detect(pixels), b""
    else:
        tracker = HandTracker.from_bytes(video)
        hands, state = tracker.detect(pixels, landmarker), tracker.to_bytes()
    return [hand for hand in hands if landmarks.has_extent(hand.landmarks[None])[0]], state


def _class_scores(run: RunModel, features: NDArray[np.float32]) -> Floats:
    return round_scores(run({INPUT: features})[0])


def _to_prediction(
    request: _RequestHands,
    scores: Floats,
    features: NDArray[np.float32],
    labels: Sequence[str],
    spec: ClassifierSpec,
) -> Prediction:
    """The prediction for one request from the scores (hands, labels) and features of its hands."""
    if not len(scores):
        return Prediction("no_hand", (), request.input_stats, request.video)
    order = np.argsort(-scores.max(axis=1), kind="stable")
    best = order[0]
    novelty = spec.rejection.novelty(features).tolist() if spec.rejection else [None] * len(order)
    detections = tuple(
        _to_detection(request, index, scores[index], labels, novelty[index]) for index in order
    )
    input_stats = dict(request.input_stats)
    if input_stats and spec.outlier_model:
        input_stats[DISTANCE_STAT] = spec.outlier_model.distance(features[best])
    if input_stats and request.size is not None:
        input_stats |= _hand_stats(request.hands[best], request.size)
    return Prediction("ok", detections, input_stats, request.video)


def _to_detection(
    request: _RequestHands,
    index: int,
    scores: Floats,
    labels: Sequence[str],
    novelty: float | None,
) -> Detection:
    box: Box | None = None
    extra: dict[str, Any] = {}
    if request.size is not None:
        hand = request.hands[index]
        box = _box(hand, request.size)
        extra = {"handedness": hand.handedness, "landmarks": np.round(hand.landmarks, 2).tolist()}
    best = int(np.argmax(scores))
    by_label = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return Detection(labels[best], float(scores[best]), box, by_label, extra, novelty)


def _scale_to_original(hand: Hand, scale: tuple[float, float]) -> Hand:
    """The hand in pixels of the original picture; depths are in the unit of x."""
    x_scale, y_scale = scale
    return replace(hand, landmarks=hand.landmarks * (x_scale, y_scale, x_scale))


def _box(hand: Hand, size: tuple[int, int]) -> Box:
    clipped = boxes.clip(boxes.enclosing(hand.landmarks[:, :2]), *size)
    x1, y1, x2, y2 = (round(float(value), 2) for value in clipped)
    return (x1, y1, x2, y2)


def _hand_stats(hand: Hand, size: tuple[int, int]) -> dict[str, float]:
    """Fraction of the picture that the hand covers, and fraction of its landmarks inside."""
    width, height = size
    x1, y1, x2, y2 = _box(hand, size)
    points = hand.landmarks[:, :2]
    inside = ((points >= 0) & (points <= (width, height))).all(axis=1)
    return {
        "subject_size": (x2 - x1) * (y2 - y1) / (height * width),
        "landmark_completeness": float(inside.mean()),
    }
