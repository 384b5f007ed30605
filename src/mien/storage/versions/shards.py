"""Contents in shards: stored zips, named by their own SHA-256, with members named by theirs.

The same new contents make the same shards, byte by byte, wherever and whenever they are packed. A
shard that is there is whole, and never changes. Which files of which version the contents are is
not known here (`manifest.py`).
"""

import errno
import os
import shutil
import struct
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mien.errors import DataError
from mien.storage.files import sha256_file

from .manifest import Item
from .progress import Progress, silent

SHARD_BYTES = 512 * 1024 * 1024
"""Contents of one shard; a larger content has a shard of its own."""
_PIECE = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip can name."""
_DAMAGED = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error)
"""What `zipfile` ends with on bytes that are not what was written."""


class AlteredError(Exception):
    """A content that is not what its SHA-256 says, or that no shard holds."""

    def __init__(self, content: str, fault: str) -> None:
        super().__init__(fault)
        self.content = content


@dataclass(frozen=True)
class Shards:
    """All contents of a store."""

    folder: Path
    progress: Progress = silent

    def holding(self, wanted: Collection[str]) -> tuple[dict[str, int], set[str]]:
        """Names and sizes of the shards that hold some contents, and those contents that none
        holds; a shard that cannot be opened holds none."""
        left = set(wanted)
        found: dict[str, int] = {}
        for path in self.paths():
            before = len(left)
            left.difference_update(_members(path) or {})
            if len(left) < before:
                found[path.name] = path.stat().st_size
        return found, left

    def there(self, shards: Mapping[str, int]) -> bool:
        """Whether there are such shards of these sizes; false where none is named."""
        found = {path.name: path.stat().st_size for path in self.paths()}
        return bool(shards) and shards.items() <= found.items()

    def pack(self, items: Iterable[Item]) -> dict[str, int]:
        """Put contents that no shard holds yet into new shards, in the order of the items; return
        names and sizes of the shards that hold all of them now.

        Raises:
            DataError: an item is not what was said of it.
            OSError: there is no room.
        """
        known: dict[str, Item] = {}
        for item in items:
            known.setdefault(item.sha256, item)
        held, lacking = self.holding(known)
        if not lacking:
            return held
        new = [item for content, item in known.items() if content in lacking]
        self.folder.mkdir(parents=True, exist_ok=True)
        room(self.folder, sum(item.bytes for item in new))
        with self.progress("pack") as advance:
            done = 0
            for group in _groups(new):
                path = self._write(group)
                held[path.name] = path.stat().st_size
                done += len(group)
                advance(done, len(new))
        return held

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Each of some contents once, in pieces, in the order in which they lie in the shards.

        Raises:
            AlteredError: when the pieces end, if they are not what was packed; in the end, if a
                content is missing.
        """
        left = set(wanted)
        for path in self.paths():
            members = _members(path)
            if members is None or left.isdisjoint(members):
                continue
            with zipfile.ZipFile(path) as archive:
                for content in members:
                    if content in left:
                        left.remove(content)
                        yield content, _pieces(archive, content, path)
        if left:
            raise AlteredError(min(left), f"no shard in {self.folder} holds it")

    def faults(self) -> tuple[list[str], set[str]]:
        """Read every byte of every shard: what is wrong, in sentences; which contents are whole."""
        told: list[str] = []
        whole: set[str] = set()
        paths = self.paths()
        with self.progress("verify shards") as advance:
            for done, path in enumerate(paths, start=1):
                if sha256_file(path) != path.stem:
                    told.append(
                        f"{path} is not what its name says: it was altered or cut short. Delete "
                        "it, then `dvc pull`, or fetch the source again."
                    )
                whole.update(_whole(path))
                advance(done, len(paths))
        return told, whole

    def paths(self) -> list[Path]:
        """All shards, in order of their names."""
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


def save(pieces: Iterator[bytes], targets: Collection[Path]) -> None:
    """Write one content to new files.

    Raises:
        FileExistsError: one is there already.
    """
    first, *others = targets
    with first.open("xb") as out:
        for piece in pieces:
            out.write(piece)
    for path in others:
        with path.open("xb") as out, first.open("rb") as source:
            shutil.copyfileobj(source, out)


def room(folder: Path, size: int) -> None:
    """Make sure that so many bytes fit on the disk of a folder.

    Raises:
        OSError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        what = f"No room for {size / 1e9:.1f} GB ({free / 1e9:.1f} GB are free)"
        raise OSError(errno.ENOSPC, what, str(folder))


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    size = 0
    for item in items:
        if group and size + item.bytes > SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.bytes
    if group:
        yield group


def _append(archive: zipfile.ZipFile, item: Item) -> None:
    """The same bytes on every machine: no clock, no owner, no system."""
    info = zipfile.ZipInfo(item.sha256, date_time=_EPOCH)
    info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, item.bytes
    state, left = sha256(), item.bytes
    with item.open() as stream, archive.open(info, "w") as out:
        while (piece := stream.read(_PIECE)) and len(piece) <= left:
            left -= len(piece)
            state.update(piece)
            out.write(piece)
    if piece or left or state.hexdigest() != item.sha256:
        raise DataError(f"{item.name} changed while it was read. Fetch the source again.")


def _members(path: Path) -> Mapping[str, zipfile.ZipInfo] | None:
    """The contents that a shard says to hold, in their order; None where it cannot be opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.NameToInfo
    except (*_DAMAGED, OSError):
        return None


def _pieces(archive: zipfile.ZipFile, content: str, path: Path) -> Iterator[bytes]:
    state = sha256()
    try:
        with archive.open(content) as stream:
            while piece := stream.read(_PIECE):
                state.update(piece)
                yield piece
    except _DAMAGED as error:
        raise AlteredError(content, f"{path} was altered: {error}") from None
    if state.hexdigest() != content:
        raise AlteredError(content, f"{path} was altered")


def _whole(path: Path) -> Iterator[str]:
    """The contents of a shard that are what they are called."""
    members = _members(path)
    if members is None:
        return
    with zipfile.ZipFile(path) as archive:
        for content in members:
            try:
                for _ in _pieces(archive, content, path):
                    pass
            except (AlteredError, OSError):
                continue
            yield content
