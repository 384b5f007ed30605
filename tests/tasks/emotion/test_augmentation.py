"""`shrink_objects`: faces become small and stay inside their boxes."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien.tasks.emotion.networks import family
from mien.tasks.emotion.recipe import Recipe

if TYPE_CHECKING:
    import torch

SIDE, COUNT = 96, 64


def batch(count: int = COUNT) -> "tuple[torch.Tensor, torch.Tensor]":
    """Grey images with one white square and its box; the last one shows no face."""
    import torch

    pixels = torch.full((count, 3, SIDE, SIDE), 60.0)
    pixels[:, :, 24:72, 16:64] = 255
    boxes = torch.tensor([[[2.0, 16, 24, 64, 72], [-1, 0, 0, 0, 0]]]).repeat(count, 1, 1)
    boxes[-1, 0] = torch.tensor([-1.0, 0, 0, 0, 0])
    return pixels, boxes


def shrunk(
    prob: float,
    min_scale: float = 0.25,
    images: "tuple[torch.Tensor, torch.Tensor] | None" = None,
) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    from mien.tasks.emotion.augmentation import shrink_objects

    return shrink_objects(*(images or batch()), prob, min_scale, torch.Generator().manual_seed(3))


def test_boxes_still_enclose_their_faces() -> None:
    """The inside of a box is as white as before, in images of one and of four faces."""
    pixels, boxes = shrunk(1.0)
    single, four = [], []
    for image, rows in zip(pixels, boxes, strict=True):
        faces = rows[rows[:, 0] >= 0].tolist()
        for label, x1, y1, x2, y2 in faces:
            assert label == 2
            assert 0 <= x1 < x2 <= SIDE
            assert 0 <= y1 < y2 <= SIDE
            assert y2 - y1 == pytest.approx(x2 - x1, abs=1e-3)
            inner = image[0, round(y1 + 2) : round(y2 - 2), round(x1 + 2) : round(x2 - 2)]
            assert inner.numel() == 0 or inner.mean() > 235
            (single if len(faces) == 1 else four).append((x2 - x1) / 48)
    assert 0.25 <= min(single) < 0.35
    assert 0.8 < max(single) <= 1
    assert 0.125 <= min(four) < 0.16
    assert 0.4 < max(four) <= 0.5
    assert np.median(four) == pytest.approx(0.25, abs=0.03), "scales are log-uniform"


def test_an_image_without_a_face_gets_no_box() -> None:
    """Rows without a box stay without one."""
    pixels, boxes = batch(4)
    boxes[..., 0], boxes[..., 1:] = -1, 0
    _, none = shrunk(1.0, images=(pixels, boxes))
    assert none.shape == (4, 8, 5)
    assert none.reshape(-1, 5).unique(dim=0).tolist() == [[-1, 0, 0, 0, 0]]


def test_only_some_images_are_changed() -> None:
    """The others keep every pixel and box; the same seed gives the same result."""
    pixels, boxes = batch()
    changed, moved = shrunk(0.5)
    same = (changed == pixels).flatten(1).all(1)
    assert 0.3 < same.float().mean() < 0.7
    assert (moved[same, :2] == boxes[same]).all()
    assert (moved[same, 2:, 0] == -1).all()
    again, _ = shrunk(0.5)
    assert (again == changed).all()
    none, _ = shrunk(0.0)
    assert (none == pixels).all()


def test_small_faces_do_not_alias() -> None:
    """Stripes of one pixel become grey, not stripes of another width."""
    pixels, boxes = batch(32)
    pixels[...] = 0
    pixels[..., ::2] = 200
    small, boxes = shrunk(1.0, 0.2, (pixels, boxes))
    deviations = [
        float(image[0, round(y1) + 1 : round(y2) - 1, round(x1) + 1 : round(x2) - 1].std())
        for image, rows in zip(small, boxes, strict=True)
        for label, x1, y1, x2, y2 in rows.tolist()
        if label >= 0 and 6 < x2 - x1 < 20
    ]
    assert len(deviations) > 10
    assert np.median(deviations) < 20, "without averaging it is above 80"


def test_pretraining_uses_faces_at_full_size() -> None:
    """Small faces lose their expression: only the detector phase gets them, and only if asked."""
    import torch

    from mien.tasks.emotion import trainer
    from mien.tasks.emotion.split_tensors import SplitTensors
    from mien.tasks.emotion.training_setup import TrainingSetup

    def first_batch(prob: float, pretraining: bool) -> torch.Tensor:
        pixels, boxes = batch(8)
        split = SplitTensors(pixels.byte(), boxes, "")
        recipe = Recipe(batch_size=8, small_object_prob=prob)
        setup = TrainingSetup(family("yolox-nano"), recipe, 8, split, split, "")
        generator = torch.Generator().manual_seed(0)
        return next(trainer._augmented_batches(setup, generator, 1, pretraining))[0]

    full_size = first_batch(0.0, pretraining=False)
    assert (first_batch(1.0, pretraining=True) == full_size).all()
    assert (first_batch(1.0, pretraining=False) != full_size).any()
