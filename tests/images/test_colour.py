"""Promises of `mien.images.colour`: a picture looks the same with every profile."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from project import ROOT

from mien import images
from mien.images import colour

sys.path.insert(0, str(ROOT))

from bench.colours import profile

SRGB = ImageCms.createProfile("sRGB")
PICTURE = Image.fromarray(
    np.kron(np.random.default_rng(1).integers(40, 216, (6, 8, 3)), np.ones((8, 8, 1))).astype("u1")
)
"""Colors that every one of these profiles can hold."""


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def tagged(name: str, mode: str = "RGB") -> tuple[Image.Image, bytes]:
    """The picture in the colors of a profile, and the profile."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(block := profile(name)))
    picture = ImageCms.profileToProfile(PICTURE, SRGB, own, outputMode=mode)
    assert picture is not None
    return picture, block


LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100, "subsampling": 0})]


@pytest.mark.parametrize("name", ["P3", "Adobe", "ProPhoto"])
@pytest.mark.parametrize(("kind", "options"), LOSSLESS, ids=["PNG", "WEBP", "JPEG"])
def test_profiles_are_applied(name: str, kind: str, options: dict[str, object]) -> None:
    """What a viewer shows is what the networks see."""
    picture, block = tagged(name)
    pixels = images.decode(saved(picture, kind, icc_profile=block, **options)).astype(int)
    assert np.abs(np.asarray(picture, dtype=int) - np.asarray(PICTURE)).max() > 15
    assert np.abs(pixels - np.asarray(PICTURE)).max() <= 6


def test_a_reduced_picture_has_the_same_colors() -> None:
    """The profile is applied after the reduction."""
    picture, block = tagged("P3")
    large = picture.resize((800, 600), Image.Resampling.NEAREST)
    pixels = images.read(saved(large, "PNG", icc_profile=block), min_side=48).pixels
    expected = PICTURE.resize((800, 600), Image.Resampling.NEAREST).reduce(8)
    assert pixels.shape == (75, 100, 3)
    assert np.abs(pixels.astype(int) - np.asarray(expected)).mean() < 2


def test_srgb_itself_leaves_the_pixels_as_they_are() -> None:
    """Most pictures carry it; the models were trained on such pixels."""
    block = ImageCms.ImageCmsProfile(SRGB).tobytes()
    assert (images.decode(saved(PICTURE, "PNG", icc_profile=block)) == np.asarray(PICTURE)).all()


def test_transparency_and_palettes_are_converted_too() -> None:
    """Profiles belong to every mode of their color space."""
    picture, block = tagged("P3")
    expected = images.decode(saved(picture, "PNG", icc_profile=block))
    for mode in ("RGBA", "P"):
        own = picture.quantize(256) if mode == "P" else picture.convert(mode)
        pixels = images.decode(saved(own, "PNG", icc_profile=block))
        assert np.abs(pixels.astype(int) - expected).mean() < 3, mode


def test_grey_profiles_are_applied() -> None:
    """Scanners write them."""
    grey = PICTURE.convert("L")
    plain = np.asarray(grey, dtype=int)
    pixels = images.decode(saved(grey, "PNG", icc_profile=profile("grey", 1.0))).astype(int)
    assert (pixels[..., 0] >= plain).all(), "linear values look brighter as sRGB"
    assert np.abs(pixels[..., 0] - plain).max() > 40


@pytest.mark.parametrize(
    "block", [b"nonsense", bytes(200), profile("P3")[:200], profile("grey", 1.0)]
)
def test_profiles_that_cannot_be_used_are_ignored(block: bytes) -> None:
    """Damaged ones, and those of another color space."""
    pixels = images.decode(saved(PICTURE, "PNG", icc_profile=block))
    assert (pixels == np.asarray(PICTURE)).all()


def test_a_transform_is_built_once() -> None:
    """Building one costs more than applying it to a reduced picture."""
    picture, block = tagged("Adobe")
    data = saved(picture, "PNG", icc_profile=block)
    colour._transform.cache_clear()
    for _ in range(3):
        images.decode(data)
    assert colour._transform.cache_info().misses == 1
