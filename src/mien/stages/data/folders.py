"""A folder as items of the store: its plain files, and links to plain files inside it."""

import os
import stat
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import DataError
from mien.reporting import console
from mien.storage.versions import Item

from .hash_cache import FileHashCache

DRAWN_MARK = ".mien-drawn"
"""`mien data checkout` writes this file next to drawn data; it is not part of the data."""
_SHADOWS = {"__MACOSX", ".git", ".DS_Store", DRAWN_MARK}
_CHUNK_BYTES = 1 << 20
_READERS = 4
"""Threads that read and hash. With a warm disk two cores halve the time; a cold disk gains more."""
_FILES_PER_TASK = 64
"""Files that a thread takes at once; the transfer of single small files costs what it gains."""


def is_shadow(name: str) -> bool:
    """Whether a file or folder is no data: shadow files of macOS, the folder of git, the mark of
    drawn data."""
    return name in _SHADOWS or name.startswith("._")


def folder_items(
    path: Path, hashes: FileHashCache, entries: Container[str] | None = None
) -> list[Item]:
    """The files of a folder; unchanged files are not read again.

    Args:
        path: the folder.
        hashes: of the files that were read before.
        entries: the files and folders in it that count; None for all of them.

    Raises:
        DataError: no files, or what cannot be stored: a device, or a link out of the folder, to a
            folder or to nothing.
    """
    states = dict(sorted(_files(path, entries=entries)))
    if not states:
        raise DataError(f"The folder {path} holds no file. Give the folder of the data set.")
    return _items(path, states, hashes)


def file_items(path: Path, hashes: FileHashCache) -> list[Item]:
    """A single file as a source."""
    return _items(path.parent, {path.name: path.stat()}, hashes)


def _items(path: Path, states: dict[str, os.stat_result], hashes: FileHashCache) -> list[Item]:
    hashed: dict[str, Any] = {name: hashes.get(name, state) for name, state in states.items()}
    unread = [name for name, value in hashed.items() if value is None]
    for name, value in _hash_all(path, unread):
        hashed[name] = value
        hashes.put(name, states[name], value)
    root = f"{path}{os.sep}"
    return [
        Item(name, content, size, partial(_open, root + name))
        for name, (content, size) in hashed.items()
    ]


def _hash_all(path: Path, names: list[str]) -> Iterator[tuple[str, list[str | int]]]:
    """Each name with SHA-256 and size of its file."""
    parts = [
        names[start : start + _FILES_PER_TASK] for start in range(0, len(names), _FILES_PER_TASK)
    ]
    with ThreadPoolExecutor(_READERS) as pool:
        hashed = pool.map(lambda part: [_hash(path / name) for name in part], parts)
        for part in console.track(parts, "fingerprint"):
            yield from zip(part, next(hashed), strict=True)


def _open(path: str) -> BinaryIO:
    return Path(path).open("rb")


def _hash(path: Path) -> list[str | int]:
    """SHA-256 and size of the bytes that were read."""
    state, size = sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            state.update(chunk)
            size += len(chunk)
    return [state.hexdigest(), size]


def _files(
    root: Path, inside: str = "", entries: Container[str] | None = None
) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of every file."""
    with os.scandir(root / inside) as listing:
        for entry in listing:
            if is_shadow(entry.name) or (entries is not None and entry.name not in entries):
                continue
            name = inside + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _files(root, f"{name}/")
            elif entry.is_symlink():
                yield name, _target(root, name)
            else:
                yield name, _plain(entry.stat(), name, root)


def _target(root: Path, name: str) -> os.stat_result:
    target = Path(os.path.realpath(root / name))
    if not target.is_file() or not target.is_relative_to(os.path.realpath(root)):
        raise DataError(
            f"{root / name}: expected a file of the folder or a link to one, found a link to "
            f"{target}. Replace links by files (`cp -rL`), then give that folder."
        )
    return target.stat()


def _plain(state: os.stat_result, name: str, root: Path) -> os.stat_result:
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{root / name} is neither a file nor a folder. Remove it from the data.")
    return state
