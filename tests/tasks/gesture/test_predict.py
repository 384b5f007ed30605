"""One function answers landmarks and pictures, for evaluation and for serving."""

import importlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_picture import hand_picture
from PIL import Image
from pydantic import ValidationError

from mien import tasks
from mien.errors import BundleError, RequestError
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarks import Hand
from mien.model import bundle, runtime
from mien.model.decision import AnswerDecision
from mien.model.runtime import Model
from mien.task import Request
from mien.tasks.gesture import TASK, data, landmarks
from mien.tasks.gesture.params import HAGRID_LABELS, Body, Params
from mien.tasks.gesture.sample import landmark_rows, write_sample
from mien.tasks.gesture.train import fit

GREY = np.full((480, 640, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the sample data that takes landmarks only."""
    names = ("raw", "ready", "out", "cache")
    raw, ready, out, cache = (tmp_path_factory.mktemp(name) for name in names)
    params = Params(accept_images=False)
    write_sample(raw, 0, per_label=40)
    data.prepare(raw, ready, params, cache)
    done = fit("svm", ready, out, params, 0, lambda *_: None)
    bundle.write(out, bundle.describe("gesture", HAGRID_LABELS, "svm", done.preprocessing))
    return out


@pytest.fixture
def model(trained: Path) -> Iterator[Model]:
    with runtime.load(trained) as opened:
        yield opened


def altered(
    trained: Path, out: Path, facts: dict[str, Any], *, pictures: bool = False, without: str = ""
) -> Path:
    """A copy of the bundle with other facts, without one and, if wanted, with a landmarker."""
    out.mkdir()
    (out / "model.onnx").write_bytes((trained / "model.onnx").read_bytes())
    if pictures:
        weights.write_hand_landmarker(out)
    old = dict(bundle.read(trained).manifest.preprocessing)
    old.pop(without, None)
    bundle.write(out, bundle.describe("gesture", HAGRID_LABELS, "svm", old | facts))
    return out


def hand_of(label: str) -> landmarks.Floats:
    hands, labels = landmark_rows(30, 8)
    return np.asarray(hands[labels.index(label) + 1])


def test_landmarks_are_classified(model: Model) -> None:
    """Most hands of another seed get their own label, and the prediction is complete."""
    hands, labels = landmark_rows(4, 9)
    answers = [
        TASK.inference.predict(Request(body=Body(landmarks=hand.tolist())), model) for hand in hands
    ]
    right = [a.best is not None and a.best.label == t for a, t in zip(answers, labels, strict=True)]
    assert np.mean(right) > 0.8
    best = answers[0].best
    assert best is not None
    assert list(best.scores) == list(HAGRID_LABELS)
    assert best.confidence == max(best.scores.values())
    assert best.box is None
    assert all(set(each.input_stats) == {"hands", "landmark_distance"} for each in answers)
    assert {each.input_stats["hands"] for each in answers} == {1.0}
    far = [each.input_stats["landmark_distance"] for each in answers]
    assert 0.5 < np.mean(far) < 2, "hands like those of the training are about 1 away"


def test_landmarks_that_are_no_hand_have_a_large_distance(model: Model) -> None:
    """The prediction has a gesture; the distance shows that it is meaningless."""
    hand = hand_of("rock")
    mixed = np.random.default_rng(3).permutation(hand)
    usual, unusual = (
        TASK.inference.predict(Request(body=Body(landmarks=points.tolist())), model).input_stats[
            "landmark_distance"
        ]
        for points in (hand, mixed)
    )
    assert unusual > 10 * usual


def test_a_bundle_without_an_outlier_model_predicts(trained: Path, tmp_path: Path) -> None:
    """Without the distance."""
    folder = altered(trained, tmp_path / "before", {}, without="outlier_model")
    with runtime.load(folder) as old:
        answer = TASK.inference.predict(Request(body=Body(landmarks=hand_of("ok").tolist())), old)
    assert answer.best is not None
    assert answer.input_stats == {"hands": 1.0}


def test_predictions_are_invariant_to_unit_and_position(model: Model) -> None:
    """Pixels of a large picture, or wrist-relative: the same hand, the same prediction."""
    hand = hand_of("rock")
    one = TASK.inference.predict(Request(body=Body(landmarks=hand.tolist())), model).best
    two = TASK.inference.predict(
        Request(body=Body(landmarks=((hand - hand[0]) / 321).tolist())), model
    ).best
    assert one is not None
    assert two is not None
    assert one.label == two.label
    assert one.confidence == pytest.approx(two.confidence, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"landmarks": [[1, 2, 3]] * 20}, "at least 21 items after validation, not 20"),
        ({"landmarks": [[1, 2, 3]] * 22}, "at most 21 items"),
        ({"landmarks": [[1, 2]] + [[1, 2, 3]] * 20}, "at least 3 items after validation, not 2"),
        ({"landmarks": [["1", 2, 3]] + [[1, 2, 3]] * 20}, "valid number"),
        ({"landmarks": [[True, 2, 3]] + [[1, 2, 3]] * 20}, "valid number"),
        ({"landmarks": [[None, 2, 3]] + [[1, 2, 3]] * 20}, "valid number"),
        ({"landmarks": [[float("nan"), 2, 3]] + [[1, 2, 3]] * 20}, "finite number"),
        ({"landmarks": [[float("inf"), 2, 3]] + [[1, 2, 3]] * 20}, "finite number"),
        ({}, "Field required"),
    ],
)
def test_a_body_of_another_form_is_refused(body: dict[str, Any], message: str) -> None:
    """The message says what is expected."""
    with pytest.raises(ValidationError, match=message):
        Body.model_validate_json(json.dumps(body))


def test_a_hand_without_extent_is_a_request_error(model: Model) -> None:
    """Valid numbers can still be no hand."""
    for value in (7.0, 0.0):
        with pytest.raises(RequestError, match="21 equal points"):
            TASK.inference.predict(Request(body=Body(landmarks=[[value] * 3] * 21)), model)
    far = [[1e308, 0.0, 0.0], *[[-1e308, 0.0, 0.0]] * 20]
    with pytest.raises(RequestError, match="too large"):
        TASK.inference.predict(Request(body=Body(landmarks=far)), model)


def test_a_bundle_of_another_normalization_is_refused(trained: Path, tmp_path: Path) -> None:
    """Its features would have another meaning."""
    folder = altered(trained, tmp_path / "other", {"preprocessing_version": "tip-origin/1"})
    with runtime.load(folder) as other, pytest.raises(BundleError, match="'tip-origin/1'"):
        TASK.inference.predict(Request(body=Body(landmarks=hand_of("ok").tolist())), other)


def test_below_the_threshold_a_prediction_is_unsure(trained: Path, tmp_path: Path) -> None:
    """The detection is still listed."""
    request = Request(body=Body(landmarks=hand_of("ok").tolist()))
    for threshold, outcome in ((0.0, "ok"), (1.0, "unsure")):
        folder = altered(trained, tmp_path / outcome, {})
        with runtime.load(folder) as other:
            other.decision = AnswerDecision(min_confidence=threshold)
            answer = TASK.inference.predict(request, other)
        assert answer.outcome == outcome
        assert answer.best is not None


def test_a_picture_without_landmarker_is_a_request_error(model: Model) -> None:
    """The message says what to send instead."""
    with pytest.raises(RequestError, match="landmarks"):
        TASK.inference.predict(Request(image=GREY), model)


class FakeLandmarker:
    """Finds the hands that a test wants found."""

    hands: tuple[Hand, ...] = ()

    @classmethod
    def of_bundle(cls, model: Model) -> "FakeLandmarker":
        assert model.path(weights.PALM_DETECTOR)
        return cls()

    def detect(self, pixels: Any) -> list[Hand]:
        return list(self.hands)


@pytest.fixture
def seeing(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """A model whose landmarker finds `FakeLandmarker.hands`."""
    monkeypatch.setattr(
        importlib.import_module("mien.tasks.gesture.predict"), "HandLandmarker", FakeLandmarker
    )
    with runtime.load(altered(trained, tmp_path / "seeing", {}, pictures=True)) as opened:
        yield opened


def test_the_hand_with_the_best_score_answers_in_any_order(
    seeing: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resting hand beside the gesture comes second, even where it is found first or larger."""
    clear = Hand(hand_of("rock"), "Right", 0.9)
    blurred = Hand(np.mean([hand_of("rock"), hand_of("ok")], axis=0) * 2, "Left", 0.99)
    for order in ((clear, blurred), (blurred, clear)):
        monkeypatch.setattr(FakeLandmarker, "hands", order)
        answer = TASK.inference.predict(Request(image=GREY), seeing)
        assert answer.best is not None
        assert answer.best.label == "rock"
        assert [each.extra["handedness"] for each in answer.detections] == ["Right", "Left"]
        assert answer.input_stats["hands"] == 2.0


def test_a_hand_is_in_pixels_of_the_picture(seeing: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Box and landmarks are in pixels, the box inside the picture even where the hand is not."""
    points = np.zeros((21, 3))
    points[1:, 0], points[1:, 1] = np.linspace(-20, 320, 20), np.linspace(120, 600, 20)
    points[0] = [100.004, 200, 0]
    monkeypatch.setattr(FakeLandmarker, "hands", (Hand(points, "Left", 0.8),))
    answer = TASK.inference.predict(Request(image=GREY), seeing)
    assert answer.best is not None
    assert answer.best.box == (0.0, 120.0, 320.0, 480.0)
    assert answer.best.extra["landmarks"][0] == [100.0, 200.0, 0.0]
    assert answer.input_stats["subject_size"] == pytest.approx(320 * 360 / (640 * 480))
    assert set(answer.input_stats) == {
        "brightness",
        "sharpness",
        "hands",
        "subject_size",
        "landmark_completeness",
        "landmark_distance",
    }
    inside = (points[:, :2] >= 0).all(axis=1) & (points[:, :2] <= (640, 480)).all(axis=1)
    assert 0 < inside.sum() < 21
    assert answer.input_stats["landmark_completeness"] == pytest.approx(inside.sum() / 21)
    json.dumps(dict(answer.best.extra))


def test_hands_of_a_reduced_picture_are_in_pixels_of_the_original(
    seeing: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Box, landmarks and size of the subject are those of the whole picture; depth goes with x."""
    points = hand_of("rock")
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0).max() * 200 + 50
    monkeypatch.setattr(FakeLandmarker, "hands", (Hand(points, "Left", 0.8),))
    small = TASK.inference.predict(Request(image=GREY), seeing)
    large = TASK.inference.predict(Request(image=GREY, sent=(2560, 1919)), seeing)
    assert small.best is not None
    assert large.best is not None
    assert large.best.label == small.best.label == "rock"
    across, down = 4, 1919 / 480
    wanted = np.array(small.best.extra["landmarks"]) * (across, down, across)
    assert np.array(large.best.extra["landmarks"]) == pytest.approx(wanted, abs=0.03)
    wanted_box = np.array(small.best.box) * (across, down, across, down)
    assert large.best.box == pytest.approx(wanted_box, abs=0.03)
    assert large.input_stats == pytest.approx(small.input_stats, rel=1e-2)


@pytest.mark.parametrize(("shift", "share"), [(0.0, 1.0), (-5000.0, 0.0)])
def test_completeness_is_the_fraction_of_landmarks_inside_the_picture(
    seeing: Model, monkeypatch: pytest.MonkeyPatch, shift: float, share: float
) -> None:
    """All of a hand in the middle, none of one beside the picture."""
    hand = hand_of("rock")
    spread = (hand - hand.min(axis=0)) / (hand.max(axis=0) - hand.min(axis=0)) * 300 + 100
    spread[:, 0] += shift
    monkeypatch.setattr(FakeLandmarker, "hands", (Hand(spread, "Left", 0.8),))
    input_stats = TASK.inference.predict(Request(image=GREY), seeing).input_stats
    assert input_stats["landmark_completeness"] == share
    assert input_stats["landmark_distance"] > 0


def test_input_stats_are_those_of_the_best_hand(
    seeing: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever hand is found first."""
    clear = Hand(hand_of("rock"), "Right", 0.9)
    blurred = Hand(np.mean([hand_of("rock"), hand_of("ok")], axis=0) * 2, "Left", 0.99)
    monkeypatch.setattr(FakeLandmarker, "hands", (clear,))
    alone = dict(TASK.inference.predict(Request(image=GREY), seeing).input_stats)
    for order in ((clear, blurred), (blurred, clear)):
        monkeypatch.setattr(FakeLandmarker, "hands", order)
        input_stats = dict(TASK.inference.predict(Request(image=GREY), seeing).input_stats)
        assert input_stats == {**alone, "hands": 2.0}


def test_no_hand_is_an_outcome(seeing: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture without hands is not an error; a hand without extent is ignored."""
    for hands in ((), (Hand(np.ones((21, 3)), "Left", 0.9),)):
        monkeypatch.setattr(FakeLandmarker, "hands", hands)
        answer = TASK.inference.predict(Request(image=GREY), seeing)
        assert answer.outcome == "no_hand"
        assert answer.best is None
        assert answer.input_stats["hands"] == 0.0
        assert set(answer.input_stats) == {"brightness", "sharpness", "hands"}


def test_pictures_are_predicted_with_the_real_landmarker(trained: Path, tmp_path: Path) -> None:
    """The drawn hand is found, even small in a corner of a large picture, and grey is empty."""
    hand = tasks.load("gesture").inference.sample_picture().convert("RGB")
    corner = Image.new("RGB", (hand.width * 5, hand.height * 5), hand.getpixel((2, 2)))
    corner.paste(hand, (hand.width * 4, hand.height * 4))
    with runtime.load(altered(trained, tmp_path / "real", {}, pictures=True)) as model:
        for picture in (hand, corner):
            answer = TASK.inference.predict(Request(image=np.asarray(picture)), model)
            assert answer.best is not None
            assert answer.best.label == "like"
            assert answer.best.box is not None
        assert answer.best.box[0] > hand.width * 4
        for shape in ((1, 1, 3), (200, 300, 3)):
            assert (
                TASK.inference.predict(Request(image=np.full(shape, 99, np.uint8)), model).outcome
                == "no_hand"
            )


@pytest.mark.long
def test_threads_that_predict_at_once_answer_as_one_does(trained: Path, tmp_path: Path) -> None:
    """All threads share the networks."""
    labels = HAGRID_LABELS[::6]
    requests = [Request(image=np.asarray(hand_picture(label, 3))) for label in labels]
    with runtime.load(altered(trained, tmp_path / "shared", {}, pictures=True)) as model:
        expected = [TASK.inference.predict(request, model).best for request in requests]
        assert all(expected)
        with ThreadPoolExecutor(4) as pool:
            each = [pool.submit(TASK.inference.predict, it, model) for it in requests * 3]
            assert [it.result().best for it in each] == expected * 3


def test_real_photos_are_predicted_through_the_bundle(
    real_data: Path, trained: Path, tmp_path: Path
) -> None:
    """A hand is found in nearly all of 36 photos of people; computed hands taught most."""
    photos = [
        sorted((real_data / "gesture" / "photos" / label).iterdir())[:2] for label in HAGRID_LABELS
    ]
    found = right = 0
    with runtime.load(altered(trained, tmp_path / "real", {}, pictures=True)) as model:
        for path in (path for pair in photos for path in pair):
            best = TASK.inference.predict(
                Request(image=np.asarray(Image.open(path).convert("RGB"))), model
            ).best
            found += best is not None
            right += best is not None and best.label == path.parent.name
    assert found >= 34
    assert right >= 26
