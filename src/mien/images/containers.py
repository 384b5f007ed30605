"""Image files without what is not the picture: EXIF, profiles, text, previews and trailers.

Pillow reads these parts when it opens a file, and refuses a sound picture for a fault in one of
them, or for its size. So `split` takes them out first, and Pillow sees the picture alone. Of WEBP,
Pillow reads none of them.
"""

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_METADATA_BYTES = 4 << 20
"""Larger profiles and texts are ignored, after decompression too; CMYK profiles have 2 MB."""
MAX_PARTS = 100_000
"""Segments of a JPEG or chunks of a PNG. Encoders write one for some kilobytes; small ones cost the
reader far more than the sender."""
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""The next marker of a JPEG: neither a byte of a scan (FF 00) nor a restart within one. Without the
fill bytes (FF) before it: a pattern with them takes quadratic time over a long run."""
_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_BETWEEN_SCANS = {0xC4, _SCAN, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), _COMMENT}
_JFIF, _ADOBE = 0xE0, 0xEE
"""The only application segments that say how to decode."""
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9}?)Exif", re.DOTALL)
"""The entry of an item with EXIF, near the start of an AVIF file."""
_AVIF_ENTRIES_BYTES = 1 << 16
_XMP_TEXT, _EXIF_TEXT = b"XML:com.adobe.xmp", b"Raw profile type exif"
_NAME_BYTES = 80
"""Of a PNG's texts, with the byte that ends it."""
_END_MARKER = b"\xff\xd9"
_FILLER = b"\x55" * 512 + b"".join(b"\xff%c" % (0xD0 + n) + b"\x55" * 64 for n in range(8))
"""Stands for bytes that may be missing at the end of a scan, with every restart marker."""


@dataclass
class ImageFile:
    """A file taken apart."""

    data: bytes
    """The picture alone, for a decoder."""
    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    scans: int = 1
    """Of a JPEG: of the picture itself, not of previews and of other pictures behind it."""
    progressive: bool = False
    padded: bytes | None = None
    """For a JPEG without end marker: the same with other bytes behind its last scan. The picture is
    complete where both decode to the same pixels."""
    _profile_parts: dict[int, bytes] = field(default_factory=dict)


def split(data: bytes, kind: str) -> ImageFile:
    """Take a file apart.

    Raises:
        ValueError: a JPEG that lacks scans, or a file of more than `MAX_PARTS`.
    """
    if kind == "JPEG":
        return _split_jpeg(data)
    if kind == "PNG":
        return _split_png(data)
    if kind == "AVIF":  # turned by properties of its own, ISO/IEC 23000-22; Pillow reads EXIF too
        entries = _AVIF_EXIF.sub(rb"\1free", data[:_AVIF_ENTRIES_BYTES])
        return ImageFile(entries + data[_AVIF_ENTRIES_BYTES:])
    return ImageFile(data)


def _split_jpeg(data: bytes) -> ImageFile:
    """Read the segments up to the end of the first picture, or of what can belong to it."""
    view = memoryview(data)  # whose parts are no copies
    file, parts, position = ImageFile(b"", scans=0), [view[:2]], 2
    number, ended = 0, False
    missing = {0: 1}  # by component, a bit for each frequency of coefficients without a last bit
    while match := _MARKER.search(data, position):
        number = _next_number(number)
        start, marker, body = match.start(), data[match.end() - 1], match.end() + 2
        if file.scans:
            parts.append(view[position:start])
            position = start
        stop = match.end() + int.from_bytes(data[match.end() : body])
        ended = marker == _END
        if ended or not missing or (file.scans and marker not in _BETWEEN_SCANS):
            break
        if marker == _START:
            position = match.end()
            continue
        if not body + 1 < stop <= len(data):
            break
        content = data[body:stop]
        if marker in _FRAMES:
            file.progressive = marker in _PROGRESSIVE
            missing = dict.fromkeys(content[6::3], (1 << 64) - 1)
        elif marker == _SCAN:
            file.scans += 1
            missing = _without_completed(missing, content)
        if not _read_segment(file, marker, content):
            parts.append(view[start:stop])
        position = stop
    else:
        parts.append(view[position:])
    if not file.scans or (missing and not ended):
        raise ValueError("scans are missing")
    parts.append(_without_fill_bytes(parts.pop()))
    file.data = b"".join([*parts, _END_MARKER])
    file.padded = None if ended else b"".join([*parts, _FILLER, _END_MARKER])
    file.icc_profile = b"".join(part for _, part in sorted(file._profile_parts.items()))
    return file


def _without_fill_bytes(part: memoryview) -> memoryview:
    """The end of a scan without bytes FF, which would be a marker together with a byte behind."""
    return memoryview(bytes(part).rstrip(b"\xff")) if part and part[-1] == 0xFF else part


def _without_completed(missing: Mapping[int, int], scan: bytes) -> dict[int, int]:
    """What is missing after a scan, by its header: the last bit of its coefficients is in it."""
    components = scan[1 : 1 + 2 * scan[0] : 2]
    first, last, approximation = scan[-3:]
    completed = 0 if approximation & 15 or last < first else (1 << last + 1) - (1 << first)
    left = {
        each: bits & ~completed if each in components else bits for each, bits in missing.items()
    }
    return {each: bits for each, bits in left.items() if bits}


def _read_segment(file: ImageFile, marker: int, content: bytes) -> bool:
    """Take what a segment holds beside the picture; whether it holds nothing of the picture."""
    if content.startswith(b"Exif\0\0"):
        file.exif = file.exif or content
    elif content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        file.xmp = file.xmp or content
    elif content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
        file._profile_parts.setdefault(content[12], content[14:])
    return marker == _COMMENT or (0xE0 <= marker < 0xF0 and marker not in (_JFIF, _ADOBE))


def _split_png(data: bytes) -> ImageFile:
    view = memoryview(data)  # whose parts are no copies
    file, parts, position, kind = ImageFile(b""), [view[:8]], 8, b""
    unread = {b"eXIf", b"iCCP", _XMP_TEXT, _EXIF_TEXT}  # of each name the first one counts
    number = 0
    while position < len(data) and kind != b"IEND":
        number = _next_number(number)
        stop = position + 12 + int.from_bytes(view[position : position + 4])
        kind, body = data[position + 4 : position + 8], view[position + 8 : stop - 4]
        is_text = kind in (b"tEXt", b"zTXt", b"iTXt")
        name = bytes(body[:_NAME_BYTES]).partition(b"\0")[0] if is_text else kind
        if name in unread and len(body) <= MAX_METADATA_BYTES:
            unread.remove(name)
            _read_metadata(file, kind, bytes(body))
        elif not is_text and name not in (b"eXIf", b"iCCP"):
            parts.append(view[position:stop])
        position = stop
    file.data = b"".join(parts)
    return file


def _next_number(number: int) -> int:
    """Count a part; raises ValueError above `MAX_PARTS`."""
    if number >= MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS:,} segments")
    return number + 1


def _read_metadata(file: ImageFile, kind: bytes, body: bytes) -> None:
    """Take what a chunk of a PNG says; EXIF as a text is in the form of ImageMagick."""
    name, _, text = body.partition(b"\0")
    if kind == b"eXIf":
        file.exif = body
    elif kind == b"iCCP":
        file.icc_profile = _inflated(text[1:])
    elif name == _XMP_TEXT:
        file.xmp = text
    elif not file.exif:
        lines = (_inflated(text[1:]) if kind == b"zTXt" else text).split(b"\n")
        try:
            file.exif = bytes.fromhex(b"".join(lines[3:]).decode("ascii"))
        except ValueError:
            return


def _inflated(data: bytes) -> bytes:
    """Decompressed data; empty where they are damaged or too many."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, MAX_METADATA_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail else inflated


def orientation(file: ImageFile) -> int:
    """How the picture lies, 1 (upright) to 8, as EXIF counts.

    Only the tag itself is read: faults elsewhere in EXIF do not matter. Without the tag, XMP
    decides. EXIF 2.32, section 4.6.4.
    """
    found = _orientation_tag(file.exif)
    if not found:
        match = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])\b", file.xmp)
        found = int(match[1]) if match else 1
    return found


def _orientation_tag(exif: bytes) -> int:
    """The tag's value, 1 to 8; 0 where there is none that can be used."""
    for _ in range(2):  # some writers repeat it
        exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}L", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == 0x0112:
                form = {1: "B", 3: "H", 4: "L"}[kind]
                (value,) = struct.unpack_from(order + form, exif, entry + 8)
                return value if 1 <= value <= 8 else 0
    except (struct.error, KeyError):
        pass
    return 0
