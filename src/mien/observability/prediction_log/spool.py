"""Lines in a file until somebody takes them: cheap to append, and not lost with the process.

One process at a time has the file. Knows nothing of what the lines hold, but that they are rows.
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
except ImportError:  # not on Windows; `take` then says that the file cannot be had
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
LIMIT = 32_000_000
"""Bytes at which the file is full, should nobody take lines from it."""


class Spool:
    """A file of lines, held until `close`; not for many threads at once."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        self._size = os.fstat(descriptor).st_size
        self._cut(self._read().rfind(b"\n") + 1)  # a killed process may have left half a line

    def append(self, line: bytes) -> None:
        """Write one line, whose end is the line's end.

        Raises:
            OSError: it could not be written whole; then nothing of it stays.
        """
        if self._size + len(line) > LIMIT:
            raise OSError(errno.ENOSPC, "the file of waiting answers is full")
        try:
            whole = os.write(self._file, line) == len(line)
        except OSError:
            self._cut(self._size)
            raise
        if not whole:
            self._cut(self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(line)

    def lines(self, start: int = 0) -> tuple[list[bytes], int]:
        """The lines from a place in the file on, without their ends, and the place after them."""
        return self._read(start).splitlines(), self._size

    def clear(self) -> None:
        """Forget all lines."""
        self._cut(0)

    def close(self) -> None:
        """Let another process have the file."""
        os.close(self._file)

    def _read(self, start: int = 0) -> bytes:
        return os.pread(self._file, self._size - start, start)

    def _cut(self, size: int) -> None:
        os.ftruncate(self._file, size)
        self._size = size


def rows(lines: Sequence[bytes], width: int) -> list[list[Any]]:
    """The rows of so many values among the lines; the second of them is a time.

    What a power cut left of others is dropped, and told in the log.
    """
    found = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, list) and len(row) == width and isinstance(row[1], int | float):
            found.append(row)
    if len(found) < len(lines):
        _log.warning("%d lines beside the journal could not be read", len(lines) - len(found))
    return found


def take(path: Path) -> Spool | None:
    """Open or make the file; None where another process holds it, or it cannot be had at all."""
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
