"""The checkpoint of a batch: its rows in a small database beside the result, until it is complete.

`.NAME.checkpoint` contains the identity of the run and its rows in parts, each with the name, size
and time of its file. After a kill, only rows that were not yet written are lost: the next run
compares the parts with the files and continues after the last part that matches. At the end,
`.NAME.done` beside the result describes what the result was made of. Knows neither models nor the
format of the result.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.storage.files import atomic_write, json_text, sync

from .inputs import BatchItem
from .result import BatchIdentity

_SCHEMA = """
    create table if not exists run (document text);
    create table if not exists rows (part int, name text, stamp text, failed int, document text);
"""


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run continues."""

    remaining: Iterator[BatchItem]
    rows: int
    failed: int


class BatchCheckpoint:
    """The checkpoint of one run; made by `open_checkpoint`."""

    def __init__(self, out: Path, identity: BatchIdentity, database: sqlite3.Connection) -> None:
        self.out = out
        self.identity = identity
        self._database = database

    def finished(self, fingerprint: str) -> tuple[int, int] | None:
        """Return the numbers of rows and failed rows if the result is complete and of these files.

        Raises:
            ConfigError: there is a result, and it is of another run or of other files.
        """
        if not self.out.exists():
            return None
        try:
            record = json.loads(_done_file(self.out).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = {}
        if record.get("stamp") != _stamp(self.out):
            raise self._refused("was not written by `mien batch`")
        self._require_identity(record["run"])
        if record["fingerprint"] != fingerprint:
            raise self._refused("was made from other files, or from earlier versions of them")
        self.clear()
        return record["rows"], record["failed"]

    def resume(self, items: Iterator[BatchItem], fingerprint: str) -> ResumePoint:
        """Skip the items that the parts contain; delete parts that do not match, and all later.

        A frame of a video depends on those before it: if any file has changed, all parts are
        deleted, or the result would depend on where the run was interrupted.

        Raises:
            ConfigError: the parts are of another run.
        """
        saved: dict[str, Any] = {}
        for (document,) in self._query("select document from run"):
            saved = json.loads(document)
            self._require_identity(saved)
        if not saved or (self.identity.sequence and saved["fingerprint"] != fingerprint):
            self.clear()
            document = {**asdict(self.identity), "fingerprint": fingerprint}
            self._query("insert into run values (?)", json.dumps(document))
        rows = failed = 0
        unmatched: list[BatchItem] = []
        saved_rows = self._query("select part, name, stamp, failed from rows order by rowid")
        for part, records in groupby(saved_rows, key=lambda record: record[0]):
            expected = [(name, stamp, fault) for _, name, stamp, fault in records]
            unmatched = list(islice(items, len(expected)))
            if [(item.name, item.stamp) for item in unmatched] != [each[:2] for each in expected]:
                self._query("delete from rows where part >= ?", part)
                break
            rows, failed = rows + len(expected), failed + sum(each[2] for each in expected)
            unmatched = []
        return ResumePoint(chain(unmatched, items), rows, failed)

    def write(self, items: Sequence[BatchItem], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of these items as the next part."""
        ((part,),) = self._query("select coalesce(max(part), 0) + 1 from rows")
        values = (
            (part, item.name, item.stamp, row["error"] is not None, json_text(row))
            for item, row in zip(items, rows, strict=True)
        )
        with self._database:
            self._database.execute("begin")
            self._database.executemany("insert into rows values (?, ?, ?, ?, ?)", values)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows, in order."""
        for (document,) in self._query("select document from rows order by rowid"):
            yield json.loads(document)

    def finish(
        self, fingerprint: str, rows: int, failed: int, write_table: Callable[[Path], None]
    ) -> None:
        """Let `write_table` write the result, move it to its final name, and delete the parts."""
        table = self.out.with_name(f".{self.out.name}.table")
        write_table(table)
        sync(table)
        record = {
            "run": asdict(self.identity),
            "fingerprint": fingerprint,
            "stamp": _stamp(table),
            "rows": rows,
            "failed": failed,
        }
        with atomic_write(_done_file(self.out), durable=True) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")
        table.replace(self.out)
        sync(self.out.parent)
        self.clear()

    def clear(self) -> None:
        """Delete all parts."""
        self._query("delete from rows")
        self._query("delete from run")

    def is_empty(self) -> bool:
        """Whether there are no parts."""
        return self._query("select 1 from rows").fetchone() is None

    def _query(self, text: str, *values: object) -> sqlite3.Cursor:
        return self._database.execute(text, values)

    def _require_identity(self, saved: Mapping[str, Any]) -> None:
        if other := self.identity.difference(saved):
            raise self._refused(f"belongs to {other}")

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.out} {reason}. Give another --out, or --force to replace it.")


@contextmanager
def open_checkpoint(out: Path, identity: BatchIdentity, force: bool) -> Iterator[BatchCheckpoint]:
    """Open and lock the checkpoint of a run; `force` deletes what an earlier run left.

    Raises:
        ConfigError: another process writes this result, or its folder does not exist.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"--out {out}: expected a file name in an existing folder.")
    path = out.with_name(f".{out.name}.checkpoint")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("pragma locking_mode = exclusive")  # until the database is closed
            database.execute("begin exclusive")
            database.execute("commit")
            database.executescript(_SCHEMA)
        except sqlite3.OperationalError:
            raise ConfigError(
                f"Another `mien batch` is writing {out}. Wait for it or give another --out."
            ) from None
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path} is damaged ({error}). Delete it and start again.") from None
        checkpoint = BatchCheckpoint(out, identity, database)
        if force:
            checkpoint.clear()
            out.unlink(missing_ok=True)
            _done_file(out).unlink(missing_ok=True)
        try:
            yield checkpoint
        finally:
            if checkpoint.is_empty():
                path.unlink()


def _done_file(out: Path) -> Path:
    return out.with_name(f".{out.name}.done")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
