"""Hands of a video are tracked: the same gestures, far fewer runs of the palm detector."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hand_picture import hand_picture
from numpy.typing import NDArray
from PIL import Image

from mien.errors import RequestError
from mien.images import Pixels
from mien.mediapipe import hand_tracker, weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_tracker import HandTracker
from mien.mediapipe.networks import RunNetwork
from mien.model import bundle, runtime
from mien.model.runtime import Model
from mien.stages.batch import frame_predictor
from mien.task import Prediction, Request
from mien.tasks.emotion.sample import draw_face_image
from mien.tasks.gesture import TASK, data
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.sample import write_sample
from mien.tasks.gesture.train import fit

FRAMES = 30
INTERVAL = 10
"""Frames from one detection of palms to the next in tests that go through several."""
GREY = np.full((512, 512, 3), 127, np.uint8)


class CountingLandmarker(HandLandmarker):
    """Counts the runs of each network."""

    def __init__(self, networks: HandLandmarker) -> None:
        super().__init__(self._counted("palm"), self._counted("landmark"))
        self._networks = networks
        self.runs: Counter[str] = Counter()

    def _counted(self, name: str) -> RunNetwork:
        def run(planes: NDArray[np.float32]) -> list[NDArray[Any]]:
            self.runs[name] += 1
            network: RunNetwork = getattr(self._networks, f"{name}_network")
            return network(planes)

        return run


@pytest.fixture(scope="module")
def networks() -> HandLandmarker:
    return HandLandmarker.from_tflite(weights.read_hand_networks())


@pytest.fixture
def landmarker(networks: HandLandmarker) -> CountingLandmarker:
    return CountingLandmarker(networks)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A classifier that is sure of drawn hands, with the landmarker."""
    names = ("raw", "prepared", "bundle", "cache")
    raw, prepared, folder, cache = (tmp_path_factory.mktemp(name) for name in names)
    params = Params(cv_folds=2)
    write_sample(raw, per_label=60)
    data.prepare(raw, prepared, params, cache)
    trained = fit("svm", prepared, folder, params, 0, lambda *_: None)
    bundle.write(folder, bundle.describe("gesture", HAGRID_LABELS, "svm", trained.preprocessing))
    with runtime.load(folder) as opened:
        yield opened


@pytest.fixture
def _interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_tracker, "REDETECT_INTERVAL", INTERVAL)


def frames(picture: Image.Image, count: int = FRAMES) -> Iterator[Pixels]:
    """A camera that moves, turns and comes nearer, slowly."""
    middle = np.array(picture.size) / 2
    background = picture.getpixel((2, 2))
    for place in np.linspace(0, 2 * np.pi, count):
        angle, scale = np.radians(15) * np.sin(place), 1 + 0.15 * np.sin(2 * place)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        turn = np.array([[cos, sin], [-sin, cos]])
        start = middle - turn @ (middle * (1 + 0.12 * np.array([np.sin(place), np.cos(place)])))
        yield np.asarray(
            picture.transform(
                picture.size,
                Image.Transform.AFFINE,
                (*turn[0], start[0], *turn[1], start[1]),
                Image.Resampling.BILINEAR,
                fillcolor=background,
            )
        )


def label(answer: Prediction) -> str:
    return answer.best.label if answer.best else answer.outcome


@pytest.mark.parametrize("gesture", ["like", pytest.param("rock", marks=pytest.mark.long)])
def test_a_moving_hand_keeps_its_gesture(model: Model, gesture: str) -> None:
    """As frame by frame on 98 % of those frames in which that finds the gesture at all."""
    predict = frame_predictor(TASK, model)
    pairs = [
        (
            label(predict(Request(image=frame))),
            label(TASK.inference.predict(Request(image=frame), model)),
        )
        for frame in frames(hand_picture(gesture))
    ]
    alike = [one == other for one, other in pairs if other == gesture]
    assert np.mean(alike) >= 0.98
    assert len(alike) >= 0.8 * FRAMES
    assert sum(one == gesture for one, _ in pairs) >= sum(other == gesture for _, other in pairs)


@pytest.mark.usefixtures("_interval")
def test_palms_are_detected_at_the_interval(landmarker: CountingLandmarker) -> None:
    """While a second hand may come; the landmark network runs in each frame."""
    tracker = HandTracker()
    hands = [tracker.detect(frame, landmarker) for frame in frames(hand_picture("palm"))]
    assert all(len(each) == 1 for each in hands)
    assert landmarker.runs["palm"] == FRAMES / INTERVAL
    assert landmarker.runs["landmark"] <= FRAMES + FRAMES / INTERVAL


def test_tracked_landmarks_are_those_of_a_detection(landmarker: CountingLandmarker) -> None:
    """Within a few hundredths of the hand's size."""
    tracker = HandTracker()
    for frame in frames(hand_picture("palm"), 12):
        (own,), (other,) = tracker.detect(frame, landmarker), landmarker.detect(frame)
        far = np.linalg.norm((own.landmarks - other.landmarks)[:, :2], axis=1).mean()
        assert far < 0.05 * np.linalg.norm(np.ptp(other.landmarks[:, :2], axis=0))


@pytest.mark.usefixtures("_interval")
def test_two_hands_are_tracked_without_any_detection(landmarker: CountingLandmarker) -> None:
    """Until one leaves."""
    one, two = hand_picture("call", 3), hand_picture("like", 3)
    both = Image.new("RGB", (1024, 512))
    both.paste(one, (0, 0))
    both.paste(two, (512, 0))
    tracker = HandTracker()
    for _ in range(INTERVAL - 2):
        assert len(tracker.detect(np.asarray(both), landmarker)) == 2
    assert landmarker.runs["palm"] == 1
    left = both.copy()
    left.paste(two.getpixel((2, 2)), (512, 0, 1024, 512))
    (hand,) = tracker.detect(np.asarray(left), landmarker)
    assert landmarker.runs["palm"] == 2
    assert hand.landmarks[:, 0].max() < 512


@pytest.mark.usefixtures("_interval")
def test_a_second_hand_is_detected(landmarker: CountingLandmarker) -> None:
    """After the interval at the latest."""
    one = hand_picture("palm")
    tracker, alone = HandTracker(), Image.new("RGB", (1024, 512), one.getpixel((2, 2)))
    alone.paste(one, (0, 0))
    both = alone.copy()
    both.paste(hand_picture("like"), (512, 0))
    tracker.detect(np.asarray(alone), landmarker)
    counts = [len(tracker.detect(np.asarray(both), landmarker)) for _ in range(INTERVAL)]
    assert counts[-1] == 2


def test_a_change_of_scene_is_detected(landmarker: CountingLandmarker) -> None:
    """In another picture palms are detected again, as if it were the first."""
    first, second = hand_picture("palm"), hand_picture("like").resize((300, 300))
    scene = Image.new("RGB", first.size, (20, 20, 30))
    scene.paste(second, (10, 200))
    in_place = hand_picture("like").point(lambda value: value // 2)
    for other in (scene, in_place, second, scene.crop((0, 0, 400, 512))):
        tracker = HandTracker()
        tracker.detect(np.asarray(first), landmarker)
        frame = np.asarray(other)
        (own,), (expected,) = tracker.detect(frame, landmarker), landmarker.detect(frame)
        np.testing.assert_array_equal(own.landmarks, expected.landmarks)


def test_a_hand_that_leaves_is_not_tracked(landmarker: CountingLandmarker) -> None:
    """At once, even where light and background stay the same; it is detected when it is back."""
    picture = hand_picture("palm")
    empty = np.full((512, 512, 3), picture.getpixel((2, 2)), np.uint8)
    tracker = HandTracker()
    default, hand_tracker.SCENE_CHANGE = hand_tracker.SCENE_CHANGE, 2.0
    try:
        counts = [
            len(tracker.detect(frame, landmarker))
            for frame in (np.asarray(picture), empty, empty, np.asarray(picture), GREY)
        ]
    finally:
        hand_tracker.SCENE_CHANGE = default
    assert counts == [1, 0, 0, 1, 0]


def test_each_video_has_its_own_state(model: Model) -> None:
    """Two in turn give the predictions of each alone."""
    one, two = (list(frames(hand_picture(name), 8)) for name in ("like", "peace"))

    def predict(*videos: list[Pixels]) -> list[list[Prediction]]:
        trackers = [frame_predictor(TASK, model) for _ in videos]
        predictions: list[list[Prediction]] = [[] for _ in videos]
        for turn in zip(*videos, strict=True):
            for video, frame in enumerate(turn):
                predictions[video].append(trackers[video](Request(image=frame)))
        return predictions

    assert predict(one, two) == [*predict(one), *predict(two)]


@pytest.mark.usefixtures("_interval")
def test_the_state_can_leave_the_process(landmarker: CountingLandmarker) -> None:
    """A tracker made of the bytes after each frame goes on as one that stays."""
    staying, state = HandTracker(), b""
    for frame in frames(hand_picture("palm"), 2 * INTERVAL):
        moved = HandTracker.from_bytes(state)
        (own,), (other,) = (each.detect(frame, landmarker) for each in (moved, staying))
        np.testing.assert_array_equal(own.landmarks, other.landmarks)
        state = moved.to_bytes()
        assert state == staying.to_bytes()
        assert len(state) <= 389
    assert landmarker.runs["palm"] == 4, "both detected twice"


def test_other_bytes_are_refused() -> None:
    """Whatever their length."""
    for length in (1, 4, 260, 262, 300, 326, 4000):
        with pytest.raises(RequestError, match="Send the next frame as the first one"):
            HandTracker.from_bytes(bytes(length))


@pytest.mark.parametrize("region", [(0.0,) * 4, (np.nan,) * 4, (1e300,) * 4, (256, 256, 200, 0.3)])
def test_no_state_invents_a_hand(landmarker: CountingLandmarker, region: tuple[float, ...]) -> None:
    """The landmark network must confirm it, wherever the state says that it is."""
    tracker = HandTracker()
    tracker.detect(GREY, landmarker)
    head = tracker.to_bytes()
    forged = HandTracker.from_bytes(head + hand_tracker._REGION.pack(*region, *region))
    assert forged.detect(GREY, landmarker) == []


def test_frames_without_a_hand_have_none(landmarker: CountingLandmarker) -> None:
    """After frames with one, of the same size and light: faces, and the background alone."""
    picture = hand_picture("palm")
    faces = [draw_face_image(label, 1).resize(picture.size) for label in ("happy", "anger", "fear")]
    empty = np.full((512, 512, 3), picture.getpixel((2, 2)), np.uint8)
    tracker = HandTracker()
    for frame in (*map(np.asarray, faces), empty):
        assert tracker.detect(np.asarray(picture), landmarker)
        before = landmarker.detect(frame)
        assert len(tracker.detect(frame, landmarker)) == len(before) == 0
        assert tracker.detect(frame, landmarker) == []
