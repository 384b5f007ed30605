"""Writes pictures that no ordinary program writes: odd, forged, damaged, and bombs.

Everything is drawn and put together here; nothing is a photo. Knows file formats, no HTTP.
"""

import base64
import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.tasks.emotion.sample import draw_face_image

SIZE = (120, 160)
"""Width and height of the picture that all variants are made of."""
Pixels = NDArray[np.uint8]
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywt"
    "QFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT0//yQARCAAgACADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDSU/u5"
    "SYbkvFGtGvTxpzFRfxg0Gix5mm0lj9qQYHk8P3GdNjqaeW+hZ2G4evyTNzEk8IMTkLXpoDoGcLwn1sU9toNtJzS/hR8o"
    "Gp53qwCEBqVSIyRyIs5QG1xx8+NLrF+KYKA191VDajEADaAA3FkWhljhcQdwt9Mk53CG54QLSILTEsNNlzwj3VQLujpz"
    "Xweama0BaDWQOa4YU7ojeSy18zDSrF2GrNK4Ioz9YmSw1XOGac0HGPRrCo/NoOpRHZ3C4P/Z"
)
"""A drawn disc, 32 x 32, as `jpegtran -arithmetic` of libjpeg-turbo writes it."""


@cache
def face() -> Image.Image:
    """The picture that all variants are made of: a drawn face of at most 256 colours."""
    small = draw_face_image("happy").resize(SIZE, Image.Resampling.LANCZOS)
    return small.quantize(256).convert("RGB")


def grey() -> Image.Image:
    """The same without colour."""
    return face().convert("L")


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file that Pillow writes."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@cache
def plain() -> bytes:
    """The face as an ordinary PNG file."""
    return saved(face())


@cache
def plain_grey() -> bytes:
    """The grey face as an ordinary PNG file."""
    return saved(grey())


def flat(width: int, height: int, **options: Any) -> bytes:
    """A PNG file of one colour."""
    return saved(Image.new("RGB", (width, height), (90, 120, 60)), **options)


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    """A PNG chunk, with its own checksum or a forged one."""
    known = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", known)


def png_header(
    width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    """The signature and IHDR of a PNG file."""
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return SIGNATURE + chunk(b"IHDR", fields)


def png(rows: list[bytes], header: bytes, *more: bytes) -> bytes:
    """A PNG file of raw rows (without filter bytes), with `more` chunks before the pixels."""
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return header + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND")


def with_chunks(*more: bytes) -> bytes:
    """The plain face with `more` chunks behind its header."""
    data = plain()
    end = len(SIGNATURE) + 25
    return data[:end] + b"".join(more) + data[end:]


def interlaced() -> bytes:
    """The face as an interlaced PNG file (Adam7)."""
    pixels = np.asarray(face())
    rows = [
        row.tobytes()
        for top, left, down, right in (*ADAM7, (1, 0, 2, 1))
        for row in pixels[top::down, left::right]
    ]
    return png(rows, png_header(*SIZE, interlace=1))


def deep(picture: Image.Image) -> bytes:
    """A PNG file of 16 bits a channel."""
    pixels = np.asarray(picture).astype(">u2") * 257
    colour = 2 if pixels.ndim == 3 else 0
    header = png_header(picture.width, picture.height, 16, colour)
    return png([row.astype(">u2").tobytes() for row in pixels], header)


def two_bits() -> bytes:
    """A grey PNG file of 2 bits a pixel."""
    return png([bytes([0b00011011] * 8)] * 32, png_header(32, 32, 2, 0))


def png_bomb(width: int, height: int, megabytes: int) -> bytes:
    """A small PNG file whose pixel stream unpacks to far more than its size suggests."""
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
    return png_header(width, height) + chunk(b"IDAT", packed) + chunk(b"IEND")


def text_bomb(kind: bytes, megabytes: int) -> bytes:
    """The face with a text chunk (zTXt, iTXt, iCCP) that unpacks to many megabytes."""
    packed = zlib.compress(bytes(megabytes << 20), 9)
    middle = b"\x01\0\0\0" if kind == b"iTXt" else b"\0"
    return with_chunks(chunk(kind, b"note\0" + middle + packed))


def rotated(orientation: int, kind: str = "PNG") -> bytes:
    """The face as a camera held another way stores it, with the EXIF that says so."""
    ways = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    held = face().transpose(ways[orientation]) if orientation in ways else face()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    return saved(held, kind, exif=exif, **options)


@cache
def jpeg(**options: Any) -> bytes:
    """The face as a JPEG file."""
    return saved(face(), "JPEG", **{"quality": 90, **options})


def jpeg_with(*segments: bytes) -> bytes:
    """A JPEG file of the face with `segments` behind its first marker."""
    data = jpeg()
    return data[:2] + b"".join(segments) + data[2:]


def segment(marker: int, data: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_sized(width: int, height: int) -> bytes:
    """A JPEG file that says it is of another size."""
    data = bytearray(jpeg())
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_components(count: int) -> bytes:
    """A grey JPEG file that says it has so many components."""
    data = saved(grey(), "JPEG")
    start = data.index(b"\xff\xc0")
    length = struct.unpack(">H", data[start + 2 : start + 4])[0]
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(count))
    frame = segment(0xC0, data[start + 4 : start + 9] + bytes([count]) + parts)
    return data[:start] + frame + data[start + 2 + length :]


def ycck() -> bytes:
    """The face as a JPEG file of four components, marked as YCCK by Adobe's segment."""
    data = saved(face().convert("CMYK"), "JPEG", quality=90)
    place = data.index(b"Adobe") + 11
    return data[:place] + b"\x02" + data[place + 1 :]


def scan_bomb(scans: int, side: int = 2000) -> bytes:
    """A progressive JPEG file of one picture in very many empty scans: each costs a whole pass."""
    table = segment(0xDB, b"\0" + bytes([1] * 64))
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0")
    one_code = bytes([1, *[0] * 15, 0])
    huffman = segment(0xC4, b"\0" + one_code) + segment(0xC4, b"\x10" + one_code)
    first = segment(0xDA, b"\x01\x01\0\0\0\0")
    again = segment(0xDA, b"\x01\x01\0\x01\x3f\0")
    return b"\xff\xd8" + table + frame + huffman + first + again * scans + b"\xff\xd9"


@cache
def webp(**options: Any) -> bytes:
    """The face as a WEBP file, lossless by default."""
    return saved(face(), "WEBP", **{"lossless": True, "exact": True, **options})


def webp_canvas(width: int, height: int) -> bytes:
    """An animated WEBP file that says its canvas is of that size, with one tiny frame."""
    frame = saved(Image.new("RGB", (2, 2)), "WEBP", lossless=True)[12:]
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    tiny = struct.pack("<I", 1)[:3] * 2
    parts = _riff(b"VP8X", b"\x02\0\0\0" + size) + _riff(b"ANIM", bytes(6))
    parts += _riff(b"ANMF", bytes(6) + tiny + b"\x64\0\0\0" + frame)
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


def webp_forged(width: int, height: int) -> bytes:
    """A lossless WEBP file whose own header says another size (14 bits each)."""
    data = bytearray(webp())
    start = data.index(b"VP8L") + 9
    bits = (
        (width - 1)
        | (height - 1) << 14
        | int.from_bytes(data[start : start + 4], "little") >> 28 << 28
    )
    data[start : start + 4] = bits.to_bytes(4, "little")
    return bytes(data)


def animated(kind: str, frames: int = 3) -> bytes:
    """The face as the first picture of an animation."""
    others = [Image.new("RGB", face().size, (40 * number, 0, 0)) for number in range(1, frames)]
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    return saved(face(), kind, save_all=True, append_images=others, duration=50, **options)


def exif_segment(data: bytes) -> bytes:
    """A JPEG file with that as its EXIF."""
    return jpeg_with(segment(0xE1, b"Exif\0\0" + data))


def exif_entry(tag: int, kind: int, count: int, value: bytes, following: int = 0) -> bytes:
    """EXIF of one entry, little-endian."""
    entry = struct.pack("<HHHI", 1, tag, kind, count) + value.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + entry + struct.pack("<I", following)


def _riff(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
