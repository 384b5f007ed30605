"""What was found out of the files of a source, so that what did not change is not read again.

It only saves time: the file may be deleted, and one that cannot be read counts as none.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.storage.files import atomic_write, write_json

_SAFE_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again within its time stamp;
two seconds are the coarsest stamps in use (FAT)."""


@dataclass
class Seen:
    """Facts as JSON values by name of a file, and what the file system said of the file then."""

    path: Path
    now: int
    """Nanoseconds of the clock that stamps files, when this was opened."""
    known: dict[str, list[Any]]
    asked: dict[str, list[Any]] = field(default_factory=dict)
    """What is to be known the next time: that which was recalled or remembered."""

    @classmethod
    def open(cls, path: Path) -> "Seen":
        """What was remembered; nothing where the file is not there or cannot be read."""
        with atomic_write(path.with_suffix(".clock")) as probe:
            probe.touch()
            now = probe.stat().st_mtime_ns
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls(path, now, {})
        return cls(path, now, known if isinstance(known, dict) else {})

    def recall(self, name: str, state: os.stat_result) -> Any:
        """What was remembered of a file, or None where it is not the same file any more."""
        found = self.known.get(name)
        if not isinstance(found, list) or found[:-1] != _mark(state):
            return None
        self.asked[name] = found
        return found[-1]

    def remember(self, name: str, state: os.stat_result, facts: Any) -> None:
        """Keep what was found out of a file; `state` is from before it was read."""
        if self.now - max(state.st_mtime_ns, state.st_ctime_ns) > _SAFE_NS:
            self.asked[name] = [*_mark(state), facts]

    def save(self) -> None:
        """Write down what is known now, if that is something else than before."""
        if self.asked != self.known:
            write_json(self.path, self.asked, indent=None)


def _mark(state: os.stat_result) -> list[int]:
    """The time of change (ctime) tells of contents that were replaced under the old time stamp."""
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
