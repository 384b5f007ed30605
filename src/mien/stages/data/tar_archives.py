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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

from mien.errors import DataError
from mien.storage.versions import Item

from .archives import UNPACKED_LIMIT
from .folders import is_shadow
from .hash_cache import FileHashCache

MAX_MEMBERS = 5_000_000
_MAX_READ_BYTES = 64 << 20
"""A header with names that claims to be longer is refused before it is read."""
_CHUNK_BYTES = 1 << 20
_DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)
_OPENERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}
Member = tuple[int, str, str, int]
"""Number, name, SHA-256 and size of a file."""


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar; reads no more than a sound header."""
    try:
        with _open(path) as stream, tarfile.TarFile(fileobj=cast(Any, stream)):
            return True
    except (OSError, *_DAMAGED):
        return False


@contextmanager
def tar_items(path: Path, hashes: FileHashCache) -> Iterator[list[Item]]:
    """The files in a tar, readable while the block runs; an unchanged tar is not read again.

    Raises:
        DataError: it is damaged, empty, too large, or has something else than files and folders.
    """
    state = path.stat()
    with ExitStack() as stack:

        @cache
        def unpacked() -> tuple[Path, list[Member]]:
            parent = hashes.path.parent
            parent.mkdir(parents=True, exist_ok=True)
            folder = TemporaryDirectory(prefix=".open-tar.", dir=parent)
            copies = Path(stack.enter_context(folder))
            return copies, _copy_members(path, copies)

        def open_member(number: int) -> BinaryIO:
            return (unpacked()[0] / str(number)).open("rb")

        try:
            members = hashes.get(path.name, state)
            if members is None:
                members = unpacked()[1]
                hashes.put(path.name, state, members)
            yield [
                Item(name, content, size, partial(open_member, number))
                for number, name, content, size in members
            ]
        except _DAMAGED as error:
            raise DataError(f"{path} cannot be unpacked ({error}). Fetch it again.") from None


def _copy_members(path: Path, folder: Path) -> list[Member]:
    members: list[Member] = []
    left = UNPACKED_LIMIT
    with _open(path) as stream, tarfile.TarFile(fileobj=cast(Any, stream)) as archive:
        for number, member in enumerate(archive):
            vars(archive)["members"] = []  # or it would keep them all
            if number >= MAX_MEMBERS or member.size > left:
                raise DataError(
                    f"{path}: expected at most {UNPACKED_LIMIT / 1e9:.0f} GB and {MAX_MEMBERS:,} "
                    "files unpacked, found more. Unpack it yourself and give the folder."
                )
            if not (member.isreg() or member.isdir()):
                raise DataError(
                    f"{path}: expected plain files, found a link or a device ({member.name}). Pack "
                    "it again with the files themselves (`tar -h`)."
                )
            if member.isreg() and not any(map(is_shadow, PurePosixPath(member.name).parts)):
                left -= member.size
                content = archive.extractfile(member)
                assert content is not None, "a plain file"
                digest = _copy(content, folder / str(number))
                members.append((number, member.name.removeprefix("./"), digest, member.size))
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DataError(f"{path} is damaged, or cut off: its end is missing. Fetch it again.")
    if not members:
        raise DataError(f"{path} is a tar without files. Fetch it again.")
    return members


def _copy(content: Any, target: Path) -> str:
    state = sha256()
    with target.open("wb") as out:
        while chunk := content.read(_CHUNK_BYTES):
            state.update(chunk)
            out.write(chunk)
    return state.hexdigest()


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
