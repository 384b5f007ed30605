"""Hands of a video are followed: the same gestures, far fewer searches for palms."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mien.tasks.gesture.crops import Square
from mien.tasks.gesture.following import REST, Following
from mien.tasks.gesture.hands import square_after
from mien.tasks.gesture.landmarker import Landmarker
from PIL import Image

from mien.images import Pixels
from mien.model import runtime
from mien.model.runtime import Model
from mien.task import Prediction, Request
from mien.tasks.gesture import TASK, following, hands, networks, weights
from mien.tasks.gesture.drawing import hand_picture
from mien.tasks.gesture.predict import follow
from mien.tasks.gesture.sample import landmark_rows

FRAMES = 30
GREY = np.full((512, 512, 3), 127, np.uint8)


class Counting(Landmarker):
    """A landmarker that counts how often each network is asked."""

    looks = landings = 0

    def look(self, pixels: Pixels) -> list[hands.Hand]:
        self.looks += 1
        return super().look(pixels)

    def within(self, pixels: Pixels, square: Square) -> hands.Hand | None:
        self.landings += 1
        return super().within(pixels, square)


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "hand_landmarker.task"
    weights.write_landmarker(path)
    return path


@pytest.fixture
def landmarker(task_file: Path) -> Iterator[Counting]:
    opened = Counting(networks.read_task(task_file))
    yield opened
    opened.close()


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


def test_the_next_square_turns_and_grows_with_the_hand() -> None:
    """Moved, turned and scaled, a hand's square is moved, turned and scaled alike."""
    points = np.asarray(landmark_rows(1, 3)[0][0])[:, :2]
    first = square_after(points)
    for angle, scale, shift in ((0.4, 2.0, (30, -5)), (3.0, 0.5, (0, 0)), (-1.5, 1.0, (900, 20))):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = square_after(points @ turn.T * scale + shift)
        middle = turn @ (first.x, first.y) * scale + shift
        assert (moved.x, moved.y) == pytest.approx(tuple(middle))
        assert moved.side == pytest.approx(first.side * scale)
        assert np.cos(moved.turn - first.turn - angle) == pytest.approx(1)


def test_the_next_square_is_mediapipes() -> None:
    """Twice the longer side of the steady joints' box, a tenth of its height ahead."""
    points = np.zeros((21, 3))
    points[:, 1] = 100
    points[[5, 6, 9, 10, 13, 14], 1] = (40, 20, 40, 20, 40, 20)
    points[[8, 12, 16], 1] = -500  # tips do not count
    points[[1, 2], 0], points[[17, 18], 0] = -30, 30
    square = square_after(points)
    assert (square.x, square.y) == pytest.approx((0, 60 - 8))
    assert square.side == pytest.approx(160)
    assert square.turn == pytest.approx(0)


@pytest.mark.xdist_group("demo")
@pytest.mark.parametrize("gesture", ["like", "rock", "peace"])
def test_a_moving_hand_keeps_its_gesture(champions: dict[str, Path], gesture: str) -> None:
    """As frame by frame on 98 % of those frames in which that finds the gesture at all."""
    if "gesture" not in champions:
        pytest.skip("the demo trained no champion of gesture")
    with runtime.load(champions["gesture"]) as model:
        answer = follow(model)
        pairs = [
            (
                label(answer(Request(image=frame))),
                label(TASK.inference.predict(Request(image=frame), model)),
            )
            for frame in frames(hand_picture(gesture))
        ]
    alike = [one == other for one, other in pairs if other == gesture]
    assert np.mean(alike) >= 0.98
    assert len(alike) >= 0.8 * FRAMES
    assert sum(one == gesture for one, _ in pairs) >= sum(other == gesture for _, other in pairs)


def test_palms_are_searched_once_in_a_while(landmarker: Counting) -> None:
    """Every REST-th frame while a second hand may come; the landmark network is asked in each."""
    track = Following()
    found = [track.find(frame, landmarker) for frame in frames(hand_picture("palm"))]
    assert all(len(each) == 1 for each in found)
    assert landmarker.looks == FRAMES / REST
    assert landmarker.landings <= FRAMES + FRAMES / REST


def test_points_lie_where_a_search_finds_them(landmarker: Counting) -> None:
    """Within a few hundredths of the hand's size."""
    track = Following()
    for frame in frames(hand_picture("palm"), 12):
        (own,), (other,) = track.find(frame, landmarker), landmarker.find(frame)
        far = np.linalg.norm((own.points - other.points)[:, :2], axis=1).mean()
        assert far < 0.05 * np.linalg.norm(np.ptp(other.points[:, :2], axis=0))


def test_two_hands_are_followed_without_any_search(landmarker: Counting) -> None:
    """Until one leaves."""
    one, two = hand_picture("call", 3), hand_picture("like", 3)
    both = Image.new("RGB", (1024, 512))
    both.paste(one, (0, 0))
    both.paste(two, (512, 0))
    track = Following()
    for _ in range(REST - 2):
        assert len(track.find(np.asarray(both), landmarker)) == 2
    assert landmarker.looks == 1
    left = both.copy()
    left.paste(two.getpixel((2, 2)), (512, 0, 1024, 512))
    (hand,) = track.find(np.asarray(left), landmarker)
    assert landmarker.looks == 2
    assert hand.points[:, 0].max() < 512


def test_a_second_hand_is_noticed(landmarker: Counting) -> None:
    """After REST frames at the latest."""
    one = hand_picture("palm")
    track, alone = Following(), Image.new("RGB", (1024, 512), one.getpixel((2, 2)))
    alone.paste(one, (0, 0))
    both = alone.copy()
    both.paste(hand_picture("like"), (512, 0))
    track.find(np.asarray(alone), landmarker)
    counts = [len(track.find(np.asarray(both), landmarker)) for _ in range(REST)]
    assert counts[-1] == 2


def test_a_cut_is_noticed(landmarker: Counting) -> None:
    """Another picture is searched anew, as if it were the first."""
    first, second = hand_picture("palm"), hand_picture("like").resize((300, 300))
    scene = Image.new("RGB", first.size, (20, 20, 30))
    scene.paste(second, (10, 200))
    in_place = hand_picture("like").point(lambda value: value // 2)
    for other in (scene, in_place, second, scene.crop((0, 0, 400, 512))):
        track = Following()
        track.find(np.asarray(first), landmarker)
        frame = np.asarray(other)
        (own,), (expected,) = track.find(frame, landmarker), landmarker.find(frame)
        np.testing.assert_array_equal(own.points, expected.points)


def test_a_hand_that_leaves_is_no_hand(landmarker: Counting) -> None:
    """At once, even where light and background stay the same; and it is found when it is back."""
    picture = hand_picture("palm")
    empty = np.full((512, 512, 3), picture.getpixel((2, 2)), np.uint8)
    track = Following()
    following_cut, following.CUT = following.CUT, 2.0
    try:
        seen = [
            len(track.find(frame, landmarker))
            for frame in (np.asarray(picture), empty, empty, np.asarray(picture), GREY)
        ]
    finally:
        following.CUT = following_cut
    assert seen == [1, 0, 0, 1, 0]


@pytest.mark.xdist_group("demo")
def test_each_video_has_its_own_memory(champions: dict[str, Path]) -> None:
    """Two in turn are answered as each alone."""
    if "gesture" not in champions:
        pytest.skip("the demo trained no champion of gesture")
    one, two = (list(frames(hand_picture(name), 8)) for name in ("like", "peace"))

    def answers(model: Model, *videos: list[Pixels]) -> list[list[Prediction]]:
        asked: list[Callable[[Request], Prediction]] = [follow(model) for _ in videos]
        told: list[list[Prediction]] = [[] for _ in videos]
        for turn in zip(*videos, strict=True):
            for place, frame in enumerate(turn):
                told[place].append(asked[place](Request(image=frame)))
        return told

    with runtime.load(champions["gesture"]) as model:
        assert answers(model, one, two) == [*answers(model, one), *answers(model, two)]
