"""The letterbox: images on the canvas of the network, and boxes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.tasks.emotion.letterbox import letterbox, to_nchw
from mien.tasks.emotion.networks import family

SIDES = st.integers(1, 400)


@given(width=SIDES, height=SIDES, side=st.sampled_from([32, 64, 96]))
def test_every_image_fits_on_the_canvas_and_back(width: int, height: int, side: int) -> None:
    """An image of any size is centred on the square; its border box is mapped back exactly."""
    image = np.full((height, width, 3), 200, np.uint8)
    canvas, placement = letterbox(image, side, 114)
    assert canvas.shape == (side, side, 3)
    assert (canvas == 200).any()
    whole = np.array([[0, 0, width, height]], np.float32)
    assert np.allclose(placement.to_image(placement.to_canvas(whole)), whole, atol=1e-2)


def test_channel_order_and_pixel_scale_follow_the_family() -> None:
    """YOLOX expects BGR in 0..255, YOLOv9 RGB in 0..1."""
    canvas = np.zeros((32, 32, 3), np.uint8)
    canvas[..., 0] = 255
    bgr = to_nchw(canvas, family("yolox-nano").spec(32))
    rgb = to_nchw(canvas, family("yolov9-t").spec(32))
    assert (bgr[0, 2] == 255).all()
    assert rgb[0, 0].max() == pytest.approx(1)
    assert bgr.shape == rgb.shape == (1, 3, 32, 32)


def test_a_reduced_image_gives_the_same_canvas() -> None:
    """The same pixels up to the effect of averaging twice; boxes in pixels of the original."""
    rng = np.random.default_rng(2)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    whole = small.resize((1203, 901), Image.Resampling.BICUBIC)
    canvas, placement = letterbox(np.asarray(whole), 96, 114)
    reduced, same = letterbox(np.asarray(whole.reduce(4)), 96, 114, whole.size)
    assert same == placement
    assert (placement.width, placement.height) == whole.size
    assert np.abs(canvas.astype(int) - reduced).mean() < 2
    box = np.array([[100, 200, 700, 900]], np.float32)
    assert same.to_image(placement.to_canvas(box)) == pytest.approx(box, abs=0.1)


def test_averaging_first_hardly_changes_the_canvas_of_a_photo() -> None:
    """By less than one step of 255 on average."""
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    whole = small.resize((1280, 960), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 3, (960, 1280, 3))
    photo = np.clip(np.asarray(whole) + grain, 0, 255).astype(np.uint8)
    canvas, placement = letterbox(photo, 96, 114)
    plain = Image.fromarray(photo).resize((96, 72), Image.Resampling.BILINEAR)
    difference = np.abs(canvas[12:84].astype(int) - np.asarray(plain))
    assert (placement.width, placement.height) == (1280, 960)
    assert 0 < difference.mean() < 1
