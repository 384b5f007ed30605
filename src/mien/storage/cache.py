"""Results that are slow to compute, remembered by the content that they belong to, and the folder
of this user for what serves all workspaces.

`ContentCache` is one append-only text file; a line is a CRC-32 and the JSON of digest and value. A
line that was cut off is ignored, and its result computed again; nothing else is lost. Threads and
processes may add lines at the same time.
"""

import json
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
CACHE_VARIABLE = "MIEN_CACHE"
"""Environment variable that moves the cache folder."""


def cache_folder() -> Path:
    """The folder that caches weights and other files for all workspaces of this user."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


class ContentCache(Generic[T]):
    """Values by the SHA-256 of the content that they were computed from.

    Args:
        path: the file; its name says what else the values depend on, such as a hash of the code.
        encode: from a value to what JSON can hold.
        decode: the opposite.
    """

    def __init__(self, path: Path, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._encode = path, encode
        self._lock = threading.Lock()
        self._values = {digest: decode(value) for digest, value in _read(path)}

    def get(self, digest: str) -> T | None:
        """The value of a content; None where there is none yet."""
        return self._values.get(digest)

    def put(self, digest: str, value: T) -> None:
        """Remember the value of a content."""
        text = json.dumps([digest, self._encode(value)]).encode()
        with self._lock:
            self._values[digest] = value
            # One write to the end of the file: other processes may do the same.
            with self._path.open("ab", buffering=0) as stream:
                stream.write(b"%08x %s\n" % (zlib.crc32(text), text))


def _read(path: Path) -> list[tuple[str, Any]]:
    """The whole lines of a file, which ends with a line feed afterwards."""
    entries: list[tuple[str, Any]] = []
    if not path.is_file():
        return entries
    line = b"\n"
    with path.open("rb") as stream:
        for line in stream:
            checksum, _, text = line.rstrip(b"\n").partition(b" ")
            if checksum == b"%08x" % zlib.crc32(text):
                digest, value = json.loads(text)
                entries.append((digest, value))
    if not line.endswith(b"\n"):
        with path.open("ab", buffering=0) as stream:
            stream.write(b"\n")
    return entries
