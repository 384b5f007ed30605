"""Random changes to a batch of training pictures and their boxes.

Knows pixels, boxes and one generator of random numbers; knows no network, no label by name and
no files. Mosaic and perspective are left out on purpose: on pictures of 96 pixels they shrink
a face until its expression is gone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .recipe import Strength


def augment(
    pixels: Tensor, boxes: Tensor, strength: Strength, pad: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change a batch.

    Args:
        pixels: (batch, 3, side, side) uint8, RGB.
        boxes: (batch, most boxes, 5) float: label, x1, y1, x2, y2 in pixels; label -1 if empty.

    Returns:
        pixels as float 0..255 and the boxes that are still in the picture, same shapes.
    """
    moved, boxes = _move(pixels.float(), boxes, strength, pad, generator)
    coloured = _colour(moved, strength, generator)
    return _cover(coloured, strength, generator), boxes


def crop_faces(
    pixels: Tensor, boxes: Tensor, side: int, generator: torch.Generator | None
) -> Tensor:
    """Cut the first labelled face of every picture out, enlarged or reduced to `side`.

    The cut is 1.15 times the box; with a generator its size varies by 15 % and its place by
    10 %, as a detector's box would. A picture without a face is taken whole.
    """
    count, whole = pixels.shape[0], pixels.shape[-1]
    label, low, high = boxes[:, 0, :1], boxes[:, 0, 1:3], boxes[:, 0, 3:5]
    half = (high - low).amax(1, keepdim=True) / whole * 1.15
    centre = (low + high) / whole - 1
    if generator is not None:
        half = half * (1 + _spread(count, 0.15, generator)[:, None])
        jitter = torch.stack([_spread(count, 0.1, generator) for _ in "xy"], 1)
        centre = centre + jitter * half
    half = torch.where(label >= 0, half, torch.ones_like(half))
    centre = torch.where(label >= 0, centre, torch.zeros_like(centre))
    turn = torch.eye(2) * half[:, :, None]
    grid = functional.affine_grid(
        torch.cat([turn, centre[:, :, None]], 2), [count, 3, side, side], align_corners=False
    )
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _move(
    pixels: Tensor, boxes: Tensor, strength: Strength, pad: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn, zoom, shift and mirror about the centre of the picture."""
    count, side = pixels.shape[0], pixels.shape[-1]
    angle = _spread(count, math.radians(strength.rotate), generator)
    zoom = 1 + _spread(count, strength.zoom, generator)
    move = torch.stack([_spread(count, strength.shift, generator) for _ in "xy"], 1) * 2
    mirror = 1 - 2 * (torch.rand(count, generator=generator) < strength.flip).float()
    # Rows of `back` lead from places in the new picture to places in the old one, both -1..1.
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turn = torch.stack(
        [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1
    )
    back = torch.cat([turn, move[:, :, None]], 2)
    grid = functional.affine_grid(back, [count, 3, side, side], align_corners=False)
    # Zeros outside the picture become the colour of the letterbox border.
    new = functional.grid_sample(pixels - pad, grid, align_corners=False) + pad
    return new, _move_boxes(boxes, turn, move, zoom, side)


def _move_boxes(boxes: Tensor, turn: Tensor, move: Tensor, zoom: Tensor, side: int) -> Tensor:
    """Move centres with the picture and zoom sizes; a small turn leaves a face's box its size."""
    label, low, high = boxes[..., :1], boxes[..., 1:3], boxes[..., 3:5]
    centre = (low + high) / side - 1
    forward = torch.linalg.inv(turn)
    placed = ((centre - move[:, None]) @ forward.transpose(1, 2) + 1) * side / 2
    half = (high - low) / 2 * zoom[:, None, None]
    low, high = (placed - half).clamp(0, side), (placed + half).clamp(0, side)
    # A face that is mostly outside is no example of an emotion any more.
    left = (high - low).clamp(min=0).prod(-1, keepdim=True)
    whole = (4 * half.prod(-1, keepdim=True)).clamp(min=1e-6)
    visible = (label >= 0) & (left / whole > 0.3) & ((high - low).amin(-1, keepdim=True) > 2)
    empty = torch.tensor([-1.0, 0, 0, 0, 0])
    return torch.where(visible, torch.cat([label, low, high], -1), empty)


def _colour(pixels: Tensor, strength: Strength, generator: torch.Generator) -> Tensor:
    """Change saturation, contrast and brightness, each by its own random factor."""
    count = pixels.shape[0]
    bright, contrast, saturation = (
        1 + _spread(count, strength.colour, generator)[:, None, None, None] for _ in range(3)
    )
    no_colour = torch.rand(count, 1, 1, 1, generator=generator) < strength.grey
    saturation = torch.where(no_colour, torch.zeros_like(saturation), saturation)
    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * saturation
    middle = pixels.mean((1, 2, 3), keepdim=True)
    return (((pixels - middle) * contrast + middle) * bright).clamp(0, 255)


def _cover(pixels: Tensor, strength: Strength, generator: torch.Generator) -> Tensor:
    """Cover a rectangle of half of the pictures with one random colour."""
    if strength.cutout <= 0:
        return pixels
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 8, generator=generator)
    size = (0.1 + draw[:, 0:2] * (strength.cutout - 0.1)) * side
    start = draw[:, 2:4] * (side - size)
    along = torch.arange(side).float()
    inside = [
        (along >= start[:, axis, None]) & (along < (start + size)[:, axis, None]) for axis in (0, 1)
    ]
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    mask &= (draw[:, 4] < 0.5)[:, None, None, None]
    return torch.where(mask, (draw[:, 5:8] * 255)[:, :, None, None], pixels)


def _spread(count: int, most: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * most
