"""Box geometry: conversions, intersection over union, and both kinds of suppression."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import boxes

COORDINATES = st.floats(0, 80)
SIDES = st.floats(5, 40)
SCORED_BOXES = st.lists(
    st.tuples(COORDINATES, COORDINATES, SIDES, SIDES, st.floats(0.5, 1)), max_size=12
)


def arrays(scored: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) as xyxy and scores (n,)."""
    rows = np.array(scored, dtype=np.float64).reshape(-1, 5)
    return boxes.xcycwh_to_xyxy(rows[:, :4]), rows[:, 4]


def test_conversions_are_inverse() -> None:
    """Centre and size become corners and return; the dtype stays."""
    xcycwh = np.array([[10, 20, 4, 6], [0, 0, 1, 1]], np.float32)
    xyxy = boxes.xcycwh_to_xyxy(xcycwh)
    assert xyxy.tolist() == [[8, 17, 12, 23], [-0.5, -0.5, 0.5, 0.5]]
    assert xyxy.dtype == np.float32
    assert boxes.xyxy_to_xcycwh(xyxy).tolist() == xcycwh.tolist()


def test_boxes_are_clipped_at_the_border() -> None:
    """On all four sides."""
    clipped = boxes.clip(np.array([[-5.0, -1.0, 30.0, 90.0], [1.0, 2.0, 3.0, 4.0]]), 20, 40)
    assert clipped.tolist() == [[0, 0, 20, 40], [1, 2, 3, 4]]


def test_the_enclosing_box_touches_the_outermost_points() -> None:
    """Also around a single point."""
    assert boxes.enclosing(np.array([[3.0, 1.0], [2.0, 7.0]])).tolist() == [2, 1, 3, 7]
    assert boxes.enclosing(np.array([[3.0, 1.0]])).tolist() == [3, 1, 3, 1]


def test_iou_is_one_for_equal_boxes_and_zero_for_empty_ones() -> None:
    """Half as large inside, half overlapping, apart, without area, and inverted."""
    box = np.array([0, 0, 10, 10], np.float32)
    others = np.array(
        [[0, 0, 10, 10], [0, 0, 5, 10], [5, 0, 15, 10], [10, 10, 20, 20], [3, 3, 3, 3]], np.float32
    )
    assert boxes.iou(box, others) == pytest.approx([1, 0.5, 1 / 3, 0, 0])
    inverted = np.array([9, 9, 1, 1], np.float32)
    assert boxes.iou(inverted, inverted[None]).tolist() == [0]


@given(SCORED_BOXES, st.integers(1, 12))
def test_nms_selects_the_best_of_overlapping_boxes(
    scored: list[tuple[float, ...]], max_boxes: int
) -> None:
    """Selected boxes do not overlap; every other one overlaps a better one, up to the maximum."""
    xyxy, scores = arrays(scored)
    selected = boxes.nms(xyxy, scores, 0.45, max_boxes)
    assert len(selected) <= max_boxes
    assert (np.diff(scores[selected]) <= 0).all()
    for rank, index in enumerate(selected):
        assert (boxes.iou(xyxy[index], xyxy[selected[rank + 1 :]]) <= 0.45).all()
    if len(selected) < max_boxes:
        for index in set(range(len(xyxy))) - set(selected.tolist()):
            better = [each for each in selected if scores[each] >= scores[index]]
            assert (boxes.iou(xyxy[index], xyxy[better]) > 0.45).any()


@given(SCORED_BOXES)
def test_weighted_nms_leaves_one_detection_for_overlapping_boxes(
    scored: list[tuple[float, ...]],
) -> None:
    """Best score first; each is a mean of its inputs; an isolated box stays as it is."""
    xyxy, scores = arrays(scored)
    merged, best_scores = boxes.weighted_nms(xyxy, scores, 0.3)
    assert bool(len(merged)) == bool(len(xyxy))
    assert (np.diff(best_scores) <= 0).all()
    if len(merged):
        assert (merged >= xyxy.min(axis=0) - 1e-9).all()
        assert (merged <= xyxy.max(axis=0) + 1e-9).all()
    for index in range(len(xyxy)):
        others = np.delete(xyxy, index, axis=0)
        if not (boxes.iou(xyxy[index], others) > 0.3).any():
            assert np.isclose(merged, xyxy[index]).all(axis=1).any()


def test_weighted_nms_weighs_by_score() -> None:
    """A score twice as high counts twice, for the box and for the values that go with it."""
    detections = np.array([[0, 0, 10, 10, 5.0], [50, 50, 60, 60, 7.0], [1, 1, 11, 11, 2.0]])
    merged, scores = boxes.weighted_nms(detections, np.array([0.8, 0.5, 0.4]), 0.3)
    assert scores.tolist() == [0.8, 0.5]
    np.testing.assert_allclose(merged[0], np.array([1, 1, 31, 31, 12]) / 3)
    np.testing.assert_allclose(merged[1], detections[1])
