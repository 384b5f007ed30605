"""Promises of the rejection of hands that show no gesture."""

import json

import numpy as np
import pytest

from mien.tasks.gesture import landmarks
from mien.tasks.gesture.hand_shape import shape_features
from mien.tasks.gesture.mixed_hands import mix_fingers
from mien.tasks.gesture.rejection import RejectionModel
from mien.tasks.gesture.rejection_training import fit_rejection, training_hands
from mien.tasks.gesture.sample import hands_without_gesture, landmark_rows

ROWS, LABELS = landmark_rows(40, 0)
FEATURES = landmarks.normalize(ROWS)
CLASSES = np.unique(np.array(LABELS), return_inverse=True)[1].astype(np.int64)


@pytest.fixture(scope="module")
def rejection() -> RejectionModel:
    document = json.loads(json.dumps(fit_rejection(FEATURES, CLASSES, 0).as_json()))
    return RejectionModel.from_json(document)


def test_hands_without_a_gesture_are_more_novel_than_those_with_one(
    rejection: RejectionModel,
) -> None:
    """Most of them are rejected at a threshold that costs one in fifty known hands."""
    known = rejection.novelty(landmarks.normalize(landmark_rows(20, 1)[0]))
    without = hands_without_gesture(400, np.random.default_rng(5))
    unknown = rejection.novelty(landmarks.normalize(without))
    threshold = np.quantile(known, 0.98)
    assert (unknown > threshold).mean() > 0.6


def test_a_hand_with_the_finger_of_another_gesture_is_rejected(rejection: RejectionModel) -> None:
    """A fist with a straight ring finger is no gesture, though each finger is one of a gesture."""
    known = rejection.novelty(landmarks.normalize(landmark_rows(20, 1)[0]))
    mixed, _ = mix_fingers(FEATURES, CLASSES, np.random.default_rng(9), 500)
    assert (rejection.novelty(mixed) > np.quantile(known, 0.98)).mean() > 0.6


def test_fingers_mixed_within_a_gesture_show_it(rejection: RejectionModel) -> None:
    """The seams of mixed hands do not give them away."""
    known = rejection.novelty(landmarks.normalize(landmark_rows(20, 1)[0]))
    mixed, _ = mix_fingers(FEATURES, CLASSES, np.random.default_rng(9), 500, same=True)
    assert len(mixed) > 100
    assert (rejection.novelty(mixed) > np.quantile(known, 0.98)).mean() < 0.1


def test_a_gesture_that_is_seen_a_little_differently_is_no_new_one(
    rejection: RejectionModel,
) -> None:
    """The hands of people differ more from the training hands than these do from each other."""
    known = landmarks.normalize(landmark_rows(20, 1)[0])
    noise = 0.06 * np.random.default_rng(3).standard_normal((len(known), 21, 2))
    hands = known.reshape(-1, 21, 3).astype(np.float64)
    hands[:, :, :2] += noise
    threshold = np.quantile(rejection.novelty(known), 0.98)
    assert (rejection.novelty(landmarks.normalize(hands)) > threshold).mean() < 0.16


def test_the_shape_of_a_hand_and_of_its_mirror_image_are_the_same() -> None:
    """Left and right hands of one gesture: all but the normalized landmarks themselves."""
    mirrored = landmarks.normalize(ROWS[:50] * [-1.0, 1.0, 1.0])
    one, other = (shape_features(each)[:, 63:] for each in (FEATURES[:50], mirrored))
    assert np.abs(one - other).max() < 1e-3


def test_shapes_are_finite_for_degenerate_hands() -> None:
    """Points that coincide, as a failed network or a client may send."""
    hand = np.zeros((3, 21, 3))
    hand[0, 1, 0] = 1
    hand[1, 20, 1] = 1
    hand[2, :, 0] = np.arange(21)
    assert np.isfinite(shape_features(landmarks.normalize(hand))).all()


def test_training_hands_hold_the_given_ones_and_a_class_more() -> None:
    """The given hands come first, some of them with noise; the last class is that of hands without
    a gesture; two calls give the same hands."""
    rows, classes = training_hands(FEATURES[:360], CLASSES[:360], 3)
    assert np.array_equal(classes[:360], CLASSES[:360])
    same = (rows[:360] == FEATURES[:360]).all(axis=1)
    assert 0.2 < same.mean() < 0.6
    assert set(classes) == {*CLASSES[:360], CLASSES[:360].max() + 1}
    assert np.array_equal(training_hands(FEATURES[:360], CLASSES[:360], 3)[0], rows)


def test_hands_without_a_gesture_are_the_same_for_one_seed() -> None:
    """And as many as asked for, at least."""
    one, two = (hands_without_gesture(10, np.random.default_rng(4)) for _ in range(2))
    assert one.shape[1:] == (21, 3)
    assert len(one) >= 10
    assert np.array_equal(one, two)
