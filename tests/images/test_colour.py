"""Promises of `mien.images.colour`: a picture looks the same with every profile."""

import io
import struct
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


def test_cmyk_profiles_are_applied() -> None:
    """Of files for printers: here, one whose ink for red looks green, and the other way round."""
    inks = np.array([[[0, 255, 255, 0], [255, 0, 255, 0]], [[255, 255, 0, 0], [0, 0, 0, 0]]], "u1")
    picture = Image.fromarray(inks, "CMYK").resize((64, 64), Image.Resampling.NEAREST)
    options = {"quality": 100, "subsampling": 0}
    plain = images.decode(saved(picture, "JPEG", **options))[8::48, 8::48]
    pixels = images.decode(saved(picture, "JPEG", icc_profile=swapped_inks(), **options))
    assert np.abs(plain.astype(int) - [[RED, GREEN], [BLUE, WHITE]]).max() < 8
    assert np.abs(pixels[8::48, 8::48].astype(int) - [[GREEN, RED], [BLUE, WHITE]]).max() < 25


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def swapped_inks() -> bytes:
    """A CMYK profile of one table (lut8 of the ICC's specification) with two points an ink."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    rgb = 255 * (1 - corners[:, :3]) * (1 - corners[:, 3:])
    swapped = Image.fromarray(rgb[None, :, [1, 0, 2]].astype("u1"))
    lab = ImageCms.profileToProfile(
        swapped, SRGB, ImageCms.createProfile("LAB"), outputMode="LAB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    assert lab is not None
    channels = np.asarray(lab).astype("u1").reshape(-1, 3)
    channels[:, 1:] ^= 128  # Pillow counts a and b from 0, the table from 128
    ramp = bytes(range(256))
    identity = struct.pack(">9l", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    table += ramp * 4 + channels.tobytes() + ramp * 3
    table += bytes(-len(table) % 4)
    head = struct.pack(">LLL4s4s4s", 144 + len(table), 0, 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3l", *(round(each * 65536) for each in (0.9642, 1.0, 0.8249)))
    entry = struct.pack(">L4sLL", 1, b"A2B0", 144, len(table))
    return head.ljust(128, b"\0") + entry + table


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
