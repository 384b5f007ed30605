"""A zip as items of the store, read without unpacking it to disk."""

import io
import lzma
import stat
import zipfile
import zlib
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from mien.errors import DataError
from mien.reporting import console
from mien.storage.versions import Item

from .archives import Member, archive_items, hash_stream, is_data, require_limits
from .hash_cache import FileHashCache

KEPT_BYTES = 128 * 1024 * 1024
"""Contents that stay in memory from their fingerprint until they are stored: to open small ones a
second time takes longer than to read them."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


def zip_items(path: Path, hashes: FileHashCache) -> AbstractContextManager[list[Item]]:
    """The files in a zip, readable while the block runs; an unchanged zip is not read again.

    Raises:
        DataError: it is damaged, encrypted, empty, too large, or has a link.
    """

    def open_zip(stack: ExitStack) -> _Zip:
        return _Zip(path, stack.enter_context(zipfile.ZipFile(path)))

    return archive_items(path, hashes, open_zip, _DAMAGED)


@dataclass
class _Zip:
    path: Path
    file: zipfile.ZipFile
    contents: dict[int, bytes] = field(default_factory=dict, repr=False)
    """Contents by number, until they are stored."""
    free_bytes: int = field(default_factory=lambda: KEPT_BYTES)

    def members(self) -> list[Member]:
        files = [
            (number, each)
            for number, each in enumerate(self.file.infolist())
            if not each.is_dir() and is_data(each.filename)
        ]
        require_limits(self.path, len(files), sum(each.file_size for _, each in files))
        for _, each in files:
            if stat.S_ISLNK(each.external_attr >> 16):
                raise DataError(
                    f"{self.path}: expected plain files, found a link ({each.filename}). Pack it "
                    "again with the files that its links name."
                )
        return [
            Member(
                number,
                each.filename.replace("\\", "/"),
                self._hash(number, each.file_size),
                each.file_size,
            )
            for number, each in console.track(files, f"read {self.path.name}")
        ]

    def open(self, number: int) -> BinaryIO:
        content = self.contents.pop(number, None)  # an item is stored once
        return self._unpack(number) if content is None else io.BytesIO(content)

    def _unpack(self, number: int) -> BinaryIO:
        return cast(BinaryIO, self.file.open(self.file.infolist()[number]))

    def _hash(self, number: int, size_bytes: int) -> str:
        with self._unpack(number) as stream:
            if size_bytes > self.free_bytes:
                return hash_stream(stream)
            content = stream.read()
        self.free_bytes -= len(content)
        self.contents[number] = content
        return sha256(content).hexdigest()
