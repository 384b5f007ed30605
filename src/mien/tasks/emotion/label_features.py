"""Cheap features of face crops, by which `mien data suspects` judges labels.

Histograms of oriented gradients, as in Dalal and Triggs, Histograms of Oriented Gradients for Human
Detection (2005): cells of 8 pixels, 9 unsigned directions, blocks of 2 x 2 cells. They need neither
weights nor a training, and tell emotions apart much worse than a trained network.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import images
from mien.errors import ImageError, TooLargeError
from mien.model import runtime
from mien.reporting import console
from mien.task import Sample

_SIDE, _CELL, _DIRECTIONS = 64, 8, 9
_CELLS = _SIDE // _CELL
_FEATURES = (_CELLS - 1) ** 2 * 4 * _DIRECTIONS
_EPSILON = 1e-4
"""Of the norm of a block, so that a plain one has no direction; pixels are in 0..1."""


def label_features(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Features (n, 1764) of the largest face of each image; NaN where it cannot be decoded."""
    features = runtime.map_threads(samples, lambda: _of_sample)
    tracked = console.track(samples, "read faces")
    rows = [row for _, row in zip(tracked, features, strict=True)]
    return np.array(rows, np.float32).reshape(-1, _FEATURES)


def _of_sample(sample: Sample) -> NDArray[np.float32]:
    try:
        assert sample.image_path is not None, "a sample of emotion is an image"
        pixels = images.read(sample.image_path.read_bytes()).pixels
    except (ImageError, TooLargeError):
        return np.full(_FEATURES, np.nan, np.float32)
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = sample.box or (0.0, 0.0, 1.0, 1.0)
    edges = (x1 * width, y1 * height, x2 * width, y2 * height)
    grey = Image.fromarray(pixels).convert("L")
    crop = grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, edges)
    return oriented_gradients(np.asarray(crop, np.float64) / 255)


def oriented_gradients(grey: NDArray[np.float64]) -> NDArray[np.float32]:
    """Histograms (1764,) of an image (64, 64) in 0..1."""
    down, across = np.gradient(np.sqrt(grey))
    direction = np.arctan2(down, across) % np.pi / np.pi * _DIRECTIONS
    lower = np.floor(direction).astype(int)
    share, strength = direction - lower, np.hypot(down, across)
    row, column = np.mgrid[:_SIDE, :_SIDE] // _CELL
    cells = np.zeros((_CELLS, _CELLS, _DIRECTIONS))
    np.add.at(cells, (row, column, lower % _DIRECTIONS), strength * (1 - share))
    np.add.at(cells, (row, column, (lower + 1) % _DIRECTIONS), strength * share)
    shifted = [cells[y : y + _CELLS - 1, x : x + _CELLS - 1] for y in (0, 1) for x in (0, 1)]
    blocks = np.concatenate(shifted, axis=2)
    blocks /= np.sqrt((blocks**2).sum(axis=2, keepdims=True) + _EPSILON)
    return blocks.ravel().astype(np.float32)
