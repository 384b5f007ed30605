"""A folder as items of the store: its plain files, and links to plain files within it."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from mien.errors import DataError
from mien.reporting import console
from mien.storage.versions import Item

from .seen import Seen

_SHADOWS = {"__MACOSX", ".git", ".DS_Store"}
_PIECE = 1 << 20
_READERS = 4
"""Threads that read and hash; with a warm disk two cores halve the time, a cold one gains more."""
_PART = 64
"""Files that a thread takes at once; handing over single small files costs as much as it gains."""


def is_shadow(name: str) -> bool:
    """Whether a file or folder is no data: what macOS leaves beside each file, and git's own."""
    return name in _SHADOWS or name.startswith("._")


def folder(path: Path, seen: Seen) -> list[Item]:
    """The files of a folder; those that have not changed are not read.

    Raises:
        DataError: there is none, or there is what cannot be kept: a link that leads out of the
            folder, to another folder or nowhere, a device.
    """
    states = dict(sorted(_files(path)))
    if not states:
        raise DataError(f"The folder {path} holds no file. Give the folder of the data set.")
    return _items(path, states, seen)


def single(path: Path, seen: Seen) -> list[Item]:
    """One file as a source of its own."""
    return _items(path.parent, {path.name: path.stat()}, seen)


def _items(path: Path, states: dict[str, os.stat_result], seen: Seen) -> list[Item]:
    known: dict[str, Any] = {name: seen.recall(name, state) for name, state in states.items()}
    unread = [name for name, facts in known.items() if facts is None]
    for name, facts in _read_all(path, unread):
        known[name] = facts
        seen.remember(name, states[name], facts)
    root = f"{path}{os.sep}"
    return [
        Item(name, content, size, partial(_open, root + name))
        for name, (content, size) in known.items()
    ]


def _read_all(path: Path, names: list[str]) -> Iterator[tuple[str, list[str | int]]]:
    """Each name with what `_read` finds out of its file."""
    parts = [names[start : start + _PART] for start in range(0, len(names), _PART)]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda part: [_read(path / name) for name in part], parts)
        for part in console.track(parts, "fingerprint"):
            yield from zip(part, next(found), strict=True)


def _open(path: str) -> BinaryIO:
    return Path(path).open("rb")


def _read(path: Path) -> list[str | int]:
    """SHA-256 and size, both of the bytes that were read."""
    state, size = sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            state.update(piece)
            size += len(piece)
    return [state.hexdigest(), size]


def _files(root: Path, inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of every file."""
    with os.scandir(root / inside) as entries:
        for entry in entries:
            if is_shadow(entry.name):
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
            f"{root / name} is a link to {target}; taken are a folder's own files and links to "
            "these. Put the files in place of the link (`cp -rL` does), then give that folder."
        )
    return target.stat()


def _plain(state: os.stat_result, name: str, root: Path) -> os.stat_result:
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{root / name} is neither a file nor a folder. Remove it from the data.")
    return state
