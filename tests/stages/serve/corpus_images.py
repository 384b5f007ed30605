"""Pictures: cut off, flipped, forged, bombs, other types, and odd ones that are good."""

import struct
import zlib
from collections.abc import Iterator
from functools import partial

from . import corpus_files as files
from .corpus import CANARY, MAX_PIXELS, MAX_SIDE, Case, Make, expects, form, picture, posted
from .corpus_files import chunk, flat, jpeg_with, saved, segment, with_chunks

GOOD, DAMAGED, LARGE, OTHER = 200, 400, 413, 415
_MARK = CANARY.encode()
_WAYS: dict[str, Make] = {"JPEG": files.jpeg, "PNG": files.plain, "WEBP": files.webp}
_SNIFFED = {"JPEG": 3, "PNG": 8, "WEBP": 12}
_OTHERS = {
    "GIF": b"GIF89a\x01\0\x01\0\0\0\0;",
    "BMP": b"BM" + bytes(60),
    "TIFF": b"II*\0\x08\0\0\0" + bytes(40),
    "ICO": b"\0\0\x01\0\x01\0" + bytes(40),
    "PDF": b"%PDF-1.7\n%%EOF",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(40),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "HTML": b"<!DOCTYPE html><script>alert(1)</script>",
    "XML with entities": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(60),
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "zip": b"PK\x03\x04" + bytes(40),
    "gzip": b"\x1f\x8b\x08" + bytes(40),
    "WAV": b"RIFF\x24\0\0\0WAVEfmt " + bytes(30),
    "text": b"hello",
    "one byte": b"\xff",
    "NUL bytes": bytes(1000),
    "PNG of text mode": b"\x89PNG\n\x1a\n" + bytes(40),
}


def cases() -> Iterator[Case]:
    """Every case of pictures."""
    for part in (_types, _cut, _flipped, _bombs, _sizes, _metadata, _png, _jpeg, _webp, _same):
        yield from part()


def _one(name: str, make: Make, *statuses: int, like: Make | None = None) -> Case:
    slugs = {DAMAGED: "undecodable-image", LARGE: "too-large", OTHER: "unsupported-image-type"}
    return Case(
        name=f"picture: {name}",
        make=lambda: picture(make()),
        statuses=expects(*statuses),
        problem=slugs.get(statuses[0], "") if len(statuses) == 1 else "",
        like=(lambda: picture(like())) if like else None,
    )


def _types() -> Iterator[Case]:
    for name, content in _OTHERS.items():
        yield _one(f"is {name}", partial(_joined, content, _MARK), OTHER)
    yield _one("AVIF of nothing", lambda: b"\0\0\0\x18ftypavif" + bytes(40), DAMAGED)
    yield Case("picture: empty", lambda: picture(b""), expects(422), "malformed-request")


def _cut() -> Iterator[Case]:
    for kind, make in _WAYS.items():
        for length in (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 16, 20, 24, 33, 40, 64):
            status = OTHER if length < _SNIFFED[kind] else DAMAGED
            yield _one(f"{kind} of {length} bytes", partial(_head, make, length), status)
        for percent in (5, 15, 30, 50, 70, 85, 95):
            yield _one(f"{kind} cut at {percent} %", partial(_share, make, percent), DAMAGED)
        yield _one(f"{kind} without its last byte", partial(_head, make, -1), GOOD, DAMAGED)
    yield _one("PNG without IEND", partial(_head, files.plain, -12), GOOD, DAMAGED)
    yield _one("JPEG without its end", partial(_head, files.jpeg, -2), GOOD, DAMAGED)


def _flipped() -> Iterator[Case]:
    for kind, make in _WAYS.items():
        for percent in (2, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99):
            damaged = partial(_flip, make, percent)
            yield _one(f"{kind} flipped at {percent} %", damaged, GOOD, DAMAGED, LARGE)


def _bombs() -> Iterator[Case]:
    header = files.png_header(60_000, 60_000)
    yield _one("PNG says 60,000 x 60,000", lambda: files.png([b""], header), LARGE)
    yield _one("PNG bomb of that size", lambda: files.png_bomb(60_000, 60_000, 64), LARGE)
    yield _one("PNG bomb in few pixels", lambda: files.png_bomb(100, 100, 64), GOOD, DAMAGED)
    yield _one("PNG says 2^31 - 1", lambda: files.png([b""], _png_of(2**31 - 1)), LARGE)
    yield _one("PNG says 2^32 - 1", lambda: files.png([b""], _png_of(2**32 - 1)), LARGE, DAMAGED)
    yield _one("WEBP canvas 16,000", lambda: files.webp_canvas(16_000, 16_000), LARGE)
    yield _one("WEBP canvas 65,000", lambda: files.webp_canvas(65_000, 65_000), LARGE, DAMAGED)
    yield _one("WEBP canvas 2^24", lambda: files.webp_canvas(2**24, 2**24), LARGE, DAMAGED)
    yield _one("WEBP says 16,383", lambda: files.webp_forged(16_383, 16_383), LARGE)
    yield _one("JPEG says 65,500", lambda: files.jpeg_sized(65_500, 65_500), LARGE)
    yield _one("JPEG of 3,000 scans", lambda: files.scan_bomb(3000), GOOD)
    yield _one("JPEG of 12 scans", lambda: files.scan_bomb(12), GOOD)
    for kind in (b"zTXt", b"iTXt", b"iCCP"):
        name = kind.decode()
        yield _one(f"PNG {name} bomb", partial(files.text_bomb, kind, 24), GOOD, DAMAGED)


def _sizes() -> Iterator[Case]:
    side = int(MAX_PIXELS**0.5)
    good = {"1 x 1": (1, 1), "2 x 1": (2, 1), "3 x 3": (3, 3), "1 x 19,999": (1, 19_999)}
    good |= {"19,999 x 1": (19_999, 1), "longest side": (MAX_SIDE, 2), "tallest": (2, MAX_SIDE)}
    good |= {"as many pixels as may be": (side, side), "20,000 x 200": (20_000, 200)}
    for name, size in good.items():
        yield _one(name, partial(flat, *size), GOOD)
        yield Case(
            f"picture: {name}, for hands",
            lambda size=size: picture(flat(*size), "/predict/gesture"),
            expects(GOOD),
        )
    yield _one("one row too many", partial(flat, side, side + 1), LARGE)
    yield _one("one pixel too wide", partial(flat, MAX_SIDE + 1, 1), LARGE)
    yield _one("one pixel too tall", partial(flat, 1, MAX_SIDE + 1), LARGE)
    yield _one("JPEG as wide as may be", lambda: files.jpeg_sized(MAX_SIDE, 8), GOOD, DAMAGED)
    yield _one("JPEG says 19,999 x 1", lambda: files.jpeg_sized(19_999, 1), GOOD, DAMAGED)
    for name, size in (("width", (0, 5)), ("height", (5, 0)), ("size", (0, 0))):
        header = files.png_header(*size)
        yield _one(f"PNG of no {name}", partial(files.png, [b""], header), DAMAGED)
        yield _one(f"JPEG of no {name}", partial(files.jpeg_sized, *size), DAMAGED)


def _metadata() -> Iterator[Case]:
    plain = files.jpeg
    entry = files.exif_entry
    harmless = {
        "EXIF of nothing": b"",
        "EXIF cut off": b"II*\0\x08\0",
        "EXIF of no known order": b"XX*\0\x08\0\0\0\x01\0",
        "EXIF that points outside": b"II*\0" + struct.pack("<I", 2**31),
        "EXIF that points to itself": entry(0x0112, 3, 1, b"\x01", following=8),
        "EXIF with a huge count": entry(0x010E, 2, 2**31, b"\xff\xff\xff\x7f"),
        "EXIF of orientation 99": entry(0x0112, 3, 1, b"\x63\0"),
        "EXIF with orientation as text": entry(0x0112, 2, 4, b"six\0"),
        "EXIF with three orientations": entry(0x0112, 3, 3, b"\x1a\0\0\0"),
        "EXIF with orientation 1 / 0": entry(0x0112, 5, 1, b"\x08\0\0\0"),
        "EXIF of 60 kB": entry(0x010E, 2, 60_000, b"\x1a\0\0\0") + _MARK * 5000,
        "EXIF that nests in itself": entry(0x8769, 4, 1, b"\x08\0\0\0"),
        "EXIF with a camera's nonsense": entry(0x927C, 7, 2000, b"\x1a\0\0\0") + _MARK * 200,
    }
    for name, data in harmless.items():
        yield _one(name, partial(files.exif_segment, data), GOOD, like=plain)
    large = {
        "2 MB of comments": segment(0xFE, _MARK * 4000) * 45,
        "2 MB of EXIF segments": segment(0xE1, b"Exif\0\0" + _MARK * 4000) * 45,
        "ICC in 60 parts": _icc(60),
        "ICC of nonsense": segment(0xE2, b"ICC_PROFILE\0\x01\x01" + _MARK),
        "XMP of nonsense": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _MARK),
        "Photoshop's nonsense": segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + _MARK),
        "MPO of nonsense": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x05\0" + _MARK * 9),
        "FlashPix of nonsense": segment(0xE2, b"FPXR\0" + _MARK),
        "JFIF of nonsense": segment(0xE0, b"JFIF\0" + _MARK),
        "fill bytes": b"\xff" * 1000,
    }
    for name, part in large.items():
        yield _one(f"JPEG with {name}", partial(jpeg_with, part), GOOD, DAMAGED)
    raw = b"Raw profile type exif\0\nexif\n      9\nxyz" + _MARK
    yield _one("PNG with raw EXIF of nonsense", lambda: with_chunks(chunk(b"tEXt", raw)), GOOD)
    yield _one("PNG with EXIF of nonsense", lambda: with_chunks(chunk(b"eXIf", _MARK)), GOOD)


def _png() -> Iterator[Case]:
    header = files.png_header(4, 4)
    rows = [bytes(12)] * 4
    yield _one("PNG header with a bad CRC", lambda: _bad_crc(b"IHDR"), DAMAGED)
    yield _one("PNG pixels with a bad CRC", lambda: _bad_crc(b"IDAT"), GOOD, DAMAGED)
    yield _one("PNG without pixels", lambda: header + chunk(b"IEND"), DAMAGED)
    yield _one("PNG of the signature alone", lambda: header[:8], DAMAGED)
    yield _one("PNG header of 12 bytes", lambda: header[:8] + chunk(b"IHDR", bytes(12)), DAMAGED)
    yield _one("PNG of 4 bits RGB", lambda: files.png(rows, files.png_header(4, 4, 4)), DAMAGED)
    yield _one("PNG of colour type 9", lambda: files.png(rows, _coloured(9)), DAMAGED)
    yield _one("PNG of interlace 7", lambda: files.png(rows, _coloured(2, 7)), GOOD, DAMAGED)
    yield _one("PNG palette without PLTE", lambda: files.png(rows, _coloured(3)), GOOD, DAMAGED)
    yield _one("PNG with an unknown filter", lambda: _filtered(9), DAMAGED)
    yield _one("PNG with another unpacked end", lambda: _packed(b"\0"), DAMAGED)
    yield _one("PNG with pixels that do not unpack", lambda: _packed(_MARK), DAMAGED)
    yield _one("PNG of two headers", lambda: with_chunks(header[8:]), GOOD, DAMAGED)
    yield _one("PNG chunk of 2^31", lambda: header + struct.pack(">I", 2**31) + b"IDAT", DAMAGED)
    yield _one("PNG of bytes behind its end", lambda: files.plain() + _MARK * 9, GOOD)
    yield _one("PNG of 50,000 chunks", lambda: with_chunks(chunk(b"prVt") * 50_000), GOOD)
    yield _one("PNG of 2 bits", files.two_bits, GOOD)
    yield _one("APNG that has no frames", lambda: with_chunks(chunk(b"acTL", bytes(8))), GOOD)


def _jpeg() -> Iterator[Case]:
    for options in ({"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}):
        name = next(iter(options))
        make = partial(files.jpeg, **options)
        yield _one(f"JPEG of the same pixels, {name}", make, GOOD, like=files.jpeg)
    for name, subsampling in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
        yield _one(f"JPEG {name}", partial(files.jpeg, subsampling=subsampling), GOOD)
    yield _one("JPEG CMYK", lambda: saved(files.face().convert("CMYK"), "JPEG"), GOOD)
    yield _one("JPEG YCCK", files.ycck, GOOD)
    yield _one("JPEG arithmetic", lambda: files.ARITHMETIC, GOOD)
    for count in (2, 5, 255):
        yield _one(f"JPEG of {count} components", partial(files.jpeg_components, count), DAMAGED)
    yield _one("JPEG of 4 forged components", lambda: files.jpeg_components(4), GOOD, DAMAGED)
    yield _one("MPO", lambda: files.animated("MPO"), GOOD)
    yield _one("JPEG of two pictures", lambda: files.jpeg() * 2, GOOD, like=files.jpeg)
    yield _one("JPEG without tables", lambda: _without(0xC4), GOOD, DAMAGED)
    yield _one("JPEG without quantisation", lambda: _without(0xDB), DAMAGED)
    yield _one("JPEG of markers alone", lambda: b"\xff\xd8\xff\xd9", DAMAGED)
    yield _one("lossless JPEG", lambda: _reframed(0xC3), DAMAGED)
    yield _one("12-bit JPEG", lambda: _twelve_bits(), DAMAGED)


def _webp() -> Iterator[Case]:
    yield _one("WEBP lossy", partial(files.webp, lossless=False), GOOD)
    yield _one("WEBP with alpha", lambda: _alpha_webp(), GOOD)
    yield _one("WEBP canvas 2,000 around 2", lambda: files.webp_canvas(2000, 2000), GOOD)
    yield _one("WEBP that says another size", lambda: files.webp_forged(300, 300), DAMAGED)
    yield _one("WEBP without a picture", lambda: b"RIFF\x04\0\0\0WEBP", DAMAGED)
    yield _one("WEBP of RIFF size 0", lambda: _riff_size(0), GOOD, DAMAGED)
    yield _one("WEBP of RIFF size 2^32 - 1", lambda: _riff_size(2**32 - 1), GOOD, DAMAGED)


def _same() -> Iterator[Case]:
    face, grey = files.face, files.grey
    coloured: dict[str, Make] = {
        "PNG interlaced": files.interlaced,
        "PNG of 16 bits": lambda: files.deep(face()),
        "PNG with opaque alpha": lambda: saved(face().convert("RGBA")),
        "PNG palette": lambda: saved(face().quantize(256)),
        "PNG uncompressed": lambda: saved(face(), compress_level=0),
        "PNG with text": lambda: with_chunks(chunk(b"tEXt", b"note\0" + _MARK)),
        "PNG with unknown chunks": lambda: with_chunks(chunk(b"prVt", _MARK) * 50),
        "PNG with gamma": lambda: with_chunks(chunk(b"gAMA", struct.pack(">I", 45455))),
        "WEBP lossless": files.webp,
        "WEBP animated": lambda: files.animated("WEBP"),
        "APNG": lambda: files.animated("PNG"),
        **{f"PNG held as {turn}": partial(files.rotated, turn) for turn in range(1, 9)},
        **{f"WEBP held as {turn}": partial(files.rotated, turn, "WEBP") for turn in (3, 6, 8)},
    }
    for name, make in coloured.items():
        yield _one(f"same in {name}", make, GOOD, like=files.plain)
    greys: dict[str, Make] = {
        "grey and alpha": lambda: saved(grey().convert("LA")),
        "grey of 16 bits": lambda: files.deep(grey()),
        "grey as RGB": lambda: saved(grey().convert("RGB")),
        "grey palette": lambda: saved(grey().convert("P")),
    }
    for name, make in greys.items():
        yield _one(f"same in {name}", make, GOOD, like=files.plain_grey)
    disposition = 'form-data; name="file"; filename="a.gif"'
    yield Case(
        "picture: same under another type",
        lambda: posted(form(files.plain(), disposition, b"Content-Type: image/gif\r\n")),
        expects(GOOD),
        like=lambda: picture(files.plain()),
    )


def _joined(content: bytes, mark: bytes) -> bytes:
    return content + mark if len(content) > 1 else content


def _head(make: Make, length: int) -> bytes:
    return make()[:length]


def _share(make: Make, percent: int) -> bytes:
    data = make()
    return data[: len(data) * percent // 100]


def _flip(make: Make, percent: int) -> bytes:
    data = bytearray(make())
    data[len(data) * percent // 100] ^= 0xFF
    return bytes(data)


def _png_of(side: int) -> bytes:
    return files.png_header(side, side)


def _coloured(colour: int, interlace: int = 0) -> bytes:
    return files.png_header(4, 4, 8, colour, interlace)


def _bad_crc(kind: bytes) -> bytes:
    data = bytearray(files.plain())
    start = data.index(kind)
    length = struct.unpack(">I", data[start - 4 : start])[0]
    data[start + 4 + length] ^= 0xFF
    return bytes(data)


def _filtered(kind: int) -> bytes:
    packed = zlib.compress(bytes([kind, *[7] * 12]) * 4)
    return _coloured(2) + chunk(b"IDAT", packed) + chunk(b"IEND")


def _packed(data: bytes) -> bytes:
    return _coloured(2) + chunk(b"IDAT", data) + chunk(b"IEND")


def _without(marker: int) -> bytes:
    data = files.jpeg()
    while (start := data.find(bytes([0xFF, marker]))) >= 0:
        length = struct.unpack(">H", data[start + 2 : start + 4])[0]
        data = data[:start] + data[start + 2 + length :]
    return data


def _reframed(marker: int) -> bytes:
    return files.jpeg().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


def _twelve_bits() -> bytes:
    data = bytearray(files.jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    return bytes(data)


def _alpha_webp() -> bytes:
    clear = files.face().convert("RGBA")
    clear.putalpha(128)
    return saved(clear, "WEBP")


def _riff_size(size: int) -> bytes:
    data = files.webp()
    return data[:4] + struct.pack("<I", size) + data[8:]


def _icc(parts: int) -> bytes:
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([part + 1, parts]) + bytes(60_000))
        for part in range(parts)
    )
