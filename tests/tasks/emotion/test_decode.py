"""Promises of the detector's numbers: canvas, boxes, suppression and vote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.tasks.emotion import decode
from mien.tasks.emotion.decode import Fit

SIDES = st.integers(1, 400)
FACTS = {
    "layout": "yolo9",
    "nms_iou": 0.45,
    "vote_iou": 0.6,
    "score_floor": 0.1,
    "max_faces": 5,
}


@given(width=SIDES, height=SIDES, side=st.sampled_from([32, 64, 96]))
def test_every_picture_fits_on_the_canvas_and_back(width: int, height: int, side: int) -> None:
    """Whatever its size, a picture lies centred on the square, and its border box comes back."""
    image = np.full((height, width, 3), 200, np.uint8)
    canvas, fit = decode.letterbox(image, side, 114)
    assert canvas.shape == (side, side, 3)
    assert (canvas == 200).any()
    whole = np.array([[0, 0, width, height]], np.float32)
    assert np.allclose(fit.to_picture(fit.to_canvas(whole)), whole, atol=1e-2)


def test_channels_and_scale_follow_the_facts() -> None:
    """One family wants blue first and 0..255, the other red first and 0..1."""
    canvas = np.zeros((32, 32, 3), np.uint8)
    canvas[..., 0] = 255
    bgr = decode.planes(canvas, {"channels": "bgr", "scale": 1.0})
    rgb = decode.planes(canvas, {"channels": "rgb", "scale": 1 / 255})
    assert (bgr[0, 2] == 255).all()
    assert rgb[0, 0].max() == pytest.approx(1)
    assert bgr.shape == rgb.shape == (1, 3, 32, 32)


def test_both_layouts_say_the_same() -> None:
    """Centre and size times objectness, or corners and plain scores: the same faces."""
    yolox = np.array([[10, 20, 4, 6, 0.5, 0.8, 0.2]], np.float32)
    boxes, scores = decode.decode(yolox, {"layout": "yolox"})
    corners = np.array([[8, 17, 12, 23, 0.4, 0.1]], np.float32).T
    other_boxes, other_scores = decode.decode(corners, {"layout": "yolo9"})
    assert np.allclose(boxes, other_boxes)
    assert np.allclose(scores, other_scores)
    with pytest.raises(ValueError, match="layout"):
        decode.decode(yolox, {"layout": "other"})


def test_a_reduced_picture_lies_on_the_canvas_as_the_whole_one_would() -> None:
    """The same pixels but for what averaging twice does, and boxes in pixels of the one sent."""
    rng = np.random.default_rng(2)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    whole = small.resize((1203, 901), Image.Resampling.BICUBIC)
    canvas, fit = decode.letterbox(np.asarray(whole), 96, 114)
    other, same = decode.letterbox(np.asarray(whole.reduce(4)), 96, 114, whole.size)
    assert same == fit
    assert (fit.width, fit.height) == whole.size
    assert np.abs(canvas.astype(int) - other).mean() < 2
    box = np.array([[100, 200, 700, 900]], np.float32)
    assert same.to_picture(fit.to_canvas(box)) == pytest.approx(box, abs=0.1)


def test_a_large_picture_lies_on_the_canvas_as_without_averaging_first() -> None:
    """Averaging before the resampling changes it by less than one step of 255 on average."""
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    whole = small.resize((1280, 960), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 3, (960, 1280, 3))
    photo = np.clip(np.asarray(whole) + grain, 0, 255).astype(np.uint8)
    canvas, fit = decode.letterbox(photo, 96, 114)
    plain = Image.fromarray(photo).resize((96, 72), Image.Resampling.BILINEAR)
    apart = np.abs(canvas[12:84].astype(int) - np.asarray(plain))
    assert (fit.width, fit.height) == (1280, 960)
    assert 0 < apart.mean() < 1


@st.composite
def outputs(draw: st.DrawFn) -> np.ndarray:
    """Raw outputs of up to thirty candidates with three labels, some of them nonsense."""
    count = draw(st.integers(0, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    corner = rng.uniform(-10, 60, (count, 2))
    size = rng.uniform(0, 40, (count, 2))
    output = np.concatenate([corner, corner + size, rng.uniform(0, 1, (count, 3))], axis=1)
    if count and draw(st.booleans()):
        output[0, 0] = np.nan
    return output.T.astype(np.float32)


@given(outputs())
def test_faces_are_distinct_sorted_and_within_the_picture(output: np.ndarray) -> None:
    """No two kept boxes overlap too much, the best comes first, scores stay in 0..1."""
    boxes, scores = decode.detect(output, FACTS, Fit(1.0, 0, 0, 64, 48))
    best = scores.max(axis=1, initial=0)
    assert len(boxes) == len(scores) <= FACTS["max_faces"]
    assert np.isfinite(boxes).all()
    assert (np.diff(best) <= 0).all()
    assert ((scores >= 0) & (scores <= 1.000001)).all()
    assert (boxes[:, 2:] <= [64, 48]).all()
    assert (boxes >= 0).all()


@given(outputs())
def test_suppression_keeps_no_two_that_overlap(output: np.ndarray) -> None:
    """Of boxes that overlap by more than the limit, the surer one stays."""
    boxes, scores = decode.decode(output, FACTS)
    good = np.isfinite(boxes).all(axis=1)
    boxes, confidence = boxes[good], scores[good].max(axis=1, initial=0)
    kept = decode.nms(boxes, confidence, 0.45, 100)
    for place, index in enumerate(kept):
        assert (decode.overlap(boxes[index], boxes[kept[place + 1 :]]) <= 0.45).all()
    dropped = set(range(len(boxes))) - set(kept.tolist())
    for index in dropped:
        rivals = [k for k in kept if confidence[k] >= confidence[index]]
        assert (decode.overlap(boxes[index], boxes[rivals]) > 0.45).any()


def test_overlap_is_known_for_simple_boxes() -> None:
    """The same, half, apart, empty."""
    box = np.array([0, 0, 10, 10], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]], np.float32)
    assert decode.overlap(box, others) == pytest.approx([1, 1 / 3, 0, 0])


def test_the_vote_follows_the_surer_neighbours() -> None:
    """Two neighbours that are sure outvote one that is a little surer."""
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    scores = np.array([[0.55, 0.1], [0.1, 0.5], [0.1, 0.5]], np.float32)
    voted = decode.vote(boxes, scores, np.array([0]), 0.6)
    assert voted[0].argmax() == 1
