"""Promises of docs/source/formats.md: each row on pictures is one that is read as it says."""

import io
import os
import struct
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms
from project import ROOT

from mien import images
from mien.errors import ImageError, MienError, TooLargeError

sys.path.insert(0, str(ROOT))

from bench.colours import profile

SIDE = 64
PICTURE = Image.fromarray(
    np.kron(np.random.default_rng(3).integers(60, 200, (4, 5, 3)), np.ones((16, 16, 1))).astype(
        "u1"
    )
)
TURNED = Image.Exif()
TURNED[0x0112] = 3


def saved(kind: str, picture: Image.Image = PICTURE, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(**options: object) -> bytes:
    return saved("JPEG", quality=98, subsampling=0, **options)


def of_size(width: int, height: int) -> bytes:
    """A JPEG whose header names a size."""
    data = bytearray(saved("JPEG", Image.new("L", (64, 64))))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def display_p3() -> bytes:
    own = ImageCms.ImageCmsProfile(io.BytesIO(block := profile("P3")))
    tagged = ImageCms.profileToProfile(PICTURE, ImageCms.createProfile("sRGB"), own)
    assert tagged is not None
    return saved("PNG", tagged, icc_profile=block)


READ: dict[tuple[str, str], Callable[[], bytes]] = {
    ("JPEG, PNG, WEBP", "by their content, whatever their names"): lambda: saved("PNG"),
    ("AVIF", "where the installed Pillow reads it"): lambda: saved("AVIF", quality=100),
    ("orientation in EXIF, with any other entries", "upright; other entries do not matter"): (
        lambda: saved("PNG", rotated(), exif=TURNED)
    ),
    ("colour profiles: Display P3, Adobe RGB, grey, CMYK", "converted to sRGB"): (display_p3),
    ("16-bit grey, palettes, transparency", "8 bits, on white"): (
        lambda: saved("PNG", PICTURE.convert("RGBA"))
    ),
    ("JPEG without end marker, or with a trailer (motion photos)", "the picture"): (
        lambda: jpeg()[:-2] + bytes(20) + os.urandom(2000)
    ),
    ("several pictures in a JPEG (MPO)", "the first"): (
        lambda: saved("MPO", save_all=True, append_images=[rotated()], quality=98, subsampling=0)
    ),
    ("PNG with large or damaged texts and profiles", "without them"): (
        lambda: saved("PNG", pnginfo=text(3_000_000))
    ),
}
REFUSED: dict[tuple[str, str], tuple[Callable[[], bytes], type[MienError]]] = {
    ("a file that is cut off", "send it again"): (
        lambda: jpeg()[: len(jpeg()) // 2],
        ImageError,
    ),
    ("HEIC", "its decoders have no permissive license; save JPEG"): (
        lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        ImageError,
    ),
    ("more than 64 megapixels; of a JPEG that is read at reduced size 256", "scale it down"): (
        lambda: of_size(20_000, 20_000),
        TooLargeError,
    ),
}


def rotated() -> Image.Image:
    return PICTURE.transpose(Image.Transpose.ROTATE_180)


def text(length: int) -> object:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("workflow", "x" * length)
    return info


@pytest.mark.parametrize("row", READ, ids=lambda row: row[0])
def test_the_picture_is_read_as_the_page_says(row: tuple[str, str]) -> None:
    """The pixels are those of the picture."""
    pixels = images.read(READ[row]()).pixels.astype(int)
    assert np.abs(pixels - np.asarray(PICTURE)).mean() < 6


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_the_picture_is_refused_as_the_page_says(row: tuple[str, str]) -> None:
    """With an error that a client gets."""
    make, kind = REFUSED[row]
    with pytest.raises(kind):
        images.read(make(), min_side=SIDE)


def test_the_page_has_every_row() -> None:
    """And no other."""
    page = (ROOT / "docs" / "source" / "formats.md").read_text(encoding="utf-8")
    section = page.partition("## Pictures\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|") and "---" not in line]
    expected = [f"| {one} | {other} |" for one, other in [*READ, *REFUSED]]
    assert [row for row in rows if not row.startswith(("| picture |", "| refused |"))] == expected
