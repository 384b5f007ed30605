"""The spool: an append-only file of rows that wait for the database.

Appending a line is cheap, and the line outlives a killed process. One process at a time has the
file, by an exclusive lock. A line is the JSON list of a row's values.

In front of SQLite, only the first process has a spool. In front of PostgreSQL each has its own: a
second process of the same folder takes the next number.
"""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

try:
    import fcntl
except ImportError:  # Windows has no flock: every row goes straight into the database
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
MAX_SIZE_BYTES = 32_000_000
"""Size at which the spool is full, where nothing moves its lines to the database."""
MAX_SPOOLS = 64
"""Processes that may share a folder."""


class Spool:
    """An open spool file. Not safe for concurrent use."""

    def __init__(self, descriptor: int, path: Path | None) -> None:
        """`path` is None for a file in memory."""
        self._descriptor, self.path = descriptor, path
        self._size_bytes = os.fstat(descriptor).st_size
        self._truncate(self.lines(0, self._size_bytes)[1])  # a kill may have left half a line

    def append(self, line: bytes) -> None:
        """Append one line, which ends with a newline.

        Raises:
            OSError: the line could not be written completely; none of it stays in the file.
        """
        if self._size_bytes + len(line) > MAX_SIZE_BYTES:
            raise OSError(errno.ENOSPC, "the spool of the prediction log is full")
        try:
            complete = os.write(self._descriptor, line) == len(line)
        except OSError:
            self._truncate(self._size_bytes)
            raise
        if not complete:
            self._truncate(self._size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size_bytes += len(line)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def lines(self, offset: int = 0, limit: int = MAX_SIZE_BYTES) -> tuple[list[bytes], int]:
        """The complete lines in `limit` bytes after an offset, without their newlines, and the
        offset of their end."""
        content = os.pread(self._descriptor, min(limit, self._size_bytes - offset), offset)
        content = content[: content.rfind(b"\n") + 1]
        return content.splitlines(), offset + len(content)

    def is_in_place(self) -> bool:
        """Whether the open file is still the one at its path."""
        try:
            return self.path is None or os.path.samestat(
                os.fstat(self._descriptor), self.path.stat()
            )
        except OSError:
            return False

    def clear(self) -> None:
        """Delete all lines."""
        self._truncate(0)

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._descriptor)

    def _truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._descriptor, size_bytes)
        self._size_bytes = size_bytes


def path_of(database: Path) -> Path:
    """The path of the spool of a database file."""
    return database.with_name(f"{database.name}-spool")


def parse_rows(lines: Sequence[bytes], column_count: int) -> list[list[Any]]:
    """Parse lines to rows of `column_count` values, of which the second is a timestamp.

    Lines that are none, as a power cut may leave them, are dropped with a warning.
    """
    rows = []
    for line in lines:
        try:
            row = from_json(line)
        except ValueError:
            row = None
        if isinstance(row, list) and len(row) == column_count and isinstance(row[1], int | float):
            rows.append(row)
    if len(rows) < len(lines):
        _log.warning("%d lines of the spool could not be read", len(lines) - len(rows))
    return rows


def find_row(path: Path, trace_id: str, column_count: int) -> list[Any] | None:
    """The row of a prediction in a spool file that another process may write to."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    lines = [line for line in content.splitlines() if trace_id.encode() in line]
    rows = parse_rows(lines, column_count)
    return next((row for row in rows if row[0] == trace_id), None)


def open_exclusive(path: Path) -> Spool | None:
    """Open or create a spool file; None where another process has it, or it cannot be opened."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Spool(descriptor, path)
    except OSError:
        os.close(descriptor)
        return None


def open_own(path: Path) -> Spool | None:
    """Open or create the first spool that no process has, and move into it what processes that
    are gone left in others. In memory where no file can be opened; None where that is unknown."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    opened = next(filter(None, map(open_exclusive, _paths(path))), None)
    if opened is None:
        _log.warning("%s cannot be opened: records wait in memory, and a kill loses them", path)
        return _open_in_memory()
    for other in all_of(path):
        left = open_exclusive(other) if other != opened.path else None
        if left is not None:
            with suppress(OSError):  # the spool is full: the rest stays where it is
                for line in left.lines()[0]:
                    opened.append(line + b"\n")
                left.clear()
            left.close()
    return opened


def all_of(path: Path) -> list[Path]:
    """The spools of a folder that are there."""
    return [each for each in _paths(path) if each.exists()]


def _paths(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, MAX_SPOOLS + 1):
        yield path.with_name(f"{path.name}-{number}")


def _open_in_memory() -> Spool | None:
    if fcntl is None or not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("mien-spool")
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return Spool(descriptor, None)
