"""The spool: an append-only file of rows that wait for the database.

Appending a line is cheap, and the line outlives a killed process. One process at a time has the
file, by an exclusive lock. A line is the JSON list of a row's values.
"""

import errno
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no flock: every row goes straight into the database
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
MAX_SIZE_BYTES = 32_000_000
"""Size at which the spool is full, where nothing moves its lines to the database."""


class Spool:
    """An open spool file. Not safe for concurrent use."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size_bytes = os.fstat(descriptor).st_size
        self._truncate(self._read().rfind(b"\n") + 1)  # a kill may have left half a line

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

    def lines(self, offset: int = 0) -> tuple[list[bytes], int]:
        """The lines after an offset, without their newlines, and the offset of the end."""
        return self._read(offset).splitlines(), self._size_bytes

    def is_at(self, path: Path) -> bool:
        """Whether the open file is still the one at a path."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def clear(self) -> None:
        """Delete all lines."""
        self._truncate(0)

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._descriptor)

    def _read(self, offset: int = 0) -> bytes:
        return os.pread(self._descriptor, self._size_bytes - offset, offset)

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
            row = json.loads(line)
        except (ValueError, RecursionError):
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
        return Spool(descriptor)
    except OSError:
        os.close(descriptor)
        return None
