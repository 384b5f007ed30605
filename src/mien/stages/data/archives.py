"""A zip as items of the store, read without unpacking it to disk."""

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
from .hash_cache import FileHashCache

UNPACKED_LIMIT = 50e9
"""Bytes that a zip may unpack to; more counts as an attack."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
_CHUNK_BYTES = 1 << 20


@contextmanager
def archive_items(path: Path, hashes: FileHashCache) -> Iterator[list[Item]]:
    """The files in a zip, readable while the block runs; an unchanged zip is not read again.

    Raises:
        DataError: it is damaged, encrypted, empty, too large, or has a link.
    """
    state = path.stat()
    with ExitStack() as stack:

        @cache
        def open_zip() -> zipfile.ZipFile:
            return stack.enter_context(zipfile.ZipFile(path))

        def open_member(index: int) -> BinaryIO:
            return cast(BinaryIO, open_zip().open(open_zip().infolist()[index]))

        try:
            members = hashes.get(path.name, state)
            if members is None:
                members = _members(open_zip(), path)
                hashes.put(path.name, state, members)
            yield [
                Item(name, content, size, partial(open_member, index))
                for index, name, content, size in members
            ]
        except _DAMAGED as error:
            raise DataError(f"{path} cannot be unpacked ({error}). Fetch it again.") from None


def _members(archive: zipfile.ZipFile, path: Path) -> list[tuple[int, str, str, int]]:
    """Index, name, SHA-256 and size of every file in a zip."""
    members = [(index, each) for index, each in enumerate(archive.infolist()) if _is_data(each)]
    _check([member for _, member in members], path)
    return [
        (index, member.filename.replace("\\", "/"), _hash(archive, member), member.file_size)
        for index, member in console.track(members, f"read {path.name}")
    ]


def _hash(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    state = sha256()
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Not a folder, and not one of the shadow files of macOS."""
    parts = PurePosixPath(member.filename).parts
    return not member.is_dir() and not any(map(is_shadow, parts))


def _check(members: list[zipfile.ZipInfo], source: Path) -> None:
    if not members:
        raise DataError(f"{source} is a zip without files. Fetch it again.")
    size = sum(member.file_size for member in members)
    if size > UNPACKED_LIMIT:
        raise DataError(
            f"{source}: expected at most {UNPACKED_LIMIT / 1e9:.0f} GB unpacked, found "
            f"{size / 1e9:.0f} GB. Unpack it yourself and give the folder."
        )
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{source}: expected plain files, found a link ({member.filename}). Pack it again "
                "with the files that its links name."
            )
