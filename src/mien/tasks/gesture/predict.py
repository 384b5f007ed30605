"""From one picture, or the landmarks of one hand, to gestures: called by evaluation and serving.

Knows the bundle's facts and what an answer holds. Where hands are is `landmarker.py`'s business,
what a hand looks like to the classifier `landmarks.py`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import images
from mien.errors import BundleError, RequestError
from mien.runtime import Model
from mien.task import Box, Finding, Outcome, Prediction, Request

from . import landmarks, typical
from .hands import Hand
from .landmarker import Landmarker
from .landmarks import Floats
from .params import Body

INPUT = "landmarks"
LANDMARKER = "hand_landmarker.task"
_DECIMALS = 5
"""Scores are rounded to it before the best is chosen: a tie of the original (votes of a forest)
stays a tie in float32 and goes to the first label in both."""

Run = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


def predict(request: Request, model: Model) -> Prediction:
    """Name the gesture of every hand; the surest hand answers the request.

    Of several hands one usually rests: on 27 photos with two hands the surest was the one that
    shows the gesture in all 27, the larger one in 22, the detector's first in 13.

    Raises:
        BundleError: the bundle was trained with another normalisation.
        RequestError: a picture for a bundle without landmarker, or a hand without extent.
    """
    facts = model.facts
    if facts.get("normalisation") != landmarks.VERSION:
        raise BundleError(
            f"The bundle wants normalisation {facts.get('normalisation')!r}; this mien has "
            f"{landmarks.VERSION!r}. Train it again."
        )
    if request.image is None:
        return _of_body(request.body, model)
    return _of_image(request.image, model)


def class_scores(run: Run, points: Floats) -> Floats:
    """Scores (n, labels) of hands (n, 21, 3) of the common frame, as the product tells them."""
    return _scores(run, landmarks.normalise(points))


def rounded(scores: NDArray[Any]) -> Floats:
    """Scores in 0..1 with so few decimals that two ways of computing them agree on the best."""
    result: Floats = np.clip(np.round(scores.astype(np.float64), _DECIMALS), 0.0, 1.0)
    return result


def _of_body(body: object, model: Model) -> Prediction:
    if not isinstance(body, Body):
        raise RequestError("The gesture task takes a picture, or JSON {'landmarks': 21 points}.")
    points = landmarks.as_array(body.landmarks)
    if not landmarks.measurable(points).all():
        raise RequestError(
            "landmarks: all 21 points lie in one place, or too far apart to be computed with; "
            "expected the points of one hand in pixels."
        )
    features = landmarks.normalise(points)
    finding = _finding(_scores(model.run, features)[0], model.labels, None, {})
    measures = {"hands": 1.0, **_unusual(features[0], model)}
    return Prediction(_outcome((finding,), model.facts), (finding,), measures)


def _of_image(pixels: images.Pixels, model: Model) -> Prediction:
    hands = _hands(pixels, model)
    measures = {**images.measures(pixels), "hands": float(len(hands))}
    if not hands:
        return Prediction("no_hand", (), measures)
    features = landmarks.normalise(np.stack([hand.points for hand in hands]))
    named = [
        (_finding(row, model.labels, _box(hand, pixels.shape), _extra(hand)), hand, own)
        for row, hand, own in zip(_scores(model.run, features), hands, features, strict=True)
    ]
    named.sort(key=lambda each: -each[0].confidence)
    findings = tuple(finding for finding, _, _ in named)
    _, hand, own = named[0]
    measures |= {**_measures(hand, pixels.shape), **_unusual(own, model)}
    return Prediction(_outcome(findings, model.facts), findings, measures)


def _hands(pixels: images.Pixels, model: Model) -> list[Hand]:
    path = model.path(LANDMARKER)
    if path is None:
        raise RequestError(
            "This model takes landmarks, not pictures: it was trained with params.images = false. "
            "Send JSON {'landmarks': [[x, y, z], ...]} with 21 points."
        )
    landmarker = model.per_thread("hand_landmarker", lambda: Landmarker(path))
    found = landmarker.find(pixels)
    return [hand for hand in found if landmarks.measurable(hand.points[None])[0]]


def _scores(run: Run, features: NDArray[np.float32]) -> Floats:
    return rounded(run({INPUT: features})[0])


def _finding(
    scores: Floats, labels: Sequence[str], box: Box | None, extra: Mapping[str, Any]
) -> Finding:
    best = int(np.argmax(scores))
    by_label = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    return Finding(labels[best], float(scores[best]), box, by_label, extra)


def _box(hand: Hand, shape: tuple[int, ...]) -> Box:
    height, width = shape[:2]
    x, y = np.clip(hand.points[:, 0], 0, width), np.clip(hand.points[:, 1], 0, height)
    corners = (x.min(), y.min(), x.max(), y.max())
    x1, y1, x2, y2 = (round(float(value), 2) for value in corners)
    return (x1, y1, x2, y2)


def _extra(hand: Hand) -> dict[str, Any]:
    return {"handedness": hand.handedness, "landmarks": np.round(hand.points, 2).tolist()}


def _outcome(findings: Sequence[Finding], facts: Mapping[str, Any]) -> Outcome:
    if not findings:
        return "no_hand"
    return "ok" if findings[0].confidence >= facts["min_confidence"] else "unsure"


def _measures(hand: Hand, shape: tuple[int, ...]) -> dict[str, float]:
    """Share of the picture that the hand takes, and share of its points that lie inside."""
    height, width = shape[:2]
    x1, y1, x2, y2 = _box(hand, shape)
    inside = (hand.points[:, :2] >= 0).all(axis=1) & (hand.points[:, :2] <= (width, height)).all(
        axis=1
    )
    return {
        "subject_size": (x2 - x1) * (y2 - y1) / (height * width),
        "landmark_completeness": float(inside.mean()),
    }


def _unusual(features: NDArray[np.float32], model: Model) -> dict[str, float]:
    if "typical" not in model.facts:
        return {}  # a bundle from before hands were described
    known = model.once("typical", lambda: typical.Typical.of(model.facts["typical"]))
    return {typical.MEASURE: known.distance(features)}
