"""The prediction log that a server writes: a spool file in front of a database.

A record is in the spool before its prediction is on the wire, so a killed process loses none.
A thread moves records from the spool to the database many at a time, which costs a fraction of
inserting each alone. A full disk loses records and counts them; it loses no prediction. So does an
SQLite file that is deleted while it is in use: a new one begins.

In front of SQLite, one process has the spool. Other servers with the same file insert each record
at once, and look for a prediction of the first in its spool. In front of PostgreSQL each process
has a spool, which it empties each `FLUSH_INTERVAL_S`, and at once where another server asks it to.

Locks, in the order in which a thread takes them:

1. `_database_lock` guards `_database` and `_spool_offset`.
2. `_spool_lock` guards `_spool` and `_pending_rows`.

A thread that has `_spool_lock` never waits for `_database_lock`. `add` takes `_spool_lock` alone,
so that a prediction does not wait for the database, with two exceptions, both for SQLite alone:
where there is no spool (another process has it), `add` takes `_database_lock`, alone; and the last
round of a drain of more than `MAX_SPOOL_BYTES` writes its rows while it has `_spool_lock`, so that
`add` waits, for at most `LOCK_TIMEOUT_S`.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pydantic_core import to_json

from mien.errors import PredictionLogError
from mien.observability.prediction_log import schema, shadow, spool
from mien.observability.prediction_log.database import (
    PRUNE_INTERVAL_ROWS,
    Database,
    StatementError,
)
from mien.observability.prediction_log.location import PostgresLocation, PredictionLogLocation
from mien.observability.prediction_log.postgresql import PostgresDatabase
from mien.observability.prediction_log.schema import Feedback, PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord
from mien.observability.prediction_log.sqlite import SqliteDatabase
from mien.observability.prediction_log.wakeup import Wakeup
from mien.observability.sequential import PairCounts

LOCK_TIMEOUT_S = 1.0
"""How long a thread waits for a lock: a disk that hangs must not stop the service."""
HUNG_INTERVAL_S, HUNG_LOCK_TIMEOUT_S = 2.0, 0.002
"""For so long after a timeout, no other thread waits longer than a moment for the same lock."""
DRAIN_RETRY_S = 2.0
FLUSH_ROWS = 256
"""Rows that are inserted together: fewer than one prediction in a hundred meets the work."""
FLUSH_INTERVAL_S = 10.0
"""How long a row waits for others where servers share a database that works, unless one asks."""
DRAIN_ROUNDS, MAX_SPOOL_BYTES = 3, 1_000_000
"""How often a drain reads the spool again for rows that came meanwhile. Beyond so many bytes the
last round in front of SQLite keeps the spool locked, as it might else never be empty."""
MAX_READ_BYTES = 500_000
"""How much of the spool is read at a time, as `add` waits meanwhile."""
CLOSE_TIMEOUT_S = 5.0
"""How long `close` moves rows to the database; the rest stays in the spool."""
_log = logging.getLogger(__name__)


class TimeoutLock:
    """A lock that a thread waits for a limited time only."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.hung_until = 0.0
        """Monotonic time until which a timeout of another thread counts for all."""

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock in the block.

        Raises:
            PredictionLogError: another thread has it for too long.
        """
        patient = time.monotonic() >= self.hung_until
        if not self.lock.acquire(timeout=LOCK_TIMEOUT_S if patient else HUNG_LOCK_TIMEOUT_S):
            if patient:
                self.hung_until = time.monotonic() + HUNG_INTERVAL_S
            raise PredictionLogError("The prediction log is busy; a thread waits for the disk.")
        try:
            yield
        finally:
            self.lock.release()


class PredictionLog:
    """The log of one server. Thread-safe.

    Every method but `add` and `close` raises `PredictionLogError` where the database cannot be read
    or written.
    """

    def __init__(
        self,
        location: PredictionLogLocation,
        max_age_days: float = 30.0,
        max_size_mb: float = 200.0,
    ) -> None:
        """Open or create the files, and move what an earlier process left in the spool.

        Raises:
            PredictionLogError: the database has another format.
        """
        self._dropped = 0
        self._failing = self._flush_failing = False
        self._kept_in_a_row = 0
        """Records since the last one that was lost."""
        self._closing = threading.Event()
        self._flush_deadline = float("inf")
        self._database_lock, self._spool_lock = TimeoutLock(), TimeoutLock()
        self._database: Database
        if isinstance(location, PostgresLocation):
            self._database = PostgresDatabase(location.address, max_age_days, max_size_mb)
            self._spool_path = location.spool
        else:
            self._database = SqliteDatabase(location, max_age_days, max_size_mb)
            self._spool_path = spool.path_of(location)
        self._drain_requested = Wakeup()
        self._database.on_wanted = self._drain_requested.set
        self._spool: spool.Spool | None
        self._spool_offset = 0
        """The rows before this offset of the spool are in the database already."""
        self._open_spool()
        with suppress(PredictionLogError):  # logged by `_flush`; retried by the thread
            self._drain()
        threading.Thread(target=self._drain_loop, name="mien-prediction-log", daemon=True).start()

    @property
    def shared(self) -> bool:
        """Whether the records of all servers are in one database, those of this one too."""
        return self._database.shared

    @property
    def pending(self) -> int:
        """Records that wait in the spool."""
        return self._pending_rows

    @property
    def waiting(self) -> int:
        """Records that the database does not take; 0 where it took the last ones."""
        return self._pending_rows if self._flush_failing else 0

    @property
    def dropped(self) -> int:
        """Records that were lost: not written, or deleted with the file."""
        return self._dropped + self._database.lost_rows

    def add(self, record: PredictionRecord) -> bool:
        """Add one record; where that fails, return False, count it and log the first failure.

        A disk that is nearly full takes a record now and then: recording counts as working again
        after `FLUSH_ROWS` records in a row.
        """
        try:
            self._add(record)
        except (OSError, PredictionLogError) as error:
            if not self._failing:
                _log.error("predictions are not recorded from now on: %s", error)
            self._failing, self._kept_in_a_row = True, 0
            self._dropped += 1
            self._drain_requested.set()  # a full spool may be emptied
            return False
        if self._failing:
            self._kept_in_a_row += 1
            if self._kept_in_a_row >= FLUSH_ROWS:
                _log.warning("predictions are recorded again; %d were not", self.dropped)
                self._failing = False
        return True

    def find(self, trace_id: str) -> PredictionRecord | None:
        """Return the record of a prediction, also of another server; None if it is too old."""
        oldest = self._database.oldest_timestamp()
        rows = self._read(schema.FIND_SINCE, trace_id, oldest)
        if not rows and self._spool is None and not self.shared:
            self._insert_from_other_spool(trace_id)
            rows = self._read(schema.FIND_SINCE, trace_id, oldest)
        return PredictionRecord.from_row(rows[0]) if rows else None

    def want_records(self) -> None:
        """Let the servers that share the log move the records in their spools at once."""
        try:
            with self._database_lock.hold():
                self._database.want_records()
        except StatementError as error:
            raise PredictionLogError(f"The prediction log cannot be read: {error}.") from error

    def record_feedback(self, trace_id: str, true_label: str | None, timestamp: float) -> bool:
        """Store the true label of a prediction, in place of an earlier one.

        Returns:
            Whether there is a record of that prediction.
        """
        try:
            with self._database_lock.hold():
                self._drain()
                oldest = self._database.oldest_timestamp()
                changed = self._database.change(
                    schema.SET_FEEDBACK, true_label, timestamp, trace_id, oldest
                )
                return changed > 0
        except StatementError as error:
            raise PredictionLogError(f"The feedback could not be stored: {error}.") from error

    def recent(self, digest: str, limit: int, since: float = 0.0) -> list[PredictionRecord]:
        """Return the last `limit` records of a model after a timestamp, oldest first.

        A model is identified by its digest: another workspace counts its versions from 1 again.
        """
        oldest = max(since, self._database.oldest_timestamp())
        rows = self._read(schema.RECENT, digest, oldest, limit)
        return [PredictionRecord.from_row(row) for row in reversed(rows)]

    def recent_feedback(self, digest: str, limit: int) -> list[Feedback]:
        """Return the last `limit` feedbacks on predictions of a model, newest first."""
        oldest = self._database.oldest_timestamp()
        return [Feedback(*row) for row in self._read(schema.RECENT_FEEDBACK, digest, oldest, limit)]

    def correct_since(self, digest: str, since: float) -> list[bool]:
        """Return whether each prediction of a model after a timestamp was right, as far as there
        is feedback with a label, oldest feedback first."""
        return [bool(row[0]) for row in self._read(schema.CORRECT_SINCE, digest, since)]

    def add_shadow(self, records: Sequence[ShadowRecord]) -> None:
        """Insert answers of challengers at once, past the spool; a kill loses those that wait."""
        try:
            with self._database_lock.hold():
                self._database.insert_shadow([record.as_row() for record in records])
        except StatementError as error:
            raise PredictionLogError(f"The prediction log cannot be written: {error}.") from error

    def shadow_pairs(self, digest: str, champion_digest: str) -> PairCounts:
        """Return the pairs of answers of a challenger and a champion that have feedback."""
        return shadow.read_pairs(self._read, digest, champion_digest)[0]

    def size(self) -> tuple[int, int]:
        """Return the count of records and the bytes of the database.

        Also deletes old records, so that it happens in a server without requests.
        """
        try:
            with self._database_lock.hold():
                with suppress(PredictionLogError):  # logged by `_flush`; pending rows are counted
                    self._drain()
                self._database.prune_if_due(time.time())
                rows, size_bytes = self._database.size()
                return rows + self._pending_rows, size_bytes
        except StatementError as error:
            raise PredictionLogError(f"The prediction log cannot be read: {error}.") from error

    def close(self) -> None:
        """Close the files; later records are dropped.

        Where the database hangs, pending rows stay in the spool for the next process.
        """
        self._flush_deadline = time.monotonic() + CLOSE_TIMEOUT_S
        self._closing.set()
        self._drain_requested.set()
        if not self._database_lock.lock.acquire(timeout=LOCK_TIMEOUT_S):
            _log.warning("the prediction log was not closed: a thread waits for the disk")
            return
        try:
            with suppress(PredictionLogError, OSError):
                self._drain()
            with self._spool_lock.lock:
                if self._spool is not None:
                    if self._spool.path is None and self._pending_rows:
                        _log.error("%d predictions in memory are lost", self._pending_rows)
                    self._spool.close()
                    self._spool = None
            self._database.close()
        finally:
            self._database_lock.lock.release()

    def _add(self, record: PredictionRecord) -> None:
        row = record.as_row()
        line = to_json(row) + b"\n"
        spooled = False
        with self._spool_lock.hold():
            if self._spool is not None:
                self._spool.append(line)
                self._pending_rows += 1
                spooled = True
        if not spooled and self.shared:
            raise PredictionLogError("The prediction log has no spool.")
        if not spooled:
            with self._database_lock.hold():
                self._database.insert([row], record.timestamp)
        elif self._pending_rows >= FLUSH_ROWS:
            self._drain_requested.set()

    def _read(self, statement: str, *values: str | float) -> list[Any]:
        try:
            with self._database_lock.hold():
                drain_error = None
                try:
                    self._drain()
                except PredictionLogError as error:
                    drain_error = error
                rows = self._database.execute(statement, *values)
        except StatementError as error:
            raise PredictionLogError(f"The prediction log cannot be read: {error}.") from error
        if drain_error is not None and not rows:
            raise drain_error  # the row may be among the pending ones
        return rows

    def _insert_from_other_spool(self, trace_id: str) -> None:
        """Insert a record that another server keeps in its spool; it skips the row later."""
        row = spool.find_row(self._spool_path, trace_id, schema.COLUMN_COUNT)
        try:
            with self._database_lock.hold():
                self._database.insert([row] if row else [], time.time())
        except StatementError as error:
            raise PredictionLogError(f"The prediction log cannot be written: {error}.") from error

    def _drain_loop(self) -> None:
        while not self._closing.is_set():
            self._wait()
            needed = self._failing or self._pending_rows >= (1 if self.shared else FLUSH_ROWS)
            if needed and not self._try_drain():
                self._drain_requested.set()
                self._closing.wait(DRAIN_RETRY_S)
        self._drain_requested.close()

    def _wait(self) -> None:
        """Until rows are due, or another server asks for them, as the database then says."""
        descriptor = self._database.descriptor
        away = self.shared and descriptor is None
        interval_s = (DRAIN_RETRY_S if away else FLUSH_INTERVAL_S) if self.shared else None
        sent = self._drain_requested.wait(interval_s, descriptor)
        if (sent or away) and not self._closing.is_set():
            with suppress(PredictionLogError), self._database_lock.lock:
                self._database.poll()

    def _try_drain(self) -> bool:
        try:
            with self._database_lock.lock:
                self._drain()
        except PredictionLogError:
            return False
        except Exception:  # noqa: BLE001 - the thread goes on after any failure
            _log.exception("predictions wait in the spool")
            return False
        return True

    def _drain(self) -> None:
        """Move pending rows into the database; `_database_lock` is held.

        Rows may be appended to the spool meanwhile.
        """
        rounds = 0
        while rounds <= DRAIN_ROUNDS:
            with self._spool_lock.lock:
                if self._spool is None:
                    return
                lines, end = self._spool.lines(self._spool_offset, MAX_READ_BYTES)
                whole = end == self._spool.size_bytes
                last = whole and rounds == DRAIN_ROUNDS
                if not lines or (last and end > MAX_SPOOL_BYTES and not self.shared):
                    self._flush(lines)
                    self._spool.clear()
                    self._spool_offset = self._pending_rows = 0
                    if not self._spool.is_in_place():  # it was deleted
                        self._spool.close()
                        self._open_spool()
                    return
            if last:  # rows that came since the last round can wait
                return
            self._flush(lines)
            with self._spool_lock.lock:
                self._spool_offset = end
                self._pending_rows -= len(lines)
            rounds += whole

    def _open_spool(self) -> None:
        open_spool = spool.open_own if self.shared else spool.open_exclusive
        self._spool = open_spool(self._spool_path)
        self._pending_rows = len(self._spool.lines()[0]) if self._spool else 0
        self._spool_offset = 0

    def _flush(self, lines: Sequence[bytes]) -> None:
        try:
            for start in range(0, len(lines), PRUNE_INTERVAL_ROWS):  # old rows are deleted between
                if time.monotonic() > self._flush_deadline:
                    raise PredictionLogError("The server ends before all of them are written.")
                chunk = lines[start : start + PRUNE_INTERVAL_ROWS]
                if rows := spool.parse_rows(chunk, schema.COLUMN_COUNT):
                    self._database.insert(rows, max(row[1] for row in rows))
        except PredictionLogError as error:
            if not self._flush_failing:
                _log.warning("%d predictions wait in the spool: %s", self._pending_rows, error)
            self._flush_failing = True
            raise PredictionLogError(f"The prediction log cannot be written: {error}.") from error
        self._flush_failing = False
