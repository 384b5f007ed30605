"""Decoding of the detector's output: boxes, non-maximum suppression and vote."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.tasks.emotion.decode import decode_output, detect, vote
from mien.tasks.emotion.letterbox import Letterbox
from mien.tasks.emotion.networks import family

SPEC = replace(family("yolov9-t").spec(64), score_threshold=0.1, max_detections=5)


def test_both_output_formats_describe_the_same_boxes() -> None:
    """Centre, size and objectness, or corners and plain scores."""
    yolox = np.array([[10, 20, 4, 6, 0.5, 0.8, 0.2]], np.float32)
    boxes, scores = decode_output(yolox, "yolox")
    corners = np.array([[8, 17, 12, 23, 0.4, 0.1]], np.float32).T
    other_boxes, other_scores = decode_output(corners, "yolo9")
    assert np.allclose(boxes, other_boxes)
    assert np.allclose(scores, other_scores)
    with pytest.raises(ValueError, match="output format"):
        decode_output(yolox, "other")


@st.composite
def outputs(draw: st.DrawFn) -> np.ndarray:
    """Raw outputs of up to thirty anchors with three labels, some of them not finite."""
    count = draw(st.integers(0, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    corner = rng.uniform(-10, 60, (count, 2))
    size = rng.uniform(0, 40, (count, 2))
    output = np.concatenate([corner, corner + size, rng.uniform(0, 1, (count, 3))], axis=1)
    if count and draw(st.booleans()):
        output[0, 0] = np.nan
    return output.T.astype(np.float32)


@given(outputs())
def test_faces_are_distinct_sorted_and_within_the_image(output: np.ndarray) -> None:
    """No two boxes overlap too much, the best comes first, scores stay in 0..1."""
    boxes, scores = detect(output, SPEC, Letterbox(1.0, 0, 0, 64, 48))
    best = scores.max(axis=1, initial=0)
    assert len(boxes) == len(scores) <= SPEC.max_detections
    assert np.isfinite(boxes).all()
    assert (np.diff(best) <= 0).all()
    assert ((scores >= 0) & (scores <= 1.000001)).all()
    assert (boxes[:, 2:] <= [64, 48]).all()
    assert (boxes >= 0).all()


def test_confident_neighbours_outvote_a_single_box() -> None:
    """Two confident neighbours outweigh one that is slightly more confident."""
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    scores = np.array([[0.55, 0.1], [0.1, 0.5], [0.1, 0.5]], np.float32)
    voted = vote(boxes, scores, np.array([0]), 0.6)
    assert voted[0].argmax() == 1
