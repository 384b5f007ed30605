"""Hashes of source files by name, so that unchanged files are not read again.

The cache only saves time: its file may be deleted, and one that cannot be read counts as empty.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.storage.files import atomic_write

_MIN_AGE_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again within its time stamp; two
seconds are the coarsest time stamps in use (FAT)."""


@dataclass
class FileHashCache:
    """JSON values by file name, valid while size, time stamps and inode of the file stay equal."""

    path: Path
    now_ns: int
    """The clock that stamps files, when the cache was opened."""
    entries: dict[str, list[Any]]
    used: dict[str, list[Any]] = field(default_factory=dict)
    """The entries to save: those that were read or added."""

    @classmethod
    def open(cls, path: Path) -> "FileHashCache":
        """Open a cache; an empty one where the file is missing or unreadable."""
        with atomic_write(path.with_suffix(".clock")) as probe:
            probe.touch()
            now_ns = probe.stat().st_mtime_ns
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls(path, now_ns, {})
        return cls(path, now_ns, entries if isinstance(entries, dict) else {})

    def get(self, name: str, state: os.stat_result) -> Any:
        """The value of a file; None where the file has changed or is new."""
        entry = self.entries.get(name)
        if not isinstance(entry, list) or entry[:-1] != _signature(state):
            return None
        self.used[name] = entry
        return entry[-1]

    def put(self, name: str, state: os.stat_result, value: Any) -> None:
        """Store the value of a file; `state` is from before it was read."""
        if self.now_ns - max(state.st_mtime_ns, state.st_ctime_ns) > _MIN_AGE_NS:
            self.used[name] = [*_signature(state), value]

    def save(self) -> None:
        """Write the used entries, if they differ from the file."""
        if self.used != self.entries:
            with atomic_write(self.path) as temporary:
                temporary.write_text(json.dumps(self.used), encoding="utf-8")


def _signature(state: os.stat_result) -> list[int]:
    """The time of change (ctime) reveals contents that were replaced under the old time stamp."""
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
