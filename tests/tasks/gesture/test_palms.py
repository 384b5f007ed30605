"""The palm detector's geometry: the picture in its black square, anchors, and boxes of one palm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.tasks.gesture import crops, palms
from mien.tasks.gesture.palms import Palm

SIDES = st.integers(1, 700)


def palm_at(x: float, y: float, side: float = 20, score: float = 0.9) -> tuple[np.ndarray, float]:
    """Points and score of an upright palm around a place: fingers up, wrist down."""
    joints = [(0, 0.5), (-0.4, -0.4), (0, -0.5), (0.4, -0.4), (0.5, 0), (0.5, 0.3), (-0.5, 0.2)]
    points = np.array([(-0.5, -0.5), (0.5, 0.5), *joints]) * side + (x, y)
    return points, score


def overlap(first: Palm, second: Palm) -> float:
    low = np.maximum(first.points[0], second.points[0])
    size = np.maximum(np.minimum(first.points[1], second.points[1]) - low, 0)
    areas = [(each.points[1] - each.points[0]).prod() for each in (first, second)]
    return float(size.prod() / (sum(areas) - size.prod()))


@given(SIDES, SIDES)
def test_a_picture_lies_unstretched_in_the_middle_of_black(width: int, height: int) -> None:
    """What is seen at a place is what `around` says lies there; the edge fades into black."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = np.linspace(1, 255, width), 255
    pixels[..., 1] = np.linspace(1, 255, height)[:, None]
    seen = palms.seen(pixels)
    assert seen.shape == (palms.SIDE, palms.SIDE, 3)
    grid = np.stack(np.meshgrid(*[np.arange(palms.SIDE)] * 2), axis=-1) / palms.SIDE
    x, y = np.moveaxis(crops.around(pixels).place(grid), -1, 0)
    light = np.clip(x + 1, 0, 1) * np.clip(width - x, 0, 1)
    light *= np.clip(y + 1, 0, 1) * np.clip(height - y, 0, 1)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    np.testing.assert_allclose(seen[..., 2], light, atol=1e-4)
    for colour, at, length in ((0, x, width), (1, y, height)):
        shown = np.interp(at[inside], np.arange(length), np.linspace(1, 255, length).astype(int))
        steepest = 254 / max(length - 1, 1) + 1
        rounding = 0.51 + steepest / 64  # of the colour, and of the place
        np.testing.assert_allclose(seen[inside][:, colour] * 255, shown, atol=rounding)


def test_anchors_are_the_published_ones() -> None:
    """2,016: two in each place of a grid of 24, six in each of a grid of 12; middles of cells."""
    anchors = palms.anchors()
    assert anchors.shape == (2016, 2)
    assert anchors[0].tolist() == anchors[1].tolist() == [0.5 / 24, 0.5 / 24]
    assert anchors[2].tolist() == [1.5 / 24, 0.5 / 24], "along the rows"
    assert len(np.unique(anchors[:1152], axis=0)) == 24 * 24
    assert len(np.unique(anchors[1152:], axis=0)) == 12 * 12
    np.testing.assert_allclose(anchors.mean(axis=0), 0.5)


def test_answers_are_read_from_their_anchors() -> None:
    """Middle, size and joints count from the anchor, in pixels; what is unsure is not there."""
    boxes, scores = np.zeros((2016, 18), np.float32), np.full((2016, 1), -9, np.float32)
    at = 700
    boxes[at] = [9.6, -9.6, 19.2, 38.4, *range(14)]
    scores[at] = 2.0
    (palm,) = palms.found(boxes, scores)
    x, y = palms.anchors()[at]
    np.testing.assert_allclose(palm.points[0], (x, y - 0.15), atol=1e-6)
    np.testing.assert_allclose(palm.points[1], (x + 0.1, y + 0.05), atol=1e-6)
    joints = (palm.points[2:] - (x, y)) * palms.SIDE
    np.testing.assert_allclose(joints.ravel(), range(14), atol=1e-4)
    assert palm.score == pytest.approx(1 / (1 + np.exp(-2)))
    scores[at] = -0.01
    assert palms.found(boxes, scores) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 80), st.floats(0, 80), st.floats(5, 40), st.floats(0.5, 1)),
        max_size=12,
    )
)
def test_one_palm_is_left_for_boxes_that_overlap(
    boxes: list[tuple[float, float, float, float]],
) -> None:
    """The surest first; each is a mean of what was found; no box is forgotten or counted twice."""
    ordered = sorted(boxes, key=lambda each: -each[3])
    points = np.array([palm_at(x, y, side)[0] for x, y, side, _ in ordered]).reshape(-1, 9, 2)
    scores = np.array([score for *_, score in ordered])
    left = palms.merged(points, scores)
    assert [palm.score for palm in left] == sorted((p.score for p in left), reverse=True)
    assert bool(left) == bool(boxes)
    for palm in left:
        assert (palm.points >= points.min(axis=0) - 1e-9).all()
        assert (palm.points <= points.max(axis=0) + 1e-9).all()
    alone = [
        place
        for place in range(len(ordered))
        if not any(
            overlap(Palm(points[place], 1), Palm(points[other], 1)) > palms.MIN_OVERLAP
            for other in range(len(ordered))
            if other != place
        )
    ]
    kept = {palm.points.tobytes() for palm in left}
    for place in alone:
        mean = np.average(points[[place]], axis=0, weights=scores[[place]])
        assert mean.tobytes() in kept


def test_merging_weighs_by_score() -> None:
    """Twice as sure counts twice; a box of another palm does not count."""
    first, second, far = palm_at(50, 50)[0], palm_at(53, 50)[0], palm_at(150, 50)[0]
    one, other = palms.merged(np.array([first, far, second]), np.array([0.9, 0.8, 0.45]))
    np.testing.assert_allclose(one.points, (2 * first + second) / 3)
    np.testing.assert_allclose(other.points, far)
    assert (one.score, other.score) == (0.9, 0.8)


@given(st.floats(0, 400), st.floats(0, 400), st.floats(1, 100), st.floats(-3.1, 3.1))
def test_the_hands_square_goes_with_the_palm(x: float, y: float, side: float, turn: float) -> None:
    """Larger and nearer the fingers; moved, scaled and turned as the palm is."""
    points, _ = palm_at(0, 0, 1)
    own = palms.hand_square(Palm(points, 1))
    assert own.side == pytest.approx(2.6)
    assert np.hypot(own.x, own.y) == pytest.approx(0.5)
    moved = palms.hand_square(Palm(points * side + (x, y), 1))
    assert moved.side == pytest.approx(own.side * side)
    assert (moved.x, moved.y) == pytest.approx((own.x * side + x, own.y * side + y), abs=1e-6)
    assert moved.turn == pytest.approx(own.turn)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = points.copy()
    turned[2:] = points[2:] @ np.array([[cos, sin], [-sin, cos]])
    aside = palms.hand_square(Palm(turned, 1))
    assert np.cos(aside.turn - own.turn - turn) == pytest.approx(1)
    assert (aside.x, aside.y) == pytest.approx(
        (own.x * cos - own.y * sin, own.x * sin + own.y * cos), abs=1e-6
    )
