"""Promises of `scatter`: faces become small and stay where their boxes say."""

import numpy as np
import pytest
import torch

from mien.tasks.emotion import learning
from mien.tasks.emotion.augment import scatter
from mien.tasks.emotion.lesson import Lesson
from mien.tasks.emotion.networks import family
from mien.tasks.emotion.pictures import Pictures
from mien.tasks.emotion.recipe import Recipe

SIDE, COUNT = 96, 64


def batch(count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey pictures with one white square, and the box of it; the last one shows no face."""
    pixels = torch.full((count, 3, SIDE, SIDE), 60.0)
    pixels[:, :, 24:72, 16:64] = 255
    boxes = torch.tensor([[[2.0, 16, 24, 64, 72], [-1, 0, 0, 0, 0]]]).repeat(count, 1, 1)
    boxes[-1, 0] = torch.tensor([-1.0, 0, 0, 0, 0])
    return pixels, boxes


def scattered(share: float, least: float = 0.25) -> tuple[torch.Tensor, torch.Tensor]:
    return scatter(*batch(), share, least, torch.Generator().manual_seed(3))


def test_boxes_stay_on_their_faces() -> None:
    """What a box encloses is as white as before, in pictures of one and of four."""
    pixels, boxes = scattered(1.0)
    alone, many = [], []
    for picture, rows in zip(pixels, boxes, strict=True):
        faces = rows[rows[:, 0] >= 0].tolist()
        for label, x1, y1, x2, y2 in faces:
            assert label == 2
            assert 0 <= x1 < x2 <= SIDE
            assert 0 <= y1 < y2 <= SIDE
            assert y2 - y1 == pytest.approx(x2 - x1, abs=1e-3)
            inner = picture[0, round(y1 + 2) : round(y2 - 2), round(x1 + 2) : round(x2 - 2)]
            assert inner.numel() == 0 or inner.mean() > 235
            (alone if len(faces) == 1 else many).append((x2 - x1) / 48)
    assert 0.25 <= min(alone) < 0.35
    assert 0.8 < max(alone) <= 1
    assert 0.125 <= min(many) < 0.16
    assert 0.4 < max(many) <= 0.5
    assert np.median(many) == pytest.approx(0.25, abs=0.03), "as many in each octave"


def test_a_picture_without_a_face_gets_none() -> None:
    """Rows that stand for no box stay so; the last picture shows one alone and has none."""
    pixels, boxes = batch(4)
    boxes[..., 0], boxes[..., 1:] = -1, 0
    _, none = scatter(pixels, boxes, 1.0, 0.25, torch.Generator().manual_seed(0))
    assert none.shape == (4, 8, 5)
    assert none.reshape(-1, 5).unique(dim=0).tolist() == [[-1, 0, 0, 0, 0]]


def test_only_a_share_is_changed() -> None:
    """The others keep every pixel and box, and the same seed draws the same."""
    pixels, boxes = batch()
    new, moved = scattered(0.5)
    kept = (new == pixels).flatten(1).all(1)
    assert 0.3 < kept.float().mean() < 0.7
    assert (moved[kept, :2] == boxes[kept]).all()
    assert (moved[kept, 2:, 0] == -1).all()
    again, _ = scattered(0.5)
    assert (again == new).all()
    none, _ = scattered(0.0)
    assert (none == pixels).all()


def test_small_faces_do_not_alias() -> None:
    """Stripes of one pixel become grey, not stripes of another width."""
    pixels = torch.zeros(32, 3, SIDE, SIDE)
    pixels[..., ::2] = 200
    new, boxes = scatter(pixels, batch(32)[1], 1.0, 0.2, torch.Generator().manual_seed(0))
    spreads = [
        float(picture[0, round(y1) + 1 : round(y2) - 1, round(x1) + 1 : round(x2) - 1].std())
        for picture, rows in zip(new, boxes, strict=True)
        for label, x1, y1, x2, y2 in rows.tolist()
        if label >= 0 and 6 < x2 - x1 < 20
    ]
    assert len(spreads) > 10
    assert np.median(spreads) < 20, "without averaging it is above 80"


def test_the_primer_sees_faces_as_they_are() -> None:
    """Small faces lose their expression: only the detector phase gets them, and only on request."""

    def first(share: float, primer: bool) -> torch.Tensor:
        pixels, boxes = batch(8)
        pictures = Pictures(pixels.byte(), boxes, "")
        recipe = Recipe(batch=8, scatter=share)
        lesson = Lesson(family("yolox-nano"), recipe, 8, pictures, pictures, "")
        return next(learning._batches(lesson, torch.Generator().manual_seed(0), 1, primer))[0]

    plain = first(0.0, primer=False)
    assert (first(1.0, primer=True) == plain).all()
    assert (first(1.0, primer=False) != plain).any()
