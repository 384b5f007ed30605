"""Contents in shards: uncompressed zips named by their SHA-256, with members named by theirs.

The same new contents give the same shards, byte by byte, on every machine. A shard is complete and
never changes. `manifest.py` knows which files of which version the contents are.
"""

import errno
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from mien.errors import DataError
from mien.storage.files import sha256_file

from .manifest import Item

SHARD_BYTES = 512 * 1024 * 1024
"""Maximum size of the contents of a shard; a larger content has a shard of its own."""
_CHUNK_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time stamp of a zip."""
_HEADER = struct.Struct("<26x2H")
"""Before a member in a zip: the lengths of its name and of what follows the name are its end."""
_DAMAGED = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error)
"""What `zipfile` raises for damaged files."""


Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a progress bar with a title; it is moved by how many steps are done, and how many there
are."""


@contextmanager
def silent(title: str) -> Iterator[Callable[[int, int], None]]:
    """Report no progress."""
    yield lambda done, total: None


class AlteredError(Exception):
    """A content that does not match its SHA-256, or that is in no shard."""

    def __init__(self, content: str, message: str) -> None:
        super().__init__(message)
        self.content = content


@dataclass(frozen=True)
class Shards:
    """All shards of a store."""

    folder: Path
    progress: Progress = silent

    def locate(self, digests: Collection[str]) -> tuple[dict[str, int], set[str]]:
        """Names and sizes of the shards with these contents, and the missing contents; a shard
        that cannot be opened has none."""
        missing = set(digests)
        shards: dict[str, int] = {}
        for path in self.paths():
            before = len(missing)
            missing.difference_update(_members(path) or {})
            if len(missing) < before:
                shards[path.name] = path.stat().st_size
        return shards, missing

    def remove(self, contents: Collection[str], needed: Collection[str]) -> int:
        """Delete the shards that hold any of these contents and none that is needed; return their
        bytes."""
        freed = 0
        for path in self.paths():
            members = set(_members(path) or {})
            if members & set(contents) and not members & set(needed):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def exist(self, shards: Mapping[str, int]) -> bool:
        """Whether all these shards exist with these sizes; False for no shards."""
        existing = {path.name: path.stat().st_size for path in self.paths()}
        return bool(shards) and shards.items() <= existing.items()

    def pack(self, items: Iterable[Item]) -> dict[str, int]:
        """Pack contents that are in no shard into new shards, in the order of the items; return
        names and sizes of the shards with all contents.

        Raises:
            DataError: an item does not match its SHA-256 or size.
            OSError: the disk is full.
        """
        by_digest: dict[str, Item] = {}
        for item in items:
            by_digest.setdefault(item.sha256, item)
        shards, missing = self.locate(by_digest)
        if not missing:
            return shards
        new = [item for digest, item in by_digest.items() if digest in missing]
        self.folder.mkdir(parents=True, exist_ok=True)
        check_free_space(self.folder, sum(item.size_bytes for item in new))
        with self.progress("pack") as advance:
            packed = 0
            for group in _groups(new):
                path = self._write(group)
                shards[path.name] = path.stat().st_size
                packed += len(group)
                advance(packed, len(new))
        return shards

    def read(self, digests: Collection[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Each of these contents once, in chunks, in the order of the shards.

        Raises:
            AlteredError: after the last chunk, if the content does not match its SHA-256; at the
                end, if a content is missing.
        """
        left = set(digests)
        for path in self.paths():
            members = _members(path)
            if members is None or left.isdisjoint(members):
                continue
            with path.open("rb") as shard:
                for content, member in members.items():
                    if content in left:
                        left.remove(content)
                        yield content, _chunks(shard, member, path)
        if left:
            raise AlteredError(min(left), f"it is in no shard of {self.folder}")

    def verify(self) -> tuple[list[str], set[str]]:
        """Read every byte of every shard; return errors, in sentences, and the intact contents."""
        errors: list[str] = []
        intact: set[str] = set()
        paths = self.paths()
        with self.progress("verify shards") as advance:
            for count, path in enumerate(paths, start=1):
                if sha256_file(path) != path.stem:
                    errors.append(
                        f"{path} does not match its name: it was changed or truncated. Delete "
                        "it, then `dvc pull`, or fetch the source again."
                    )
                intact.update(_intact(path))
                advance(count, len(paths))
        return errors, intact

    def paths(self) -> list[Path]:
        """All shards, sorted by name."""
        return sorted(self.folder.glob("*.zip"))

    def _write(self, group: list[Item]) -> Path:
        temporary = self.folder / f".new-{group[0].sha256}.{os.getpid()}"
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for item in group:
                    _append(archive, item)
            return temporary.replace(self.folder / f"{sha256_file(temporary)}.zip")
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename or str(self.folder)) from None
        finally:
            temporary.unlink(missing_ok=True)


def write_new(chunks: Iterator[bytes], targets: Collection[str]) -> None:
    """Write one content to new files; their names are text because a `Path` costs as much as a
    small file.

    Raises:
        FileExistsError: a file exists.
    """
    first, *copies = targets
    count, chunk = 0, b""
    with open(first, "xb") as out:  # noqa: PTH123
        for count, chunk in enumerate(chunks, start=1):  # noqa: B007  of the last one
            out.write(chunk)
    for path in copies:
        with open(path, "xb") as copy:  # noqa: PTH123
            if count <= 1:
                copy.write(chunk)
                continue
            with Path(first).open("rb") as source:
                shutil.copyfileobj(source, copy)


def check_free_space(folder: Path, size_bytes: int) -> None:
    """Check that so many bytes fit on the disk of a folder.

    Raises:
        OSError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        cause = f"No space for {size_bytes / 1e9:.1f} GB ({free / 1e9:.1f} GB are free)"
        raise OSError(errno.ENOSPC, cause, str(folder))


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    size = 0
    for item in items:
        if group and size + item.size_bytes > SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.size_bytes
    if group:
        yield group


def _append(archive: zipfile.ZipFile, item: Item) -> None:
    """Add a content with the same bytes on every machine: no time, no owner, no system."""
    info = zipfile.ZipInfo(item.sha256, date_time=_EPOCH)
    info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, item.size_bytes
    state, left = sha256(), item.size_bytes
    with item.open() as stream, archive.open(info, "w") as out:
        while (chunk := stream.read(_CHUNK_BYTES)) and len(chunk) <= left:
            left -= len(chunk)
            state.update(chunk)
            out.write(chunk)
    if chunk or left or state.hexdigest() != item.sha256:
        raise DataError(f"{item.name} changed while it was read. Fetch the source again.")


def _members(path: Path) -> Mapping[str, zipfile.ZipInfo] | None:
    """The contents listed in a shard, in their order; None if it cannot be opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.NameToInfo
    except (*_DAMAGED, OSError):
        return None


def _chunks(shard: BinaryIO, member: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    """One content, read past zipfile, which takes longer to open a small member than to read it;
    the SHA-256 covers all that zipfile checks."""
    state, left = sha256(), member.file_size
    try:
        shard.seek(member.header_offset)
        shard.seek(sum(_HEADER.unpack(shard.read(_HEADER.size))), os.SEEK_CUR)
        while chunk := shard.read(min(left, _CHUNK_BYTES)):
            left -= len(chunk)
            state.update(chunk)
            yield chunk
    except _DAMAGED as error:
        raise AlteredError(member.filename, f"{path} was changed: {error}") from None
    if state.hexdigest() != member.filename:
        raise AlteredError(member.filename, f"{path} was changed")


def _intact(path: Path) -> Iterator[str]:
    """The contents of a shard that match their SHA-256."""
    members = _members(path)
    if members is None:
        return
    with path.open("rb") as shard:
        for content, member in members.items():
            try:
                for _ in _chunks(shard, member, path):
                    pass
            except (AlteredError, OSError):
                continue
            yield content
