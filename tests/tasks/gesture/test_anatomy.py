"""Landmarks that cannot be a hand are distinguished from those of real and drawn hands."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.tasks.gesture import anatomy, landmarks, table
from mien.tasks.gesture.anatomy import has_wrong_order, impossible_hands
from mien.tasks.gesture.landmarks import Floats
from mien.tasks.gesture.sample import landmark_rows

HANDS, _ = landmark_rows(20, 5)
FINGERS = [range(start, start + 4) for start in (1, 5, 9, 13, 17)]


def with_points(points: dict[int, tuple[float, float, float]]) -> Floats:
    changed = HANDS.copy()
    for place, values in points.items():
        changed[:, place] = values
    return changed


def test_drawn_hands_are_possible() -> None:
    """In every gesture, mirrored, upside down, of any size and without depth."""
    for hands in (HANDS, HANDS * [-1, -1, 1], HANDS * 1e-4, HANDS * 1e6, HANDS * [1, 1, 0]):
        assert not impossible_hands(hands).any()
        assert not has_wrong_order(hands)


@pytest.mark.parametrize(
    ("file", "convention"),
    [("iti", "wrist_relative"), ("photos", "pixels"), ("crops12", "pixels")],
)
def test_real_hands_are_possible(
    real_data: Path, file: str, convention: landmarks.Convention
) -> None:
    """None of three public tables is beyond the limits."""
    rows = table.read_landmarks(real_data / "gesture" / f"landmarks_{file}.csv", (), Counter())
    points = landmarks.to_common_frame(rows.landmarks, convention, None, None)
    assert not impossible_hands(points).any()
    assert not has_wrong_order(points)


def test_a_misplaced_landmark_is_detected() -> None:
    """A fingertip in the corner of the picture, or beyond its other side."""
    assert impossible_hands(with_points({8: (0, 0, 0)})).mean() > 0.9
    assert impossible_hands(with_points({20: (9000, 9000, 0)})).all()


def test_bones_without_length_are_detected() -> None:
    """A finger whose joints all have the same numbers."""
    hands = HANDS.copy()
    hands[:, 5:9] = hands[:, 5:6]
    assert impossible_hands(hands).all()
    hands = HANDS.copy()
    hands[:, 6] = hands[:, 5]
    assert not impossible_hands(hands).any(), "rounding may do that to a single bone"


def swapped(hands: Floats) -> Floats:
    return np.concatenate([hands[:, :1], *(hands[:, list(f)[::-1]] for f in FINGERS)], axis=1)


def by_joint(hands: Floats) -> Floats:
    order = [0, *(finger[joint] for joint in range(4) for finger in FINGERS)]
    return hands[:, order]


def in_blocks(hands: Floats) -> Floats:
    """All x, then all y, then all z, read as if they stood in turn."""
    return hands.transpose(0, 2, 1).reshape(len(hands), 21, 3)


@pytest.mark.parametrize("order", [swapped, by_joint, in_blocks])
def test_landmarks_in_another_order_are_detected(order: Callable[[Floats], Floats]) -> None:
    """Tips first, joint by joint, or axis by axis: served hands have MediaPipe's order."""
    assert has_wrong_order(order(HANDS))


def test_every_landmark_is_the_end_of_a_bone() -> None:
    """Twenty bones, each from a joint nearer to the wrist."""
    assert [end for _, end in anatomy.BONES] == list(range(1, 21))
    assert all(start < end for start, end in anatomy.BONES)
