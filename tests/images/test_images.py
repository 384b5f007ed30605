"""Promises of `mien.images`: any picture becomes upright RGB, or is refused for a reason."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien import images
from mien.errors import ImageError, ImageTypeError, TooLargeError
from mien.images import Limits

MIN_SIDE = 40
HELD = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture lies in the file, by EXIF orientation."""
RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)


GRADUAL = Image.fromarray(PIXELS).resize((333, 250), Image.Resampling.BICUBIC)
"""A picture of at least six times as many pixels as are enough, with odd sides."""


def averaged(pixels: images.Pixels, times: int) -> images.Pixels:
    return np.asarray(Image.fromarray(pixels).reduce(times))


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_lossless_types_come_back_as_they_were(kind: str) -> None:
    """A picture decodes to the very pixels that were stored."""
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (images.decode(encoded(Image.fromarray(PIXELS), kind, **options)) == PIXELS).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """However a camera was held, the picture comes out upright."""
    upright = Image.fromarray(PIXELS)
    held = upright.transpose(HELD[orientation]) if orientation in HELD else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (images.decode(encoded(held, exif=exif)) == PIXELS).all()


def test_modes_agree_on_the_same_grey_picture() -> None:
    """Grey, 16-bit grey, palette, opaque alpha and CMYK give the same pixels as RGB."""
    grey = PIXELS[..., 0]
    wanted = np.repeat(grey[..., None], 3, axis=2)
    plain = Image.fromarray(grey)
    variants = {
        "L": encoded(plain),
        "I;16": encoded(Image.fromarray(grey.astype(np.uint16) * 257)),
        "P": encoded(plain.convert("P")),
        "RGBA": encoded(plain.convert("RGBA")),
        "LA": encoded(plain.convert("LA")),
    }
    for mode, data in variants.items():
        assert (images.decode(data) == wanted).all(), mode
    cmyk = images.decode(encoded(Image.fromarray(wanted).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(cmyk.astype(int) - wanted).max() <= 6


def test_transparency_is_laid_on_white() -> None:
    """What cannot be seen is white, not whatever colour lies under it."""
    hidden = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert (images.decode(encoded(hidden)) == 255).all()


OTHER_TYPES = {
    b"": "known type",
    b"<svg/>": "known type",
    b"hello": "known type",
    b"GIF89a....": "found GIF",
    b"BM" + bytes(60): "found BMP",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "found HEIC.*Save it as JPEG.*Most Compatible",
    b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix": "found HEIC",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom": "known type",
}


@pytest.mark.parametrize("data", OTHER_TYPES)
def test_other_types_are_refused(data: bytes) -> None:
    """The content decides on the type, and the message names it and what is taken."""
    with pytest.raises(ImageTypeError, match=OTHER_TYPES[data]) as refused:
        images.decode(data)
    assert "expected JPEG, PNG, WEBP" in str(refused.value)


@pytest.mark.skipif("AVIF" not in images.FORMATS, reason="Pillow was built without AVIF")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_decoded_upright(orientation: int) -> None:
    """As cameras of Android save photos."""
    held = GRADUAL.transpose(HELD[orientation]) if orientation in HELD else GRADUAL
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = images.decode(encoded(held, "AVIF", quality=95, exif=exif))
    assert np.abs(pixels.astype(int) - np.asarray(GRADUAL)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@given(cut=st.floats(0.05, 0.9))
def test_a_cut_off_picture_is_refused_and_never_another_error(kind: str, cut: float) -> None:
    """Wherever the transfer broke off, the message says that the picture is damaged."""
    data = encoded(Image.fromarray(PIXELS), kind)
    with pytest.raises(ImageError):
        images.decode(data[: max(12, int(len(data) * cut))])


def test_limits_are_checked_on_the_header() -> None:
    """Too many pixels and too long a side are refused, with what is allowed."""
    data = encoded(Image.fromarray(PIXELS))
    with pytest.raises(TooLargeError, match="megapixels"):
        images.decode(data, Limits(pixels=1000))
    with pytest.raises(TooLargeError, match="longer side"):
        images.decode(data, Limits(side=63))
    assert images.decode(data, Limits(pixels=64 * 48, side=64)).shape == (48, 64, 3)


def test_measures_tell_dark_from_bright_and_sharp_from_flat() -> None:
    """Brightness and sharpness order pictures as a person would."""
    dark, bright = np.full((9, 9, 3), 20, np.uint8), np.full((9, 9, 3), 220, np.uint8)
    assert images.image_stats(dark)["brightness"] < images.image_stats(bright)["brightness"]
    assert images.image_stats(dark)["sharpness"] == 0 < images.image_stats(PIXELS)["sharpness"]
    assert images.image_stats(np.zeros((1, 1, 3), np.uint8))["sharpness"] == 0


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
def test_measures_are_those_of_the_formula(seed: int, height: int, width: int) -> None:
    """Mean of the luma, and variance of its Laplacian, as written down."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    luma = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    beside = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    wanted = {"brightness": luma.mean(), "sharpness": (beside - 4 * luma[1:-1, 1:-1]).var()}
    assert images.image_stats(pixels) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of each damage
def test_damaged_exif_does_not_cost_the_picture() -> None:
    """An orientation that cannot be read is passed over; the pixels are what they are."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(Image.fromarray(PIXELS), "JPEG", exif=exif, quality=95))
    start = data.index(b"Exif")
    for place in range(start + 6, start + 30):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        assert images.decode(bytes(damaged)).size == PIXELS.size


LARGE = {
    "RGB": encoded(GRADUAL, "JPEG", quality=90),
    "progressive": encoded(GRADUAL, "JPEG", quality=90, progressive=True),
    "all colours": encoded(GRADUAL, "JPEG", quality=90, subsampling=0),
    "grey": encoded(GRADUAL.convert("L"), "JPEG", quality=90),
    "CMYK": encoded(GRADUAL.convert("CMYK"), "JPEG", quality=90),
    "two in one": encoded(GRADUAL, "MPO", save_all=True, append_images=[GRADUAL], quality=90),
    "PNG": encoded(GRADUAL),
    "palette": encoded(GRADUAL.convert("P")),
    "alpha": encoded(GRADUAL.convert("RGBA")),
    "16-bit": encoded(Image.fromarray(np.asarray(GRADUAL)[..., 0].astype(np.uint16) * 257)),
    "WEBP": encoded(GRADUAL, "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_picture_is_read_at_reduced_size(kind: str) -> None:
    """Whatever its type: a quarter, here, of each side, and what decoding and averaging give."""
    read = images.read(LARGE[kind], min_side=MIN_SIDE)
    assert read.size == GRADUAL.size
    assert read.pixels.shape == (63, 84, 3)
    wanted = averaged(images.decode(LARGE[kind]), 4).astype(int)
    # The last column and row are of one pixel only: a JPEG's block goes on beyond the picture.
    assert np.abs(read.pixels - wanted)[:-1, :-1].mean() < 1
    assert np.abs(read.pixels - wanted)[:-1, :-1].max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_that_was_held_otherwise_is_turned(orientation: int) -> None:
    """Reduced pixels are upright, and so is the reported size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = images.read(encoded(GRADUAL, "JPEG", exif=exif), min_side=MIN_SIDE)
    lying = Image.fromarray(images.read(encoded(GRADUAL, "JPEG"), min_side=MIN_SIDE).pixels)
    again = Image.fromarray(turned.pixels)
    held = again.transpose(HELD[orientation]) if orientation in HELD else again
    assert (np.asarray(held) == np.asarray(lying)).all()
    assert turned.size == (GRADUAL.size if orientation < 5 else GRADUAL.size[::-1])


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    min_side=st.integers(1, 50),
    kind=st.sampled_from(["JPEG", "PNG"]),
)
def test_enough_is_left_whatever_the_size(
    width: int, height: int, min_side: int, kind: str
) -> None:
    """The shorter side keeps what is enough, and less than twice as much (rounded up)."""
    read = images.read(encoded(Image.new("L", (width, height)), kind), min_side=min_side)
    assert read.size == (width, height)
    shorter = min(read.pixels.shape[:2])
    if min(width, height) < 2 * min_side:
        assert read.pixels.shape == (height, width, 3)
    else:
        assert min_side <= shorter <= 2 * min_side
    times = 2 ** int(np.log2(max(1, min(width, height) // min_side)))
    assert read.pixels.shape == (-(-height // times), -(-width // times), 3)


@pytest.mark.parametrize("quality", [75, 95])
def test_a_picture_below_twice_enough_keeps_every_pixel(quality: int) -> None:
    """What is not reduced is decoded to the same bits as ever."""
    data = encoded(GRADUAL, "JPEG", quality=quality)
    whole = np.asarray(Image.open(io.BytesIO(data)))
    for min_side in (None, 126, 1000):
        assert (images.read(data, min_side=min_side).pixels == whole).all()
    assert images.read(data, min_side=125).pixels.shape == (125, 167, 3)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["RGB", "progressive", "grey", "CMYK", "PNG", "WEBP"])
def test_a_large_picture_that_is_cut_off_is_refused(kind: str, cut: float) -> None:
    """Reading at reduced size does not pass over what is missing."""
    data = LARGE[kind]
    with pytest.raises(ImageError):
        images.read(data[: int(len(data) * cut)], min_side=MIN_SIDE)


@pytest.mark.parametrize(("kind", "times"), [("RGB", 4), ("progressive", 2), ("PNG", 1)])
def test_a_jpeg_that_is_decoded_at_reduced_size_may_be_larger(kind: str, times: int) -> None:
    """The limit is on what decoding costs, and the larger size is bounded too."""
    pixels = 333 * 250
    assert images.read(LARGE[kind], Limits(-(-pixels // times)), MIN_SIDE).size == (333, 250)
    with pytest.raises(TooLargeError, match="megapixels"):
        images.read(LARGE[kind], Limits((pixels - 1) // times), MIN_SIDE)
    with pytest.raises(TooLargeError, match="megapixels"):
        images.read(LARGE[kind], Limits(pixels - 1))
    with pytest.raises(TooLargeError, match="longer side"):
        images.read(LARGE["RGB"], Limits(side=332), MIN_SIDE)


@pytest.mark.parametrize("size", [(8192, 6144), (16320, 12240), (40000, 4000)])
def test_photos_of_large_sensors_and_panoramas_pass_by_default(size: tuple[int, int]) -> None:
    """Sensors have up to 200 megapixels; beyond the limit, nothing is decoded."""
    assert images.read(_resized(size), min_side=640).size == size
    with pytest.raises(TooLargeError, match="at most 256 megapixels"):
        images.read(_resized((17000, 16000)), min_side=640)
    with pytest.raises(TooLargeError, match="at most 64 megapixels"):
        images.read(_resized((16320, 12240)))


def _resized(size: tuple[int, int]) -> bytes:
    """A JPEG whose header names a size; a decoder fills with grey what is missing."""
    data = bytearray(encoded(Image.new("L", (64, 64), 128), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(data)


def test_what_is_measured_does_not_depend_on_the_type_that_was_sent() -> None:
    """A reduced JPEG and a reduced PNG of one picture are as bright and as sharp."""
    one, two = (
        images.image_stats(images.read(LARGE[k], min_side=MIN_SIDE).pixels) for k in ("RGB", "PNG")
    )
    assert one == pytest.approx(two, rel=0.02)
