"""A zip as items of the store, read without being unpacked to disk."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from mien.errors import DataError
from mien.reporting import console
from mien.storage.versions import Item

from .folders import is_shadow
from .seen import Seen

UNPACKED_LIMIT = 50e9
"""Bytes that a zip may unpack to; more is taken for an attack."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
_PIECE = 1 << 20


@contextmanager
def archive(path: Path, seen: Seen) -> Iterator[list[Item]]:
    """The files in a zip, readable while the block runs; one that did not change is not read.

    Raises:
        DataError: it is damaged, encrypted, empty, too large, or holds a link.
    """
    state = path.stat()
    with ExitStack() as stack:

        @cache
        def opened() -> zipfile.ZipFile:
            return stack.enter_context(zipfile.ZipFile(path))

        def reading(place: int) -> BinaryIO:
            return cast(BinaryIO, opened().open(opened().infolist()[place]))

        try:
            found = seen.recall(path.name, state)
            if found is None:
                found = _contents(opened(), path)
                seen.remember(path.name, state, found)
            yield [
                Item(name, content, size, partial(reading, place))
                for place, name, content, size in found
            ]
        except _DAMAGED as error:
            raise DataError(f"{path} cannot be unpacked ({error}). Fetch it again.") from None


def _contents(opened: zipfile.ZipFile, path: Path) -> list[tuple[int, str, str, int]]:
    """Place, name, SHA-256 and size of every file in a zip."""
    members = [(place, each) for place, each in enumerate(opened.infolist()) if _is_data(each)]
    _check([member for _, member in members], path)
    return [
        (place, member.filename.replace("\\", "/"), _hash(opened, member), member.file_size)
        for place, member in console.track(members, f"read {path.name}")
    ]


def _hash(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    state = sha256()
    with opened.open(member) as stream:
        while piece := stream.read(_PIECE):
            state.update(piece)
    return state.hexdigest()


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Not a folder, and not one of the shadow files that macOS packs beside each file."""
    parts = PurePosixPath(member.filename).parts
    return not member.is_dir() and not any(map(is_shadow, parts))


def _check(members: list[zipfile.ZipInfo], source: Path) -> None:
    if not members:
        raise DataError(f"{source} is an archive without files. Fetch it again.")
    size = sum(member.file_size for member in members)
    if size > UNPACKED_LIMIT:
        raise DataError(
            f"{source} would unpack to {size / 1e9:.0f} GB; up to {UNPACKED_LIMIT / 1e9:.0f} GB "
            "are taken. Unpack it yourself and give the folder."
        )
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{source} holds a link ({member.filename}); only plain files are taken. "
                "Pack it anew with the files that its links name."
            )
