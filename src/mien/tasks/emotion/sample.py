"""Sample data of the emotion task: a small YOLO data set of drawn faces.

Writes the folders of a downloaded data set (train, valid and test, each with images/ and labels/,
and one data.yaml) and makes a drawing look like a photo (size, light, noise). Does not draw faces
(`cartoon_faces.py`), nor prepare or train on the data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from . import yolo
from .cartoon_faces import Box, draw_background, draw_person
from .facial_expressions import EXPRESSIONS

LABELS: tuple[str, ...] = tuple(EXPRESSIONS)
COUNTS: Mapping[str, int] = {"train": 480, "valid": 80, "test": 160}

_SIZES = ((96, 96), (112, 96), (96, 112), (128, 96), (96, 128), (128, 128), (160, 120), (120, 160),
          (144, 112), (112, 144), (192, 144), (144, 192), (240, 180), (320, 240))  # fmt: skip
_EMPTY_EVERY = 25  # one image in 25 shows no face
_HEAD_HEIGHT = (0.50, 0.90)  # range, relative to the shorter side of the image


def write_sample(out: Path, seed: int = 0, counts: Mapping[str, int] | None = None) -> None:
    """Writes the data set into `out`; the same seed always gives the same images.

    `counts` is the number of images of the splits train, valid and test (default `COUNTS`). Labels
    alternate, so that every split is balanced; about 4 % of the images show no face and have an
    empty label file. An image depends on the seed, its split and its number only, so that a larger
    sample contains the smaller one. The pixels are the same on every machine; the bytes of the PNG
    files also depend on the build of Pillow and its zlib.
    """
    for split_index, (split, count) in enumerate((counts or COUNTS).items()):
        images, labels = out / split / "images", out / split / "labels"
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            rng = np.random.default_rng([seed, split_index, index])
            label = _label_of(index)
            image, box = _draw_photo(label, _SIZES[int(rng.integers(len(_SIZES)))], rng)
            name = f"{label or 'nobody'}_{index:04d}"
            image.save(images / f"{name}.png", compress_level=1)
            (labels / f"{name}.txt").write_text(_label_line(label, box, image.size))
    (out / "data.yaml").write_text(yolo.format_data_yaml(LABELS))


def draw_face_image(label: str, seed: int = 0) -> Image.Image:
    """Draws one face on 360 x 480 pixels, RGB, for demonstrations and requests."""
    rng = np.random.default_rng([seed, len(COUNTS), LABELS.index(label)])
    return _draw_photo(label, (360, 480), rng, head_height=0.72)[0]


def _label_of(index: int) -> str | None:
    if index % _EMPTY_EVERY == _EMPTY_EVERY - 1:
        return None
    return LABELS[(index - index // _EMPTY_EVERY) % len(LABELS)]


def _draw_photo(
    label: str | None,
    size: tuple[int, int],
    rng: np.random.Generator,
    head_height: float | None = None,
) -> tuple[Image.Image, Box | None]:
    """Draws large and shrinks; returns the image and the box of the face in its pixels."""
    width, height = size
    zoom = 3 if min(size) < 112 else 2
    canvas = Image.new("RGB", (width * zoom, height * zoom))
    draw_background(canvas, rng)
    box: Box | None = None
    if label is not None:
        head_height = rng.uniform(*_HEAD_HEIGHT) if head_height is None else head_height
        unit = head_height * min(size) / 2
        centre = complex(
            _random_position(width, unit * 0.85, rng), _random_position(height, unit * 1.03, rng)
        )
        tilt = math.radians(rng.uniform(-18.0, 18.0))
        rotation = complex(math.cos(tilt), math.sin(tilt))
        large = draw_person(canvas, label, centre * zoom, unit * zoom * rotation, rng)
        box = (large[0] / zoom, large[1] / zoom, large[2] / zoom, large[3] / zoom)
    return _add_light_and_noise(canvas.reduce(zoom), rng), box


def _random_position(length: int, radius: float, rng: np.random.Generator) -> float:
    """A position at least `radius` from both edges, more often near the middle, as in portraits."""
    space = max(0.0, length - 2 * radius)
    return length / 2 + space * (rng.uniform(-0.5, 0.5) + rng.uniform(-0.5, 0.5)) / 2


def _add_light_and_noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Adds light from one side, the colour of a lamp and sensor noise."""
    width, height = image.size
    pixels = np.asarray(image, dtype=np.float32)
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.uniform(-0.18, 0.18))
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.uniform(-0.15, 0.15))
    level = np.float32(rng.uniform(0.75, 1.12))
    lamp = np.array([rng.uniform(0.94, 1.06), 1.0, rng.uniform(0.94, 1.06)], dtype=np.float32)
    light = (down[:, None] + across) * level + level
    grain = int(rng.integers(1, 8))
    noise = rng.integers(-grain, grain + 1, size=(height, width), dtype=np.int8)
    lit = pixels * light[:, :, None] * lamp + noise[:, :, None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _label_line(label: str | None, box: Box | None, size: tuple[int, int]) -> str:
    """The line of a label file; empty without a face."""
    if label is None or box is None:
        return ""
    width, height = size
    left, right = (min(max(x / width, 0.0), 1.0) for x in (box[0], box[2]))
    top, bottom = (min(max(y / height, 0.0), 1.0) for y in (box[1], box[3]))
    xcycwh = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return yolo.format_label(LABELS.index(label), xcycwh)
