"""What of a batch is done: small files beside the result, each whole or not there.

`.NAME.parts/` holds what the run is (`run.json`) and its rows in parts (`000001.jsonl`), each with
the number and a checksum of the names, sizes and times of the files that it answers. Whoever is
killed loses what was not yet written; the next run checks the parts against the files that are
there, and goes on behind the last that fits. At the end `.NAME.done` beside the result says what it
was made of. Knows neither models nor the form of the result.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from mien import __version__
from mien.errors import ConfigError
from mien.storage.files import atomic_write, sync

from .sources import Item


@dataclass(frozen=True)
class Run:
    """What decides about every row."""

    task: str
    version: str
    digest: str
    """Of the bundle."""
    source: str
    sequence: bool
    program: str = __version__


@dataclass(frozen=True)
class Resumed:
    """Where an interrupted run is taken up."""

    rest: Iterator[Item]
    rows: int
    failed: int


class Parts:
    """The parts of one run; made by `opened`."""

    def __init__(self, out: Path, run: Run) -> None:
        self.out = out
        self.run = run
        self._folder, self._done = _places(out)
        self._number = 0

    def complete(self, fingerprint: str) -> dict[str, Any] | None:
        """What the finished result tells, if it is of this run and of these files.

        Raises:
            ConfigError: the result is there and is not.
        """
        if not self.out.exists():
            return None
        told = _load(self._done)
        if told is None or told.get("stamp") != _stamp(self.out):
            raise ConfigError(_REFUSED.format(self.out, "was not left by this command"))
        self._compare(told["run"])
        if told["fingerprint"] != fingerprint:
            raise ConfigError(
                _REFUSED.format(self.out, "was made of other files, or of earlier ones")
            )
        self._clear()
        return told

    def resume(self, items: Iterator[Item], fingerprint: str) -> Resumed:
        """Pass over the items that parts answer; parts that do not fit, and all later, go.

        Frames of a video are answered with those before them: where any file has changed since,
        all parts go, or the result would depend on where the run was interrupted.

        Raises:
            ConfigError: the parts are of another run.
        """
        told = _load(self._folder / _RUN)
        if told is not None:
            self._compare(told)
        if told is None or (self.run.sequence and told.get("fingerprint") != fingerprint):
            self._clear()
            run = {**asdict(self.run), "fingerprint": fingerprint}
            _save(self._folder / _RUN, json.dumps(run))
        rows = failed = 0
        ahead: list[Item] = []
        for path in self._parts():
            head = _head(path)
            ahead = list(islice(items, head["rows"])) if head else []
            if head is None or head["key"] != _key(ahead):
                for late in self._parts()[self._number :]:
                    late.unlink()
                break
            rows, failed = rows + head["rows"], failed + head["failed"]
            self._number += 1
            ahead = []
        return Resumed(_chained(ahead, items), rows, failed)

    def write(self, items: Sequence[Item], rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of these items for good."""
        failed = sum(row["error"] is not None for row in rows)
        head = {"rows": len(rows), "failed": failed, "key": _key(items)}
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (head, *rows))
        self._number += 1
        _save(self._folder / f"{self._number:06d}.jsonl", text)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, in order."""
        for path in self._parts():
            with path.open(encoding="utf-8") as stream:
                next(stream)
                for line in stream:
                    yield json.loads(line)

    def finish(
        self, fingerprint: str, rows: int, failed: int, join: Callable[[Path], None]
    ) -> None:
        """Let `join` write the result, put it in its place in one move, and remove the parts."""
        joined = self._folder / "joined"
        join(joined)
        sync(joined)
        told = {"run": asdict(self.run), "fingerprint": fingerprint, "stamp": _stamp(joined)}
        _save(self._done, json.dumps({**told, "rows": rows, "failed": failed}))
        joined.replace(self.out)
        sync(self.out.parent)
        shutil.rmtree(self._folder)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.name != _LOCK:
                path.unlink()

    def _compare(self, told: Mapping[str, Any]) -> None:
        for name, value in asdict(self.run).items():
            if told.get(name) != value:
                found = f"belongs to another {_WORDS[name]} ({told.get(name)}, and now {value})"
                raise ConfigError(_REFUSED.format(self.out, found))


@contextmanager
def opened(out: Path, run: Run, force: bool) -> Iterator[Parts]:
    """Open the parts of a run, alone; with `force` forget what an earlier one left.

    Raises:
        ConfigError: another process writes this result, or its folder is not there.
    """
    folder, done = _places(out)
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"{out} cannot be written: expected a file name in a folder that exists.")
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        _hold(lock.fileno(), out)
        kept = Parts(out, run)
        if force:
            kept._clear()
            out.unlink(missing_ok=True)
            done.unlink(missing_ok=True)
        try:
            yield kept
        finally:
            if folder.is_dir() and [path.name for path in folder.iterdir()] == [_LOCK]:
                shutil.rmtree(folder)


_RUN, _LOCK = "run.json", "lock"
_REFUSED = "{} {}. Give another --out, or --force to replace it."
_WORDS = {
    "task": "task",
    "version": "version of the model",
    "digest": "bundle",
    "source": "input",
    "sequence": "way of reading, --sequence",
    "program": "version of mien",
}


def _places(out: Path) -> tuple[Path, Path]:
    return out.with_name(f".{out.name}.parts"), out.with_name(f".{out.name}.done")


def _hold(descriptor: int, out: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(
            f"Another `mien batch` is writing {out} now; wait for it or give another --out."
        ) from None


def _key(items: Sequence[Item]) -> str:
    state = sha256()
    for item in items:
        state.update(f"{item.name}\0{item.stamp}\n".encode())
    return state.hexdigest()


def _chained(first: Sequence[Item], items: Iterator[Item]) -> Iterator[Item]:
    yield from first
    yield from items


def _head(path: Path) -> dict[str, Any] | None:
    try:
        with path.open(encoding="utf-8") as stream:
            head: dict[str, Any] = json.loads(next(stream))
            return {"rows": head["rows"], "failed": head["failed"], "key": head["key"]}
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _load(path: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _save(path: Path, text: str) -> None:
    """Write a file that is whole or absent, also after a power cut."""
    with atomic_write(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
