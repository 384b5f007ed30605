"""From an image to the detector's input: the letterbox, and its inverse for boxes.

Training, evaluation and serving use these functions. Pure numpy, and Pillow for the resizing.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import boxes

from .detector_spec import DetectorSpec

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
_REDUCING_GAP = 2.0
"""An image is first averaged down to this multiple of the target size, then resized."""


@dataclass(frozen=True)
class Letterbox:
    """Where an image of `width` x `height` pixels lies on the square canvas."""

    scale: float
    dx: int
    dy: int
    width: int
    height: int

    def to_canvas(self, boxes_xyxy: Floats) -> Floats:
        """Convert boxes (n, 4) from pixels of the image to pixels of the canvas."""
        return cast(Floats, boxes_xyxy * np.float32(self.scale) + self._offset())

    def to_image(self, boxes_xyxy: Floats) -> Floats:
        """Convert boxes (n, 4) from the canvas to the image, clipped at its border."""
        unscaled = cast(Floats, (boxes_xyxy - self._offset()) / np.float32(self.scale))
        return boxes.clip(unscaled, self.width, self.height)

    def _offset(self) -> Floats:
        return np.array([self.dx, self.dy, self.dx, self.dy], np.float32)


def letterbox(
    image: Pixels, side: int, pad: int, original_size: tuple[int, int] | None = None
) -> tuple[Pixels, Letterbox]:
    """Fit `image` (h, w, 3) on a canvas (side, side, 3), centred, border filled with `pad`.

    The longer side of the image becomes `side`; a small image is enlarged. A much larger one is
    averaged, then resized bilinearly with Pillow's area support, so that a photo does not alias.

    Args:
        image: the image, possibly already reduced.
        side: of the canvas, in pixels.
        pad: value of the border.
        original_size: width and height of the image as sent, to which the letterbox refers; by
            default those of `image`.
    """
    width, height = original_size or (image.shape[1], image.shape[0])
    scale = side / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    dx, dy = (side - target[0]) // 2, (side - target[1]) // 2
    canvas = np.full((side, side, 3), pad, np.uint8)
    canvas[dy : dy + target[1], dx : dx + target[0]] = _resize(image, target)
    return canvas, Letterbox(scale, dx, dy, width, height)


def to_nchw(canvas: Pixels, spec: DetectorSpec) -> Floats:
    """Convert a canvas (side, side, 3) RGB to the network input (1, 3, side, side)."""
    ordered = canvas[:, :, ::-1] if spec.channel_order == "bgr" else canvas
    scaled = ordered.astype(np.float32) * np.float32(spec.pixel_scale)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _resize(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to (width, height); without a copy if the image has that size."""
    if size == (image.shape[1], image.shape[0]):
        return image
    # Averaging a much too large image first is faster and changes the canvas of a photo by less
    # than one step of 255 on average (tests); hard edges by more.
    return np.asarray(
        Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
    )
