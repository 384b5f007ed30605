"""The SQLite file of the prediction log, bounded in age and size.

A commit is written through to the operating system, a checkpoint to the disk: a killed process
loses nothing, a power cut the last moments, and neither damages the file.
"""

import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.errors import PredictionLogError
from mien.observability.prediction_log import schema, shadow

DAY_S = 86_400.0
SQLITE_BUSY_TIMEOUT_S = 0.25
"""How long a statement waits while another program has the file locked."""
REOPEN_INTERVAL_S = 60.0
"""Time until a file that could not be opened is tried again."""
PRUNE_INTERVAL_ROWS, PRUNE_INTERVAL_S = 500, 3600.0
"""Old rows are deleted after so many new ones, and after so much time: also where few come."""
MAX_PRUNED_ROWS = 4 * PRUNE_INTERVAL_ROWS
_log = logging.getLogger(__name__)


class Database:
    """One file of predictions. Not safe for concurrent use.

    A file that cannot be opened is tried again later; until then every method but `close` raises
    `PredictionLogError`. A file that is deleted or replaced meanwhile is opened again.
    """

    def __init__(self, path: Path, max_age_days: float, max_size_mb: float) -> None:
        """Open or create the file, and delete what is beyond its limits.

        Raises:
            PredictionLogError: the file has another format.
        """
        self._path = path
        self._max_age_s = max_age_days * DAY_S
        self._max_size_bytes = max_size_mb * 1e6
        self._closed = self._failing = False
        self.lost_rows = 0
        """Rows that were in a file that was deleted."""
        self._rows_since_prune, self._pruned_at = 0, time.time()
        self._connection = self._open()
        while self._connection is not None and self._prune(self._connection, self._pruned_at):
            pass

    def oldest_timestamp(self) -> float:
        """The timestamp of which the rows before it count as deleted."""
        return time.time() - self._max_age_s

    def execute(self, statement: str, *values: str | float | None) -> sqlite3.Cursor:
        """Execute one statement of `schema`.

        Raises:
            sqlite3.Error: it failed.
        """
        return self._opened().execute(statement, values)

    def insert(self, rows: Sequence[Sequence[Any]], now: float) -> None:
        """Insert all rows or none, and delete old ones from time to time.

        Raises:
            sqlite3.Error: they could not be inserted.
        """
        self._insert(schema.INSERT, rows)
        self._rows_since_prune += len(rows)
        self.prune_if_due(now)

    def insert_shadow(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert answers of challengers, all or none; they are deleted with their predictions.

        Raises:
            sqlite3.Error: they could not be inserted.
        """
        self._insert(shadow.INSERT, rows)

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        connection = self._opened()
        connection.execute("begin immediate")
        try:
            connection.executemany(statement, rows)
            connection.execute("commit")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def size(self) -> tuple[int, int]:
        """Count of rows, and bytes of the file."""
        connection = self._opened()
        rows = int(connection.execute(schema.COUNT).fetchone()[0])
        return rows, _file_and_used_bytes(connection)[0]

    def prune_if_due(self, now: float) -> None:
        """Delete old rows where the interval has passed."""
        due = now - self._pruned_at >= PRUNE_INTERVAL_S
        if due or self._rows_since_prune >= PRUNE_INTERVAL_ROWS:
            self._rows_since_prune, self._pruned_at = 0, now
            self._prune(self._opened(), now)

    def close(self) -> None:
        """Close the file for good."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and file_identity(self._path) != self._identity:
            self._open_again(self._connection)
        if self._connection is None and not self._closed and time.monotonic() >= self._reopen_at:
            self._connection = self._open()
        if self._connection is None:
            raise PredictionLogError(
                "The prediction log is not open; the log of the server has the reason."
            )
        return self._connection

    def _open_again(self, deleted: sqlite3.Connection) -> None:
        """Begin a new file, as the open one is no longer at its path.

        SQLite does not touch the new file's write-ahead log when it closes a deleted file.
        """
        rows = _count_rows(deleted)
        deleted.close()
        self._connection = None
        self._connection = self._open()
        lost = max(0, rows - _count_rows(self._connection))
        self.lost_rows += lost
        text = "%s was deleted or replaced while it was in use: %d predictions are lost"
        _log.error(text, self._path, lost)

    def _open(self) -> sqlite3.Connection | None:
        self._reopen_at = time.monotonic() + REOPEN_INTERVAL_S
        connection, error = _open(self._path)
        if error is not None and not self._failing:
            text = "predictions are not recorded: %s cannot be opened (%s)"
            _log.error(text, self._path, error)
        self._failing = error is not None
        self._identity = file_identity(self._path)
        return connection

    def _prune(self, connection: sqlite3.Connection, now: float) -> int:
        """Delete rows beyond the age, and the oldest while the file is too large."""
        too_large = _file_and_used_bytes(connection)[1] > self._max_size_bytes
        newest = now if too_large else now - self._max_age_s
        try:
            deleted = connection.execute(schema.DELETE_OLDEST, (MAX_PRUNED_ROWS, newest)).rowcount
            connection.execute(shadow.DELETE_OLDEST, (MAX_PRUNED_ROWS,))
            connection.execute("pragma incremental_vacuum").fetchall()
            return deleted
        except sqlite3.Error as error:
            _log.warning("old predictions could not be deleted: %s", error)
            return 0


def file_identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one at the same path; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _count_rows(connection: sqlite3.Connection | None) -> int:
    try:
        return int(connection.execute(schema.COUNT).fetchone()[0]) if connection else 0
    except sqlite3.Error:
        return 0


def _open(path: Path) -> tuple[sqlite3.Connection | None, Exception | None]:
    """Open or create the file, or say why not; a damaged one is renamed, not overwritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path), None
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            renamed = _rename_damaged(path)
            _log.error(
                "%s is damaged (%s); it is now %s, and a new file begins", path, error, renamed
            )
            return _connect(path), None
    except (sqlite3.Error, OSError) as error:
        return None, error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=SQLITE_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
    except (sqlite3.Error, PredictionLogError):
        # Closing also deletes the write-ahead log, which the next file would else take over.
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("pragma page_count").fetchone()[0] == 0:  # of no effect later
        connection.execute("pragma auto_vacuum = incremental")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    # Half a second for a full log; a torn page would else stop the recording only later. Before the
    # format: what is damaged is set aside, what has another format is refused.
    (result,) = connection.execute("pragma quick_check(1)").fetchone()
    if result != "ok":
        raise sqlite3.DatabaseError(result)
    _create_or_check_table(connection, path)


def _create_or_check_table(connection: sqlite3.Connection, path: Path) -> None:
    if _is_empty(connection):
        connection.execute("begin immediate")
        if _is_empty(connection):  # else another process was faster
            connection.execute(schema.TABLE)
            connection.execute(schema.INDEX)
            connection.execute(f"pragma user_version = {schema.FORMAT_VERSION}")
        connection.execute("commit")
    check_format(connection, path)
    connection.execute(shadow.TABLE)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("select count(*) = 0 from sqlite_master").fetchone()[0])


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Check the format version of an open file.

    Raises:
        PredictionLogError: it is another one.
    """
    version = connection.execute("pragma user_version").fetchone()[0]
    if version != schema.FORMAT_VERSION:
        raise PredictionLogError(
            f"{path}: expected a prediction log of format {schema.FORMAT_VERSION}, found format "
            f"{version}. Move the file away, or set MIEN_PREDICTION_LOG to another path."
        )


def _rename_damaged(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return path.replace(target)


def _file_and_used_bytes(connection: sqlite3.Connection) -> tuple[int, int]:
    pages, free, page_bytes = (
        connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int(pages * page_bytes), int((pages - free) * page_bytes)
