"""The files of a source by path, and how paths that other programs wrote are matched to them.

Paths are relative to the source, with `/`. Such paths were often written on another machine: the
case, the form of accents (macOS), the folders above the data set and the separator may differ.
"""

import os
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
     ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pnm", ".jp2", ".j2k", ".mpo", ".jxl", ".tga",
     ".ico", ".pcx", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".exr", ".svg"}
)  # fmt: skip
"""Files that are images, whether they can be read or not."""
_HIDDEN = ("@eaDir", "__MACOSX")
_LAST = chr(0x10FFFF)


class FileTree:
    """An index of the files below a folder. Nothing is opened."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = sorted(_walk(root))
        self.hidden: tuple[str, ...] = tuple(path for path, is_hidden in paths if is_hidden)
        """Files in hidden folders or with hidden names: caches and thumbnails of programs."""
        self.files: tuple[str, ...] = tuple(path for path, is_hidden in paths if not is_hidden)
        """All others, sorted."""
        self.images: tuple[str, ...] = tuple(
            path for path in self.files if suffix(path) in IMAGE_SUFFIXES
        )
        """The images among them, by their names."""
        self._files = _Names(self.files)
        self._folders = _Names(sorted({parent for path in self.files for parent in parents(path)}))

    def path(self, name: str) -> Path:
        """Where a file is on this machine."""
        return self.root / name

    def read(self, name: str) -> bytes:
        with open(f"{self.root}/{name}", "rb") as stream:  # noqa: PTH123  a Path costs as much
            return stream.read()

    def file(self, path: str) -> str | None:
        """The file of this path, whatever its case; None without one or with several."""
        return self._files.exact(path)

    def folder(self, path: str) -> str | None:
        """The folder of this path, likewise; "" is the source itself."""
        return "" if path in ("", ".") else self._folders.exact(path)

    def file_ending(self, path: str, min_parts: int = 1) -> str | None:
        """The only file whose path ends as this one, by the longest ending that exists.

        An ending of fewer than `min_parts` names does not count.
        """
        return self._files.ending(path, min_parts)

    def folder_ending(self, path: str, min_parts: int = 1) -> str | None:
        """The only folder whose path ends as this one, likewise."""
        return self._folders.ending(path, min_parts)

    def below(self, folder: str) -> Sequence[str]:
        """The files of a folder and of the folders in it."""
        if not folder:
            return self.files
        start = bisect_left(self.files, f"{folder}/")
        return self.files[start : bisect_left(self.files, f"{folder}/{_LAST}")]


class _Names:
    """Paths by their exact, their folded and their last name."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._exact = frozenset(paths)

    @cached_property
    def _folded(self) -> Mapping[str, list[str]]:
        return _grouped((fold(path), path) for path in self._paths)

    @cached_property
    def _last(self) -> Mapping[str, list[str]]:
        return _grouped((fold(path.rpartition("/")[2]), path) for path in self._paths)

    def exact(self, path: str) -> str | None:
        if path in self._exact:
            return path
        same = self._folded.get(fold(path), ())
        return same[0] if len(same) == 1 else None

    def ending(self, path: str, min_parts: int) -> str | None:
        parts = split_path(path)
        candidates = self._last.get(fold(parts[-1]), ()) if parts else ()
        for start in range(len(parts) - min_parts + 1):
            tail = "/" + fold("/".join(parts[start:]))
            matches = [each for each in candidates if f"/{fold(each)}".endswith(tail)]
            if matches:
                return matches[0] if len(matches) == 1 else None
        return None


def fold(path: str) -> str:
    """A path in the form in which paths of all systems are compared."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def join(folder: str, path: str) -> str:
    """A path seen from a folder, without `.` and with `..` resolved; `..` at the top stays."""
    parts: list[str] = [] if _normal(path).startswith("/") else folder.split("/")
    for part in _normal(path).split("/"):
        if part == ".." and parts and parts[-1] not in ("", ".."):
            parts.pop()
        else:
            parts.append(part)
    return "/".join(part for part in parts if part not in ("", "."))


def split_path(path: str) -> list[str]:
    """The names in a path, without `.` and `..`."""
    return [part for part in _normal(path).split("/") if part not in ("", ".", "..")]


def parents(path: str) -> list[str]:
    """The folders of a path, the innermost first; without the source itself."""
    folders: list[str] = []
    while "/" in path:
        path = path.rpartition("/")[0]
        folders.append(path)
    return folders


def suffix(path: str) -> str:
    """The ending of a file's name in lower case, with its dot."""
    name, dot, ending = path.rpartition("/")[2].rpartition(".")
    return (dot + ending).lower() if name else ""


def stem(name: str) -> str:
    """A path without its ending: the common name of an image and its label file."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)


def _normal(path: str) -> str:
    return path.replace("\\", "/")


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _walk(root: Path, inside: str = "", in_hidden: bool = False) -> Iterator[tuple[str, bool]]:
    """Every file, and whether it or a folder above it is hidden."""
    with os.scandir(root / inside) as entries:
        for entry in entries:
            is_hidden = in_hidden or entry.name.startswith(".") or entry.name in _HIDDEN
            if entry.is_dir():
                yield from _walk(root, f"{inside}{entry.name}/", is_hidden)
            else:
                yield inside + entry.name, is_hidden
