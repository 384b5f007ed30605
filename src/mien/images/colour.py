"""Any picture to sRGB: profiles (ICC) are applied, transparency is composed on white.

A transform is built once for each profile. It is applied to the reduced picture, so that its cost
does not grow with the camera's (`bench colours`).
"""

import io
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

CACHED_PROFILES = 8
MAX_SRGB_DIFFERENCE = 3
"""Steps of 255 by which a profile that counts as sRGB may differ from it: pictures with one keep
their pixels as they are."""
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The mode of Pillow by the colour space of a profile."""
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def to_srgb(picture: Image.Image, icc_profile: bytes, times: int) -> Image.Image:
    """Convert a picture to 8-bit sRGB, and average `times` x `times` pixels to one.

    A profile that is damaged, or of another colour space than the picture, is ignored.
    """
    transform = _transform(icc_profile) if icc_profile else None
    mode = transform.input_mode if transform else ""
    if picture.mode != "CMYK" or mode != "CMYK":
        own_mode = "L" if picture.mode in _GREY_MODES else picture.mode
        picture = _to_rgb(picture)
        if mode == "CMYK" or own_mode == "CMYK" or (own_mode == "L") != (mode == "L"):
            transform = None
        elif mode == "L":
            picture = picture.convert("L")
    picture = picture.reduce(times) if times > 1 else picture
    if transform is None:
        return picture
    result = ImageCms.applyTransform(picture, transform)
    assert result is not None
    return result


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        grey = np.asarray(picture, dtype=np.float64) / 257.0  # 65535 / 255
        picture = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.new("RGBA", layer.size, "white")
        picture.alpha_composite(layer)
    return picture if picture.mode == "RGB" else picture.convert("RGB")  # which would copy it


@lru_cache(CACHED_PROFILES)
def _transform(icc_profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None for a profile that cannot be used, or that is sRGB itself."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        mode = _MODES.get(profile.profile.xcolor_space)
        if mode is None:
            return None
        transform = ImageCms.buildTransform(profile, _srgb(), mode, "RGB")
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
    if mode == "CMYK":
        return transform
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(16, 256, 3)
    image = Image.fromarray(colours).convert(mode)
    converted = ImageCms.applyTransform(image, transform)
    difference = np.asarray(converted, dtype=int) - np.asarray(image.convert("RGB"), dtype=int)
    return transform if np.abs(difference).max() > MAX_SRGB_DIFFERENCE else None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
