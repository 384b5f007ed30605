"""The most suspect labels as one HTML file: a small picture of each sample, or its drawn hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien import images
from mien.boxes import Box
from mien.errors import ImageError, TooLargeError
from mien.reporting import drawings, html
from mien.task import Sample, Skeleton

from .ranking import Suspect

_SIDE = 112
"""Pixels of the longer side of a thumbnail."""
MAX_SHOWN = 200
_AXES = 3
_MARGIN = 0.1
"""Of the picture that is shown around a subject, in sides of its box."""


def render(
    title: str,
    csv_name: str,
    ranked: Sequence[Suspect],
    samples: Sequence[Sample],
    skeleton: Skeleton,
) -> str:
    """The page as HTML, while the images of the samples can be read."""
    by_name = {each.name: each for each in samples}
    values = {
        "title": title,
        "csv_name": csv_name,
        "total": len(ranked),
        "doubted": sum(each.score < 0.5 for each in ranked),
        "shown": [(each, by_name[each.name]) for each in ranked[:MAX_SHOWN]],
        "skeleton": skeleton,
        "points": _points,
        "thumbnail": _thumbnail,
    }
    return html.render(Path(__file__).with_name("page.html"), values)


def _points(sample: Sample) -> tuple[tuple[float, float], ...]:
    """The points of a row that is a shape in space."""
    values = np.array(sample.values or ())
    return drawings.fitted(values.reshape(-1, _AXES)) if not len(values) % _AXES else ()


def _thumbnail(sample: Sample) -> str | None:
    """The subject of a picture as a JPEG in base64; None without one that can be decoded."""
    if sample.image_path is None:
        return None
    try:
        pixels = images.read(sample.image_path.read_bytes()).pixels
    except (ImageError, TooLargeError):
        return None
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = _widened(sample.box) if sample.box else (0.0, 0.0, 1.0, 1.0)
    rows = slice(int(y1 * height), max(round(y2 * height), int(y1 * height) + 1))
    columns = slice(int(x1 * width), max(round(x2 * width), int(x1 * width) + 1))
    return html.thumbnail(np.ascontiguousarray(pixels[rows, columns]), _SIDE)


def _widened(box: Box) -> Box:
    x1, y1, x2, y2 = box
    across, down = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    return max(x1 - across, 0), max(y1 - down, 0), min(x2 + across, 1), min(y2 + down, 1)
