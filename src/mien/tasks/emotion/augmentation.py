"""Random changes to a batch of training images and their boxes.

Knows pixels, boxes and one random generator; knows no network, no label names and no files. Mosaic
and perspective are left out on purpose: on images of 96 pixels they shrink a face until its
expression is lost. To train on small faces, set `small_object_prob`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .recipe import Augmentation

_TILES_PER_SIDE = 4
"""An image is cut into this many tiles per side: one shows an eye or a mouth, and no face."""
_MIN_BACKGROUND_ZOOM = 2.5
"""An image that one face fills is enlarged at least so much that no face fits in, at most twice."""
_FACE_MARGIN = 1.15
"""Side of a face crop relative to the longer side of its box."""
_MIN_VISIBLE, _MIN_BOX_PX = 0.3, 2
"""A box that is less visible or smaller after a move is removed: its emotion cannot be seen."""


def augment(
    pixels: Tensor, boxes: Tensor, settings: Augmentation, pad: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply all random changes to a batch.

    Args:
        pixels: (batch, 3, side, side) uint8, RGB.
        boxes: (batch, max boxes, 5) float: label, x1, y1, x2, y2 in pixels; label -1 if empty.

    Returns:
        pixels as float 0..255 and the boxes that are still in the image, same shapes.
    """
    warped, boxes = _random_affine(pixels.float(), boxes, settings, pad, generator)
    jittered = _color_jitter(warped, settings, generator)
    return _cutout(jittered, settings, generator), boxes


def shrink_objects(
    pixels: Tensor, boxes: Tensor, prob: float, min_scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Show some of the images at reduced size, alone or four on one canvas.

    A data set of portraits has no faces that are small in a scene: this makes some, on backgrounds
    of other images that show no whole face.

    Args:
        pixels: (batch, 3, side, side) float 0..255.
        boxes: as for `augment`.
        prob: 0..1, probability that an image is changed; half of the changed show four.
        min_scale: smallest scale of an image, half of it where four are shown; scales are
            log-uniform.

    Returns:
        Pixels of the same shape, and boxes with four times as many rows.
    """
    draw = torch.rand(len(pixels), generator=generator)
    single, single_boxes = _shrink(pixels, boxes, min_scale, generator)
    four, four_boxes = _tile_four(single, single_boxes)
    empty = torch.tensor([-1.0, 0, 0, 0, 0]).expand(len(boxes), 3 * boxes.shape[1], 5)
    boxes, single_boxes = (torch.cat([rows, empty], 1) for rows in (boxes, single_boxes))
    changed, has_four = ((draw < part * prob)[:, None, None] for part in (1.0, 0.5))
    return (
        torch.where(has_four[..., None], four, torch.where(changed[..., None], single, pixels)),
        torch.where(has_four, four_boxes, torch.where(changed, single_boxes, boxes)),
    )


def crop_faces(
    pixels: Tensor, boxes: Tensor, side: int, generator: torch.Generator | None
) -> Tensor:
    """Crop the first labelled face of every image and resize it to `side`.

    The crop is 1.15 times the box; with a generator its size varies by 15 % and its centre by 10 %,
    as a detector's box would. An image without a face is taken whole.
    """
    count, full_side = pixels.shape[0], pixels.shape[-1]
    label, low, high = boxes[:, 0, :1], boxes[:, 0, 1:3], boxes[:, 0, 3:5]
    half = (high - low).amax(1, keepdim=True) / full_side * _FACE_MARGIN
    centre = (low + high) / full_side - 1
    if generator is not None:
        half = half * (1 + _symmetric(count, 0.15, generator)[:, None])
        jitter = torch.stack([_symmetric(count, 0.1, generator) for _ in "xy"], 1)
        centre = centre + jitter * half
    half = torch.where(label >= 0, half, torch.ones_like(half))
    centre = torch.where(label >= 0, centre, torch.zeros_like(centre))
    linear = torch.eye(2) * half[:, :, None]
    grid = functional.affine_grid(
        torch.cat([linear, centre[:, :, None]], 2), [count, 3, side, side], align_corners=False
    )
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _shrink(
    pixels: Tensor, boxes: Tensor, min_scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Show every image at reduced size, at a random position on a background.

    The border fades into the background over a random width, so that the network does not learn to
    detect borders.
    """
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 4, generator=generator)
    scale = min_scale ** draw[:, 0]
    centre = (draw[:, 1:3] * 2 - 1) * (1 - scale)[:, None]
    grid = _scale_shift_grid(1 / scale, -centre / scale[:, None], side)
    fade = 0.02 + 0.3 * draw[:, 3]
    opacity = ((1 - grid.abs()) / fade[:, None, None, None]).clamp(0, 1).prod(-1)[:, None]
    background = _background(pixels, generator)
    mixed = background + (_sample_antialiased(pixels, grid, scale) - background) * opacity
    middle = (centre.repeat(1, 2)[:, None] + 1) * (side / 2)
    xyxy = (boxes[..., 1:] - side / 2) * scale[:, None, None] + middle
    has_box = boxes[..., :1] >= 0
    return mixed, torch.where(has_box, torch.cat([boxes[..., :1], xyxy], -1), boxes)


def _background(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Images without a whole face, made of those of the batch.

    Half of them are one part, enlarged so much that a face does not fit in; half are small tiles of
    many images, as sharp as the faces in front of them.
    """
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 4, generator=generator)
    zoom = _MIN_BACKGROUND_ZOOM * 2 ** draw[:, 0]
    shift = (draw[:, 1:3] * 2 - 1) * (1 - 1 / zoom)[:, None]
    enlarged = functional.grid_sample(
        pixels.roll(1, 0), _scale_shift_grid(1 / zoom, shift, side), align_corners=False
    )
    tiles, tile = _TILES_PER_SIDE, side // _TILES_PER_SIDE
    cut = pixels.reshape(count, 3, tiles, tile, tiles, tile).permute(0, 2, 4, 1, 3, 5)
    order = torch.randperm(count * tiles**2, generator=generator)
    shuffled = cut.flatten(0, 2)[order].reshape(cut.shape)
    mosaic = shuffled.permute(0, 3, 1, 4, 2, 5).reshape(pixels.shape)
    return torch.where((draw[:, 3] < 0.5)[:, None, None, None], enlarged, mosaic)


def _tile_four(pixels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Show each image and the three after it in the batch as the quarters of one."""
    side = pixels.shape[-1]
    small = functional.avg_pool2d(pixels, 2)
    rows = [torch.cat([small.roll(-index, 0), small.roll(-index - 1, 0)], 3) for index in (0, 2)]
    quarters = []
    for index in range(4):
        corner = torch.tensor([index % 2, index // 2, index % 2, index // 2]) * (side / 2)
        has_box = boxes[..., :1] >= 0
        shrunk = torch.cat([boxes[..., :1], boxes[..., 1:] / 2 + corner], -1)
        quarters.append(torch.where(has_box, shrunk, boxes).roll(-index, 0))
    return torch.cat(rows, 2), torch.cat(quarters, 1)


def _scale_shift_grid(scale: Tensor, shift: Tensor, side: int) -> Tensor:
    """Sampling positions in -1..1 for each pixel of new images, (batch, side, side, 2)."""
    linear = torch.eye(2) * scale[:, None, None]
    size = [len(scale), 3, side, side]
    return functional.affine_grid(
        torch.cat([linear, shift[:, :, None]], 2), size, align_corners=False
    )


def _sample_antialiased(pixels: Tensor, grid: Tensor, scale: Tensor) -> Tensor:
    """Sample images at distant positions, averaged first so that they do not alias."""
    sampled = torch.empty_like(pixels)
    levels = (1 / scale).log2().floor().long()
    for level in sorted(set(levels.tolist())):
        mask = levels == level
        averaged = functional.avg_pool2d(pixels[mask], 2**level) if level else pixels[mask]
        sampled[mask] = functional.grid_sample(
            averaged, grid[mask], padding_mode="border", align_corners=False
        )
    return sampled


def _random_affine(
    pixels: Tensor, boxes: Tensor, settings: Augmentation, pad: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rotate, scale, translate and flip about the centre of the image."""
    count, side = pixels.shape[0], pixels.shape[-1]
    angle = _symmetric(count, math.radians(settings.rotate_degrees), generator)
    scale = 1 + _symmetric(count, settings.scale, generator)
    shift = torch.stack([_symmetric(count, settings.translate, generator) for _ in "xy"], 1) * 2
    flip = 1 - 2 * (torch.rand(count, generator=generator) < settings.flip_prob).float()
    # Rows of `inverse` map positions in the new image to positions in the old one, both -1..1.
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    linear = torch.stack([torch.stack([cos * flip, -sin], 1), torch.stack([sin * flip, cos], 1)], 1)
    inverse = torch.cat([linear, shift[:, :, None]], 2)
    grid = functional.affine_grid(inverse, [count, 3, side, side], align_corners=False)
    # Zeros outside the image become the colour of the letterbox border.
    warped = functional.grid_sample(pixels - pad, grid, align_corners=False) + pad
    return warped, _move_boxes(boxes, linear, shift, scale, side)


def _move_boxes(boxes: Tensor, linear: Tensor, shift: Tensor, scale: Tensor, side: int) -> Tensor:
    """Move centres with the image and scale sizes; a small rotation does not change a size."""
    label, low, high = boxes[..., :1], boxes[..., 1:3], boxes[..., 3:5]
    centre = (low + high) / side - 1
    forward = torch.linalg.inv(linear)
    centre_px = ((centre - shift[:, None]) @ forward.transpose(1, 2) + 1) * side / 2
    half = (high - low) / 2 * scale[:, None, None]
    low, high = (centre_px - half).clamp(0, side), (centre_px + half).clamp(0, side)
    visible_area = (high - low).clamp(min=0).prod(-1, keepdim=True)
    full_area = (4 * half.prod(-1, keepdim=True)).clamp(min=1e-6)
    large_enough = (high - low).amin(-1, keepdim=True) > _MIN_BOX_PX
    valid = (label >= 0) & (visible_area / full_area > _MIN_VISIBLE) & large_enough
    empty = torch.tensor([-1.0, 0, 0, 0, 0])
    return torch.where(valid, torch.cat([label, low, high], -1), empty)


def _color_jitter(pixels: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Change saturation, contrast and brightness, each by its own random factor."""
    count = pixels.shape[0]
    brightness, contrast, saturation = (
        1 + _symmetric(count, settings.color_jitter, generator)[:, None, None, None]
        for _ in range(3)
    )
    to_grayscale = torch.rand(count, 1, 1, 1, generator=generator) < settings.grayscale_prob
    saturation = torch.where(to_grayscale, torch.zeros_like(saturation), saturation)
    gray = pixels.mean(1, keepdim=True)
    pixels = gray + (pixels - gray) * saturation
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return (((pixels - mean) * contrast + mean) * brightness).clamp(0, 255)


def _cutout(pixels: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Cover a rectangle of half of the images with one random colour."""
    if settings.cutout <= 0:
        return pixels
    count, side = pixels.shape[0], pixels.shape[-1]
    draw = torch.rand(count, 8, generator=generator)
    size = (0.1 + draw[:, 0:2] * (settings.cutout - 0.1)) * side
    start = draw[:, 2:4] * (side - size)
    positions = torch.arange(side).float()
    covered = [
        (positions >= start[:, axis, None]) & (positions < (start + size)[:, axis, None])
        for axis in (0, 1)
    ]
    mask = covered[0][:, None, :, None] & covered[1][:, None, None, :]
    mask &= (draw[:, 4] < 0.5)[:, None, None, None]
    return torch.where(mask, (draw[:, 5:8] * 255)[:, :, None, None], pixels)


def _symmetric(count: int, limit: float, generator: torch.Generator) -> Tensor:
    """Draw `count` uniform numbers in -limit..limit."""
    return (torch.rand(count, generator=generator) * 2 - 1) * limit
