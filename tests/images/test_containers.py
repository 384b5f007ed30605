"""Promises of `mien.images.containers`: what is beside a picture costs nobody the picture."""

import io
import struct
import time
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien import images
from mien.errors import ImageError
from mien.images.containers import ImageFile

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by EXIF orientation."""
ORIENTATION = 0x0112
PNG_START = b"\x89PNG\r\n\x1a\n"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize(
    (96, 72)
)
JPEGS = {
    "plain": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "all colors": {"subsampling": 0},
    "restarts": {"restart_marker_blocks": 3},
}
SIZES = {1: "B", 2: "s", 3: "H", 4: "L", 5: "LL", 7: "s", 9: "l", 11: "f", 12: "d", 16: "Q"}
"""Struct codes by type of an EXIF value."""
TRAILER = b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data\0\0\0\x18ftypmp42"


def saved(kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, kind, **options)
    return stream.getvalue()


def directory(entries: Sequence[tuple[int, int, int, bytes]], order: str) -> bytes:
    """EXIF of entries: tag, type, count, value."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(f"{order}LH", 8, len(entries))
    position, rows, values = 8 + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in entries:
        rows += struct.pack(f"{order}HHL", tag, kind, count)
        if len(value) <= 4:
            rows += value.ljust(4, b"\0")
        else:
            rows += struct.pack(f"{order}L", position + len(values))
            values += value
    return head + rows + bytes(4) + values


def with_exif(kind: str, exif: bytes) -> bytes:
    """The picture, stored without loss of pixels beyond those of its type, and EXIF as it is."""
    if kind == "JPEG":
        block = b"Exif\0\0" + exif
        data = saved()
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    if kind == "PNG":
        return with_chunks(b"eXIf", exif)
    return saved("WEBP", lossless=True, exif=exif)


def with_chunks(*names_and_contents: bytes) -> bytes:
    """The picture as PNG with more chunks before its pixels."""
    data = saved("PNG")
    chunks = b""
    for name, content in zip(names_and_contents[::2], names_and_contents[1::2], strict=True):
        body = name + content
        chunks += struct.pack(">L", len(content)) + body + struct.pack(">L", zlib.crc32(body))
    return data[:33] + chunks + data[33:]  # after the header


@st.composite
def exif_blocks(draw: st.DrawFn) -> tuple[bytes, int]:
    """EXIF of any entries, right and wrong, and the orientation that it names."""
    order = draw(st.sampled_from("<>"))
    orientation = draw(st.integers(0, 9))
    entry = st.tuples(
        st.integers(0, 0xFFFF).filter(lambda tag: tag != ORIENTATION),
        st.sampled_from([*SIZES, 0, 13, 99]),
        st.integers(0, 3) | st.just(0xFFFFFFFF),
        st.binary(max_size=24),
    )
    entries = [*draw(st.lists(entry, max_size=6))]
    named = (ORIENTATION, 3, 1, struct.pack(f"{order}H", orientation))
    entries.insert(draw(st.integers(0, len(entries))), named)
    return directory(entries, order), orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@given(block=exif_blocks())
def test_exif_turns_the_picture_and_changes_nothing_else(
    kind: str, block: tuple[bytes, int]
) -> None:
    """Whatever entries stand beside the orientation, of whatever type."""
    exif, orientation = block
    plain = Image.fromarray(images.decode(with_exif(kind, b"")))
    turn = UPRIGHT.get(orientation)
    expected = np.asarray(plain if turn is None else plain.transpose(turn))
    assert np.array_equal(images.decode(with_exif(kind, exif)), expected)


@pytest.mark.skipif("AVIF" not in images.FORMATS, reason="Pillow was built without AVIF")
@given(block=exif_blocks())
def test_exif_of_avif_changes_nothing(block: tuple[bytes, int]) -> None:
    """Its own properties turn an AVIF, as in browsers."""
    placeholder = Image.Exif()
    placeholder[0x010E] = "A" * 300
    data = saved("AVIF", exif=placeholder)
    end = data.index(b"A" * 300) + 300
    start = max(data.rfind(b"II*\0", 0, end), data.rfind(b"MM\0*", 0, end))
    exif = block[0][: end - start].ljust(end - start, b"\0")
    odd = data[:start] + exif + data[end:]
    assert np.array_equal(images.decode(odd), images.decode(saved("AVIF")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@given(exif=st.binary(max_size=80) | st.binary(max_size=60).map(b"II*\0\x08\0\0\0".__add__))
def test_any_bytes_as_exif_cost_nothing(kind: str, exif: bytes) -> None:
    """The pixels stay, in one of eight orientations."""
    plain = Image.fromarray(images.decode(with_exif(kind, b"")))
    turned = [plain, *(plain.transpose(turn) for turn in UPRIGHT.values())]
    pixels = images.decode(with_exif(kind, exif))
    assert any(np.array_equal(pixels, np.asarray(each)) for each in turned)


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value"),
    [
        (0x0131, 5, 1, struct.pack("<LL", 12, 1)),  # Software as RATIONAL
        (0x010E, 11, 1, struct.pack("<f", 1.5)),  # ImageDescription as FLOAT
        (0x8769, 16, 1, b"\xff" * 8),  # pointer as LONG8, beyond the file
        (0x011A, 2, 3, b"72\0"),  # XResolution as ASCII
    ],
)
def test_an_odd_entry_does_not_leave_a_photo_unturned(
    tag: int, kind: int, count: int, value: bytes
) -> None:
    """As public reports have them: each made the service fail, or answer for a lying hand."""
    entries = sorted([(ORIENTATION, 3, 1, struct.pack("<H", 3)), (tag, kind, count, value)])
    expected = images.decode(saved())[::-1, ::-1]
    assert np.array_equal(images.decode(with_exif("JPEG", directory(entries, "<"))), expected)


def test_orientation_in_xmp_and_in_texts_of_png_is_read() -> None:
    """XMP where EXIF has none, and EXIF as ImageMagick writes it."""
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='3'/>"
    data = saved()
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    turned = images.decode(data)[::-1, ::-1]
    assert np.array_equal(images.decode(data[:2] + segment + data[2:]), turned)
    exif = directory([(ORIENTATION, 3, 1, struct.pack("<H", 3))], "<")
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    turned = np.asarray(PICTURE)[::-1, ::-1]
    for chunk in (
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        (b"tEXt", b"Raw profile type exif\0" + text),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>3</tiff:Orientation>"),
    ):
        assert np.array_equal(images.decode(with_chunks(*chunk)), turned), chunk


@pytest.mark.parametrize("name", JPEGS)
@given(trailer=st.binary(max_size=600))
def test_a_jpeg_needs_no_end_marker(name: str, trailer: bytes) -> None:
    """Panoramas and motion photos: a whole picture, no end marker, then a trailer of any bytes."""
    data = saved(**JPEGS[name])
    expected = images.decode(data)
    for more in (trailer, TRAILER + trailer):
        assert np.array_equal(images.decode(data + more), expected)
    assert np.array_equal(images.decode(data[:-2] + TRAILER), expected)
    assert np.array_equal(images.decode(data[:-2]), expected)


@pytest.mark.parametrize("name", JPEGS)
@given(cut=st.floats(0.3, 0.97))
def test_a_jpeg_that_is_cut_off_is_not_taken_for_one(name: str, cut: float) -> None:
    """Also in a restart interval, and between the scans of a progressive one."""
    data = saved(**JPEGS[name])
    with pytest.raises(ImageError, match="cut off or damaged"):
        images.decode(data[: int(len(data) * cut)])


def test_scans_of_other_pictures_in_the_file_do_not_count() -> None:
    """Previews and gain maps lie behind the picture."""
    data = saved("MPO", progressive=True, save_all=True, append_images=[PICTURE] * 3)
    file = images.containers.split(data, "JPEG")
    assert file.scans == images.containers.split(saved(progressive=True), "JPEG").scans
    assert np.array_equal(images.decode(data), images.decode(saved(progressive=True)))


def test_scans_behind_a_complete_picture_are_not_read() -> None:
    """Each would cost as much as the picture; a sender has ten bytes for one."""
    data = saved(progressive=True)
    last = data.rindex(b"\xff\xda")
    more = data[:-2] + data[last:-2] * 500 + b"\xff\xd9"
    file = images.containers.split(more, "JPEG")
    assert file.scans == images.containers.split(data, "JPEG").scans
    assert np.array_equal(images.decode(more), images.decode(data))


LARGE_CHUNKS: Mapping[str, tuple[bytes, bytes]] = {
    "text": (b"tEXt", b"workflow\0" + b"x" * 3_000_000),
    "compressed text": (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(80_000_000))),
    "damaged text": (b"zTXt", b"workflow\0\0nonsense"),
    "profile": (b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000))),
    "profile that is a bomb": (b"iCCP", b"p\0\0" + zlib.compress(bytes(80_000_000))),
    "damaged profile": (b"iCCP", b"p\0\0nonsense"),
}


@pytest.mark.parametrize("name", LARGE_CHUNKS)
def test_large_and_damaged_chunks_of_a_png_cost_nothing(name: str) -> None:
    """As generators of pictures and scanners write them."""
    assert np.array_equal(images.decode(with_chunks(*LARGE_CHUNKS[name])), np.asarray(PICTURE))


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


SMALL_PARTS = {
    "segments": (b"\xff\xd8", b"\xff\xdb\0\4ab"),
    "comments": (b"\xff\xd8", b"\xff\xfe\0\4ab"),
    "starts": (b"\xff\xd8", b"\xff\xd8"),
    "chunks": (PNG_START, chunk(b"prVt", b"")),
    "texts": (PNG_START, chunk(b"tEXt", b"a\0b")),
}


@pytest.mark.parametrize("name", SMALL_PARTS)
def test_the_parts_of_a_file_are_bounded(name: str) -> None:
    """Each costs the reader many times its bytes; an upload of 64 MB could have ten million."""
    start, part = SMALL_PARTS[name]
    data = start + part * (images.containers.MAX_PARTS + 1)
    with pytest.raises(ImageError, match="more than 100,000"):
        images.decode(data + b"\xff" * 3)


def split_fill_bytes(count: int) -> None:
    images.containers.split(b"\xff\xd8" + b"\xff" * count + b"\0" + saved(), "JPEG")


def split_chunks(count: int) -> None:
    data = PNG_START + chunk(b"prVt", bytes(1000)) * (count // 8)
    images.containers.split(data, "PNG")


def read_repeated_exif(count: int) -> None:
    images.containers.orientation(ImageFile(b"", b"Exif\0\0" * (count * 10)))


LONG = {"fill bytes": split_fill_bytes, "chunks": split_chunks, "EXIF": read_repeated_exif}


@pytest.mark.parametrize("name", LONG)
def test_the_time_grows_with_the_bytes_and_not_with_their_square(name: str) -> None:
    def seconds(size: int) -> float:
        """Of the fastest of several: what else the machine does makes some slower, none faster."""
        taken = []
        for _ in range(10):
            start = time.thread_time()
            LONG[name](size)
            taken.append(time.thread_time() - start)
        return min(taken)

    # 64 times the bytes: 64 times the seconds, or 4,096 times if they grew with the square.
    assert seconds(32_000) < 640 * seconds(500)


def test_one_profile_and_one_text_are_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these chunks has 4 kB and unpacks to 4 MB."""
    inflated: list[int] = []
    original = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda: inflated.append(1) or original())
    bomb = zlib.compress(bytes(images.containers.MAX_METADATA_BYTES))
    chunks = (b"iCCP", b"p\0\0" + bomb, b"zTXt", b"Raw profile type exif\0\0" + bomb)
    assert np.array_equal(images.decode(with_chunks(*chunks * 20)), np.asarray(PICTURE))
    assert len(inflated) == 2
