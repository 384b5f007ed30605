"""What a batch scores: the images of a folder, the files that a CSV names, or the rows of a CSV.

Always in the same order, one after the other: memory does not grow with their number, except for
the names of one folder. Knows no task by name and no result.
"""

import csv
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from mien import images
from mien.errors import ConfigError, DataError, MienError, RequestError, TooLargeError
from mien.reporting import console
from mien.storage.buckets import BucketPath, Location
from mien.task import Request, Task

from .result import BatchIdentity

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif",
}  # fmt: skip
"""Files with these suffixes get a row, if necessary with an error; others if their content is an
image."""
FILE_COLUMNS = ("file", "filename", "path", "image")
"""Columns in which a CSV may name files; the first one present is used."""
MAX_FILE_MB = 200
"""Larger files are not read; in 10^6 bytes."""
NO_STAMP = "-"
"""Of an item without a file."""


@dataclass(frozen=True)
class BatchItem:
    """One file or row to score."""

    name: str
    """The file's name relative to the folder, or the number of the row."""
    stamp: str
    """Size and modification time of the file; size and ETag of an object in a bucket."""
    path: Location | None = None
    body: BaseModel | MienError | None = None

    @property
    def folder(self) -> str:
        """The folder's name, which the frames of a video share."""
        return self.name.rpartition("/")[0]

    @property
    def size_bytes(self) -> int:
        """Of the file, now; of an object, when it was listed; 0 without one.

        Raises:
            OSError, ValueError: it cannot be looked at.
        """
        if self.path is None:
            return 0
        if isinstance(self.path, BucketPath):
            return int(self.stamp.partition(" ")[0])
        return self.path.stat().st_size

    def to_request(self, task: Task[Any]) -> Request:
        """Read it.

        Raises:
            MienError: it cannot be read.
        """
        if isinstance(self.body, MienError):
            raise self.body
        if self.body is not None:
            return Request(body=self.body)
        return task.inference.read(_read_bytes(self))


@dataclass(frozen=True)
class BatchInput:
    """All items to score."""

    items: Callable[[], Iterator[BatchItem]]
    key_column: str
    """The first column of the result: `file` or `row`."""
    count: int
    fingerprint: str
    """Digest of all names, sizes and times."""


def list_items(source: Location, task: Task[Any], out: Location, sequence: bool) -> BatchInput:
    """List and count the items of a folder or a CSV.

    Raises:
        DataError: there is nothing to score, or the CSV has no usable columns.
    """
    if isinstance(source, BucketPath):
        return counted(lambda: list_objects(source, out), "file", source)
    if source.is_dir():
        excluded = _stat(out) if isinstance(out, Path) else None
        return counted(lambda: list_images(source, excluded), "file", source)
    if not source.is_file():
        raise DataError(f"{source}: expected a folder of images or a CSV file, found neither.")
    read_table = None if sequence else task.inference.table_requests
    if read_table is not None and read_table(source) is not None:
        return counted(lambda: table_rows(source, task), "row", source)
    landmarks = f", or the columns of {task.name}'s landmarks" if read_table else ""
    column = _file_column(source, landmarks)
    return counted(lambda: _named_files(source, column), "file", source)


def announced(
    source: Location, task: Task[Any], out: Location, identity: BatchIdentity
) -> BatchInput:
    """List the items and say what is going to happen with them.

    Raises:
        DataError: there is nothing to score, or the CSV has no usable columns.
    """
    with console.bar("list the files"):
        batch_input = list_items(source, task, out, identity.sequence)
    if identity.sequence and not task.inference.tracking:
        console.info(f"mien-{task.name} predicts each frame of a video independently.")
    model = f"mien-{task.name} {identity.version}".strip()
    console.info(f"{batch_input.count} {batch_input.key_column}s to score with {model}")
    return batch_input


def list_images(
    folder: Path,
    excluded: os.stat_result | None = None,
    prefix: str = "",
    parents: tuple[os.stat_result, ...] = (),
) -> Iterator[BatchItem]:
    """Images below a folder: first its own in the order of names, then those of each subfolder.

    Names that begin with a dot are skipped; links are followed, except into a cycle.

    Args:
        folder: the folder.
        excluded: a file or folder that is left out.
        prefix: what precedes the names of its files.
        parents: the folders that it is in.
    """
    own = _stat(folder)
    if own is None or any(os.path.samestat(own, each) for each in parents):
        return
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name[:1] != ".")
    except OSError as error:
        if not prefix:
            raise DataError(f"{folder} cannot be listed: {error.strerror}.") from None
        fault = RequestError(f"The folder cannot be listed: {error.strerror}.")
        yield BatchItem(f"{_to_utf8(prefix)}", NO_STAMP, body=fault)
        return
    folders = []
    for name in names:
        path = folder / name
        status = _stat(path)
        if status and excluded and os.path.samestat(status, excluded):
            continue
        if status and stat.S_ISDIR(status.st_mode):
            folders.append(name)
        elif _is_image(path, status):
            yield BatchItem(_to_utf8(prefix + name), stamp_of(path), path)
    for name in folders:
        yield from list_images(folder / name, excluded, f"{prefix}{name}/", (*parents, own))


def list_objects(
    folder: BucketPath, excluded: Location | None = None, prefix: str = ""
) -> Iterator[BatchItem]:
    """Objects below a folder of a bucket whose names end as those of images, in the same order.

    Others are not looked at, since each look would be a request.
    """
    folders = []
    for child in folder.children():
        name = child if isinstance(child, str) else child.name
        if name[:1] == "." or folder / name == excluded:
            continue
        if isinstance(child, str):
            folders.append(name)
        elif PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            yield BatchItem(prefix + name, f"{child.size_bytes} {child.e_tag}", folder / name)
    for name in folders:
        yield from list_objects(folder / name, excluded, f"{prefix}{name}/")


def _is_image(path: Path, status: os.stat_result | None) -> bool:
    named = path.suffix.lower() in IMAGE_SUFFIXES
    if status is None or not stat.S_ISREG(status.st_mode):
        return named and status is None  # a dangling link gets an error row; pipes are skipped
    if named:
        return True
    try:
        with path.open("rb") as stream:
            return images.sniff(stream.read(64)) in images.FORMATS
    except OSError:
        return False


def counted(
    items: Callable[[], Iterator[BatchItem]], key_column: str, source: Location
) -> BatchInput:
    """Count the items and take their fingerprint.

    Raises:
        DataError: there are none.
    """
    number, state = 0, sha256()
    for number, item in enumerate(items(), 1):  # noqa: B007 - the last number is the count
        state.update(mark(item))
    if not number:
        raise DataError(
            f"{source}: expected images ({', '.join(images.FORMATS)}) below a folder, or a CSV "
            "with a row for each file or hand; found nothing to score."
        )
    return BatchInput(items, key_column, number, state.hexdigest())


def mark(item: BatchItem) -> bytes:
    """What an item adds to the fingerprint."""
    return f"{item.name}\0{item.stamp}\n".encode()


def table_rows(source: Path, task: Task[Any]) -> Iterator[BatchItem]:
    """The rows of a CSV that has the columns of the task; none if it has not."""
    read_table, stamp = task.inference.table_requests, stamp_of(source)
    bodies = (read_table and read_table(source)) or iter(())
    for number, body in zip(count(1), bodies, strict=False):
        yield BatchItem(str(number), stamp, body=body)


def _named_files(source: Path, column: int) -> Iterator[BatchItem]:
    for cells in _csv_lines(source, skip=1):
        name = cells[column].strip() if column < len(cells) else ""
        if name:
            path = source.parent / name
            yield BatchItem(_to_utf8(name), stamp_of(path), path)
        else:
            yield BatchItem("", NO_STAMP, body=RequestError("The row names no file."))


def _file_column(source: Path, other_columns: str) -> int:
    header = [cell.strip().lower() for cell in next(_csv_lines(source), [])]
    for name in FILE_COLUMNS:
        if name in header:
            return header.index(name)
    raise DataError(
        f"{source}: expected a column {', '.join(FILE_COLUMNS)} with file names{other_columns}; "
        f"found {', '.join(header[:8]) or 'an empty file'}. For another task give --task NAME."
    )


def _csv_lines(source: Path, skip: int = 0) -> Iterator[list[str]]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            for number, cells in enumerate(cells for cells in csv.reader(stream) if any(cells)):
                if number >= skip:
                    yield cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{source}: expected a folder or a CSV file in UTF-8, found neither ({error})."
        ) from None


def _read_bytes(item: BatchItem) -> bytes:
    try:
        size = item.size_bytes
        if size > MAX_FILE_MB * 1e6:
            raise TooLargeError(
                f"size of the file: expected at most {MAX_FILE_MB} MB, found {size / 1e6:.0f}. "
                "Make it smaller."
            )
        if isinstance(item.path, BucketPath):
            return _read_object(item, item.path)
        return (item.path or Path(item.name)).read_bytes()
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _MACHINE_ERRORS:
            raise
        raise RequestError(f"cannot be read: {getattr(error, 'strerror', error)}.") from None


def _read_object(item: BatchItem, path: BucketPath) -> bytes:
    size, _, e_tag = item.stamp.partition(" ")
    try:
        return path.read_bytes(e_tag)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected the {size} bytes that were listed, found another object or none. "
            "Give another --out, or --force to begin again."
        ) from None


_MACHINE_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
"""Faults of the machine, not of a file: the batch ends, and resumes there when started again."""


def stamp_of(path: Path) -> str:
    """Size and modification time of a file; a dash if there is none."""
    status = _stat(path)
    return f"{status.st_size} {status.st_mtime_ns}" if status else NO_STAMP


def _stat(path: Path) -> os.stat_result | None:
    """The status of a file, or of a link's target; None if it does not exist."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _to_utf8(name: str) -> str:
    """The name of a file as valid UTF-8; other bytes are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
