"""The checkpoint of a batch: its rows in small files beside the result, each complete or absent.

`.NAME.parts/` contains the identity of the run (`run.json`) and its rows in parts
(`000001.jsonl`), each with the number of its files and a checksum of their names, sizes and times.
After a kill, only rows that were not yet written are lost: the next run compares the parts with the
files and continues after the last part that matches. At the end, `.NAME.done` beside the result
describes what the result was made of. Knows neither models nor the format of the result.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mien import __version__
from mien.errors import ConfigError
from mien.storage.files import atomic_write, sync

from .inputs import BatchItem

_IDENTITY_FILE, _LOCK_FILE = "run.json", "lock"


@dataclass(frozen=True)
class BatchIdentity:
    """Everything that determines the rows; a checkpoint with another identity is refused."""

    task: str
    version: str
    digest: str
    """Of the bundle."""
    source: str
    sequence: bool
    mien_version: str = __version__


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run continues."""

    remaining: Iterator[BatchItem]
    rows: int
    failed: int


class BatchCheckpoint:
    """The checkpoint of one run; made by `open_checkpoint`."""

    def __init__(self, out: Path, identity: BatchIdentity) -> None:
        self.out = out
        self.identity = identity
        self._folder, self._done_file = _paths(out)
        self._part_count = 0

    def finished(self, fingerprint: str) -> tuple[int, int] | None:
        """Return the numbers of rows and failed rows if the result is complete and of these files.

        Raises:
            ConfigError: there is a result, and it is of another run or of other files.
        """
        if not self.out.exists():
            return None
        record = _read_json(self._done_file)
        if record is None or record.get("stamp") != _stamp(self.out):
            raise self._refused("was not written by `mien batch`")
        self._require_identity(record["run"])
        if record["fingerprint"] != fingerprint:
            raise self._refused("was made from other files, or from earlier versions of them")
        self._clear()
        return record["rows"], record["failed"]

    def resume(self, items: Iterator[BatchItem], fingerprint: str) -> ResumePoint:
        """Skip the items that the parts contain; delete parts that do not match, and all later.

        A frame of a video depends on those before it: if any file has changed, all parts are
        deleted, or the result would depend on where the run was interrupted.

        Raises:
            ConfigError: the parts are of another run.
        """
        saved = _read_json(self._folder / _IDENTITY_FILE)
        if saved is not None:
            self._require_identity(saved)
        if saved is None or (self.identity.sequence and saved.get("fingerprint") != fingerprint):
            self._clear()
            document = {**asdict(self.identity), "fingerprint": fingerprint}
            _write(self._folder / _IDENTITY_FILE, json.dumps(document))
        rows = failed = 0
        unmatched: list[BatchItem] = []
        for path in self._part_files():
            header = _read_header(path)
            unmatched = list(islice(items, header["rows"])) if header else []
            if header is None or header["key"] != _checksum(unmatched):
                for later in self._part_files()[self._part_count :]:
                    later.unlink()
                break
            rows, failed = rows + header["rows"], failed + header["failed"]
            self._part_count += 1
            unmatched = []
        return ResumePoint(chain(unmatched, items), rows, failed)

    def write(self, items: Sequence[BatchItem], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of these items as the next part."""
        failed = sum(row["error"] is not None for row in rows)
        header = {"rows": len(rows), "failed": failed, "key": _checksum(items)}
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *rows))
        self._part_count += 1
        _write(self._folder / f"{self._part_count:06d}.jsonl", text)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, in order."""
        for path in self._part_files():
            with path.open(encoding="utf-8") as stream:
                next(stream)
                for line in stream:
                    yield json.loads(line)

    def finish(
        self, fingerprint: str, rows: int, failed: int, write_table: Callable[[Path], None]
    ) -> None:
        """Let `write_table` write the result, move it to its final name, and delete the parts."""
        table = self._folder / "table"
        write_table(table)
        sync(table)
        record = {
            "run": asdict(self.identity),
            "fingerprint": fingerprint,
            "stamp": _stamp(table),
            "rows": rows,
            "failed": failed,
        }
        _write(self._done_file, json.dumps(record))
        table.replace(self.out)
        sync(self.out.parent)
        shutil.rmtree(self._folder)

    def _part_files(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.name != _LOCK_FILE:
                path.unlink()

    def _require_identity(self, saved: Mapping[str, Any]) -> None:
        for name, value in asdict(self.identity).items():
            if saved.get(name) != value:
                raise self._refused(
                    f"belongs to another {_DESCRIPTIONS[name]}: expected {value}, found "
                    f"{saved.get(name)}"
                )

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.out} {reason}. Give another --out, or --force to replace it.")


@contextmanager
def open_checkpoint(out: Path, identity: BatchIdentity, force: bool) -> Iterator[BatchCheckpoint]:
    """Open and lock the checkpoint of a run; `force` deletes what an earlier run left.

    Raises:
        ConfigError: another process writes this result, or its folder does not exist.
    """
    folder, done_file = _paths(out)
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"--out {out}: expected a file name in an existing folder.")
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK_FILE).open("w") as lock:
        _lock(lock.fileno(), out)
        checkpoint = BatchCheckpoint(out, identity)
        if force:
            checkpoint._clear()
            out.unlink(missing_ok=True)
            done_file.unlink(missing_ok=True)
        try:
            yield checkpoint
        finally:
            if folder.is_dir() and [path.name for path in folder.iterdir()] == [_LOCK_FILE]:
                shutil.rmtree(folder)


_DESCRIPTIONS = {
    "task": "task",
    "version": "model version",
    "digest": "bundle",
    "source": "input",
    "sequence": "setting of --sequence",
    "mien_version": "version of mien",
}


def _paths(out: Path) -> tuple[Path, Path]:
    return out.with_name(f".{out.name}.parts"), out.with_name(f".{out.name}.done")


def _lock(descriptor: int, out: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(
            f"Another `mien batch` is writing {out}. Wait for it or give another --out."
        ) from None


def _checksum(items: Sequence[BatchItem]) -> str:
    state = sha256()
    for item in items:
        state.update(f"{item.name}\0{item.stamp}\n".encode())
    return state.hexdigest()


def _read_header(path: Path) -> dict[str, Any] | None:
    try:
        with path.open(encoding="utf-8") as stream:
            header: dict[str, Any] = json.loads(next(stream))
            return {"rows": header["rows"], "failed": header["failed"], "key": header["key"]}
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _write(path: Path, text: str) -> None:
    with atomic_write(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
