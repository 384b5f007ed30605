"""A zip or a tar as items of the store: what both have in common."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol

from mien.errors import DataError
from mien.storage.versions import Item

from .folders import is_shadow
from .hash_cache import FileHashCache

UNPACKED_LIMIT = 50e9
"""Bytes that an archive may unpack to; more counts as an attack."""
MAX_MEMBERS = 5_000_000
_CHUNK_BYTES = 1 << 20


class Member(NamedTuple):
    """A file in an archive; kept as a JSON list in the cache of hashes."""

    number: int
    """Its place, which finds it again."""
    name: str
    sha256: str
    size: int


class Archive(Protocol):
    """An opened archive."""

    def members(self) -> list[Member]:
        """Every file that is data."""

    def open(self, number: int) -> BinaryIO:
        """The content of the member of that number."""


@contextmanager
def archive_items(
    path: Path,
    hashes: FileHashCache,
    open_archive: Callable[[ExitStack], Archive],
    damaged: tuple[type[Exception], ...],
) -> Iterator[list[Item]]:
    """The files in an archive, readable while the block runs; an unchanged archive is opened only
    where one of its files is.

    Args:
        path: the archive.
        hashes: of the archives that were read before.
        open_archive: opens it until the stack is closed.
        damaged: the errors of a reader that meets damage.

    Raises:
        DataError: it is damaged or empty, or what `open_archive` raises.
    """
    state = path.stat()
    with ExitStack() as stack:
        archive = cache(lambda: open_archive(stack))

        def open_member(number: int) -> BinaryIO:
            return archive().open(number)

        try:
            members: Sequence[Sequence[object]] | None = hashes.get(path.name, state)
            if members is None:
                members = archive().members()
                hashes.put(path.name, state, members)
            if not members:
                raise DataError(f"{path} is an archive without files. Fetch it again.")
            yield [
                Item(each.name, each.sha256, each.size, partial(open_member, each.number))
                for each in (Member(*values) for values in members)  # type: ignore[arg-type]
            ]
        except damaged as error:
            raise DataError(f"{path} cannot be unpacked ({error}). Fetch it again.") from None


def require_limits(path: Path, files: int, size_bytes: float) -> None:
    """Refuse an archive that would unpack to more than a machine is expected to hold."""
    if files > MAX_MEMBERS or size_bytes > UNPACKED_LIMIT:
        raise DataError(
            f"{path}: expected at most {UNPACKED_LIMIT / 1e9:.0f} GB and {MAX_MEMBERS:,} files "
            "unpacked, found more. Unpack it yourself and give the folder."
        )


def is_data(name: str) -> bool:
    """Whether the file of that path is none of the shadow files of macOS and the like."""
    return not any(map(is_shadow, PurePosixPath(name).parts))


def hash_stream(stream: BinaryIO, copy: BinaryIO | None = None) -> str:
    """SHA-256 of a stream, which is copied on the way."""
    state = sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        state.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return state.hexdigest()
