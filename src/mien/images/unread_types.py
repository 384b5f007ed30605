"""Files of pictures and videos that are not read here: what they are, and how to convert them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from posixpath import splitext


@dataclass(frozen=True)
class UnreadType:
    """A kind of files."""

    name: str
    """In the plural."""
    remedy: str


_RAW = UnreadType("Camera raw files", "develop them to JPEG (`darktable-cli FILE FILE.jpg`)")
_HEIC = UnreadType("HEIC pictures", "convert them with `heif-convert FILE FILE.jpg`")
_VIDEO = UnreadType("Videos", "take pictures out of them with `ffmpeg -i FILE frame-%05d.jpg`")
_DRAWING = UnreadType("Layered or vector drawings", "export them as PNG")
_OTHER = "convert them with `magick FILE FILE.png`"
UNREAD_TYPES: Mapping[str, UnreadType] = {
    **dict.fromkeys((".heic", ".heif"), _HEIC),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"), _RAW),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"), _VIDEO),
    **dict.fromkeys((".svg", ".psd", ".ai"), _DRAWING),
    **dict.fromkeys((".jxl", ".exr"), UnreadType("JPEG XL or EXR pictures", _OTHER)),
}
"""By the ending of the file's name."""
CONVERTIBLE = UnreadType("Pictures in BMP, TIFF or GIF", _OTHER)


def unread_notes(
    paths: Iterable[str], types: Mapping[str, UnreadType] = UNREAD_TYPES
) -> Iterator[str]:
    """A sentence for each kind of files among these that is not read."""
    by_type: dict[UnreadType, list[str]] = {}
    for path in paths:
        if kind := types.get(splitext(path)[1].lower()):
            by_type.setdefault(kind, []).append(path)
    for kind, files in by_type.items():
        yield (
            f"{kind.name} not readable here: {len(files):,} (first: {files[0]}). To use them, "
            f"{kind.remedy}."
        )
