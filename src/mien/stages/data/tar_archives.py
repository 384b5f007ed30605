"""A tar as items of the store, plain or compressed with gzip, bzip2 or xz.

A compressed tar can only be read from its start, so its files are copied to a temporary folder in
one pass, under numbers: no name of an archive is ever a path on this machine.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

from mien.errors import DataError
from mien.storage.versions import Item

from .archives import Member, archive_items, hash_stream, is_data, require_limits
from .hash_cache import FileHashCache

_MAX_READ_BYTES = 64 << 20
"""A header with names that claims to be longer is refused before it is read."""
_DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)
_OPENERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar; reads no more than a sound header."""
    try:
        with _open(path) as stream, tarfile.TarFile(fileobj=cast(Any, stream)):
            return True
    except (OSError, *_DAMAGED):
        return False


def tar_items(path: Path, hashes: FileHashCache) -> AbstractContextManager[list[Item]]:
    """The files in a tar, readable while the block runs; an unchanged tar is not read again.

    Raises:
        DataError: it is damaged, empty, too large, or has something else than files and folders.
    """

    def open_tar(stack: ExitStack) -> _Tar:
        parent = hashes.path.parent
        parent.mkdir(parents=True, exist_ok=True)
        copies = stack.enter_context(TemporaryDirectory(prefix=".open-tar.", dir=parent))
        return _Tar(Path(copies), _copy_members(path, Path(copies)))

    return archive_items(path, hashes, open_tar, _DAMAGED)


@dataclass(frozen=True)
class _Tar:
    copies: Path
    files: list[Member]

    def members(self) -> list[Member]:
        return self.files

    def open(self, number: int) -> BinaryIO:
        return (self.copies / str(number)).open("rb")


def _copy_members(path: Path, folder: Path) -> list[Member]:
    members: list[Member] = []
    size = 0
    with _open(path) as stream, tarfile.TarFile(fileobj=cast(Any, stream)) as archive:
        for number, member in enumerate(archive):
            vars(archive)["members"] = []  # or it would keep them all
            size += member.size
            require_limits(path, number + 1, size)
            if not (member.isreg() or member.isdir()):
                raise DataError(
                    f"{path}: expected plain files, found a link or a device ({member.name}). Pack "
                    "it again with the files themselves (`tar -h`)."
                )
            if member.isreg() and is_data(member.name):
                content = archive.extractfile(member)
                assert content is not None, "a plain file"
                with (folder / str(number)).open("wb") as copy:
                    digest = hash_stream(cast(BinaryIO, content), copy)
                members.append(Member(number, member.name.removeprefix("./"), digest, member.size))
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DataError(f"{path} is damaged, or cut off: its end is missing. Fetch it again.")
    return members


class _BoundedReader(io.RawIOBase):
    """A stream that refuses to read more at once than any sound header needs."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _open(path: Path) -> _BoundedReader:
    with path.open("rb") as stream:
        opener = _OPENERS.get(stream.read(2))
    return _BoundedReader(cast(BinaryIO, opener(path, "rb") if opener else path.open("rb")))
