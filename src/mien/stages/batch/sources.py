"""What there is to score: the pictures of a folder, the files that a CSV names, or its rows.

Always in the same order, one after the other: memory does not grow with their number, but for the
names of one folder. Knows no task by name and no result.
"""

import csv
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mien import images
from mien.errors import DataError, MienError, RequestError, TooLargeError
from mien.task import Request, Task

ENDINGS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic"}
"""Files that claim to be pictures; each gets a row, be it an error. Others, by their content."""
COLUMNS = ("file", "filename", "path", "image")
"""Where a CSV may name files; the first one that is there counts."""
LARGEST = 200
"""Files of more than so many 10^6 bytes are not read."""


@dataclass(frozen=True)
class Item:
    """One thing to score."""

    name: str
    """The file's name relative to the folder, or the number of the row."""
    stamp: str
    """Changes when the thing does: size and time of the file."""
    path: Path | None = None
    body: BaseModel | MienError | None = None

    @property
    def folder(self) -> str:
        """The folder's name, which the frames of a video share."""
        return self.name.rpartition("/")[0]

    def ask(self, task: Task[Any]) -> Request:
        """Read it.

        Raises:
            MienError: it cannot be read.
        """
        if isinstance(self.body, MienError):
            raise self.body
        if self.body is not None:
            return Request(body=self.body)
        return task.inference.read(_read(self.path or Path(self.name)))


@dataclass(frozen=True)
class Source:
    """All there is to score."""

    items: Callable[[], Iterator[Item]]
    key: str
    """The first column of the result: `file` or `row`."""
    noun: str
    count: int
    fingerprint: str
    """Changes when any name, size or time does."""


def find(source: Path, task: Task[Any], out: Path, sequence: bool) -> Source:
    """Look once at all names.

    Raises:
        DataError: there is nothing to score, or the CSV cannot be understood.
    """
    if source.is_dir():
        own = _identity(out)
        return _counted(lambda: pictures(source, own), "file", "files", source)
    if not source.is_file():
        raise DataError(f"{source} is not there; expected a folder of pictures or a CSV file.")
    if (
        task.inference.table_requests is not None
        and not sequence
        and task.inference.table_requests(source) is not None
    ):
        table = task.inference.table_requests
        return _counted(lambda: _rows(source, table(source) or iter(())), "row", "rows", source)
    place = _column(source, task, sequence)
    return _counted(lambda: _named(source, place), "file", "files", source)


def pictures(folder: Path, own: tuple[int, int] | None = None) -> Iterator[Item]:
    """Pictures below a folder: first its own in the order of names, then those of each subfolder.

    Names that begin with a dot are passed over, links are followed, but never in a circle.
    """
    return _walk(folder, "", (), own)


def _walk(
    folder: Path, prefix: str, above: tuple[tuple[int, int], ...], own: tuple[int, int] | None
) -> Iterator[Item]:
    try:
        here = _identity(folder)
        if here is None or here in above:
            return
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name[:1] != ".")
    except OSError as error:
        if not prefix:
            raise DataError(f"{folder} cannot be listed: {error.strerror}.") from None
        fault = RequestError(f"The folder cannot be listed: {error.strerror}.")
        yield Item(f"{_text(prefix)}", "-", body=fault)
        return
    folders = []
    for name in names:
        path = folder / name
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            folders.append(name)
        elif _is_picture(path, mode) and (own is None or _identity(path) != own):
            yield Item(_text(prefix + name), _stamp(path), path)
    for name in folders:
        yield from _walk(folder / name, f"{prefix}{name}/", (*above, here), own)


def _is_picture(path: Path, mode: int) -> bool:
    if path.suffix.lower() in ENDINGS:
        return not mode or stat.S_ISREG(mode)  # a link to nothing is told, a pipe never read
    if not stat.S_ISREG(mode):
        return False
    try:
        with path.open("rb") as stream:
            return images.sniff(stream.read(12)) is not None
    except OSError:
        return False


def _counted(items: Callable[[], Iterator[Item]], key: str, noun: str, source: Path) -> Source:
    number, state = 0, sha256()
    for number, item in enumerate(items(), 1):  # noqa: B007 - the last number is the count
        state.update(f"{item.name}\0{item.stamp}\n".encode())
    if not number:
        raise DataError(
            f"{source} holds nothing to score; expected pictures (JPEG, PNG, WEBP) below a folder, "
            "or a CSV with a row for each file or hand."
        )
    return Source(items, key, noun, number, state.hexdigest())


def _rows(source: Path, bodies: Iterator[BaseModel | MienError]) -> Iterator[Item]:
    stamp = _stamp(source)
    for number, body in zip(count(1), bodies, strict=False):
        yield Item(str(number), stamp, body=body)


def _named(source: Path, place: int) -> Iterator[Item]:
    for cells in _lines(source, skip=1):
        name = cells[place].strip() if place < len(cells) else ""
        if name:
            path = source.parent / name
            yield Item(_text(name), _stamp(path), path)
        else:
            yield Item("", "-", body=RequestError("The row names no file."))


def _column(source: Path, task: Task[Any], sequence: bool) -> int:
    header = [cell.strip().lower() for cell in next(_lines(source), [])]
    for name in COLUMNS:
        if name in header:
            return header.index(name)
    other = (
        ""
        if task.inference.table_requests is None or sequence
        else f", or the columns of {task.name}'s landmarks"
    )
    raise DataError(
        f"{source} has the columns {', '.join(header[:8]) or 'of an empty file'}; expected one of "
        f"{', '.join(COLUMNS)} that names files{other}. Another task may take it: --task NAME."
    )


def _lines(source: Path, skip: int = 0) -> Iterator[list[str]]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            for number, cells in enumerate(cells for cells in csv.reader(stream) if any(cells)):
                if number >= skip:
                    yield cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{source} is neither a folder nor a CSV file in UTF-8 ({error})."
        ) from None


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST * 1e6:
            raise TooLargeError(
                f"The file has {size / 1e6:.0f} MB; up to {LARGEST} are read. Make it smaller."
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _MACHINE:
            raise
        raise RequestError(f"cannot be read: {getattr(error, 'strerror', error)}.") from None


_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
"""Faults of the machine, not of a file: the batch ends, and goes on where it was another time."""


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return "-"
    return f"{found.st_size} {found.st_mtime_ns}"


def _mode(path: Path) -> int:
    """The kind of what a name leads to; 0 where it leads nowhere."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text(name: str) -> str:
    """A file's name as UTF-8, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
