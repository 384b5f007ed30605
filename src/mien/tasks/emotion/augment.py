"""Random changes to a batch of training pictures and their boxes.

Knows pixels, boxes and one generator of random numbers; knows no network, no label by name and
no files. Mosaic and perspective are left out on purpose: on pictures of 96 pixels they shrink
a face until its expression is gone. Whoever wants small faces to be found asks for `scatter`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .recipe import Strength

_PIECES = 4
"""Pieces of a side into which pictures are cut: one holds an eye or a mouth, and no face."""
_LEAST_ZOOM = 2.5
"""A face that fills a picture is wider than this piece of it; up to twice as much is taken."""


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


def scatter(
    pixels: Tensor, boxes: Tensor, share: float, least: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Show a share of the pictures small, alone or four on one, so that small faces are learnt.

    A set of portraits says nothing of faces that are small in a scene: this makes some, before
    pieces of other pictures that hold no whole face.

    Args:
        pixels: (batch, 3, side, side) float 0..255.
        boxes: as for `augment`.
        share: 0..1, probability of a picture to be changed; half of the changed show four.
        least: smallest side of a picture as a share of the whole, half of it where four are shown;
            sizes are as many in each octave.

    Returns:
        Pixels of the same shape, and boxes with four times as many rows.
    """
    draw = torch.rand(len(pixels), generator=generator)
    one, one_boxes = _shrink(pixels, boxes, least, generator)
    four, four_boxes = _tile(one, one_boxes)
    empty = torch.tensor([-1.0, 0, 0, 0, 0]).expand(len(boxes), 3 * boxes.shape[1], 5)
    plain_boxes, one_boxes = (torch.cat([each, empty], 1) for each in (boxes, one_boxes))
    alone, many = ((draw < part * share)[:, None, None] for part in (1.0, 0.5))
    return (
        torch.where(many[..., None], four, torch.where(alone[..., None], one, pixels)),
        torch.where(many, four_boxes, torch.where(alone, one_boxes, plain_boxes)),
    )


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


def _shrink(
    pixels: Tensor, boxes: Tensor, least: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Show every picture small, somewhere before a ground.

    The picture's border fades into the ground, by a random width, so that nobody learns to find
    borders.
    """
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 4, generator=generator)
    size = least ** draw[:, 0]
    centre = (draw[:, 1:3] * 2 - 1) * (1 - size)[:, None]
    grid = _placed(1 / size, -centre / size[:, None], side)
    fade = 0.02 + 0.3 * draw[:, 3]
    inside = ((1 - grid.abs()) / fade[:, None, None, None]).clamp(0, 1).prod(-1)[:, None]
    ground = _ground(pixels, generator)
    mixed = ground + (_reduced(pixels, grid, size) - ground) * inside
    middle = (centre.repeat(1, 2)[:, None] + 1) * (side / 2)
    moved = (boxes[..., 1:] - side / 2) * size[:, None, None] + middle
    there = boxes[..., :1] >= 0
    return mixed, torch.where(there, torch.cat([boxes[..., :1], moved], -1), boxes)


def _ground(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures without a whole face, made of those of the batch.

    Half of them are one piece, so enlarged that a face does not fit in; half are small pieces of
    many pictures, as sharp as the faces before them.
    """
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 4, generator=generator)
    zoom = _LEAST_ZOOM * 2 ** draw[:, 0]
    shift = (draw[:, 1:3] * 2 - 1) * (1 - 1 / zoom)[:, None]
    enlarged = functional.grid_sample(
        pixels.roll(1, 0), _placed(1 / zoom, shift, side), align_corners=False
    )
    piece = side // _PIECES
    pieces = pixels.reshape(count, 3, _PIECES, piece, _PIECES, piece).permute(0, 2, 4, 1, 3, 5)
    order = torch.randperm(count * _PIECES**2, generator=generator)
    shuffled = pieces.flatten(0, 2)[order].reshape(pieces.shape)
    mixed = shuffled.permute(0, 3, 1, 4, 2, 5).reshape(pixels.shape)
    return torch.where((draw[:, 3] < 0.5)[:, None, None, None], enlarged, mixed)


def _tile(pixels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture and the three after it in the batch, as the quarters of one."""
    side = pixels.shape[-1]
    small = functional.avg_pool2d(pixels, 2)
    rows = [torch.cat([small.roll(-place, 0), small.roll(-place - 1, 0)], 3) for place in (0, 2)]
    moved = []
    for place in range(4):
        corner = torch.tensor([place % 2, place // 2, place % 2, place // 2]) * (side / 2)
        there = boxes[..., :1] >= 0
        new = torch.cat([boxes[..., :1], boxes[..., 1:] / 2 + corner], -1)
        moved.append(torch.where(there, new, boxes).roll(-place, 0))
    return torch.cat(rows, 2), torch.cat(moved, 1)


def _placed(scale: Tensor, shift: Tensor, side: int) -> Tensor:
    """Where in -1..1 each pixel of a new picture is taken from, (batch, side, side, 2)."""
    turn = torch.eye(2) * scale[:, None, None]
    size = [len(scale), 3, side, side]
    return functional.affine_grid(
        torch.cat([turn, shift[:, :, None]], 2), size, align_corners=False
    )


def _reduced(pixels: Tensor, grid: Tensor, size: Tensor) -> Tensor:
    """Take pictures at places far apart, averaged before, so that they do not alias."""
    small = torch.empty_like(pixels)
    levels = (1 / size).log2().floor().long()
    for level in sorted(set(levels.tolist())):
        some = levels == level
        averaged = functional.avg_pool2d(pixels[some], 2**level) if level else pixels[some]
        small[some] = functional.grid_sample(
            averaged, grid[some], padding_mode="border", align_corners=False
        )
    return small


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
