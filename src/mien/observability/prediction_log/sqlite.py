"""The prediction log in an SQLite file of this machine.

A commit is written through to the operating system, a checkpoint to the disk: a killed process
loses nothing, a power cut the last moments, and neither damages the file.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.errors import PredictionLogError
from mien.observability.prediction_log import schema, shadow
from mien.observability.prediction_log.database import Database, StatementError

BUSY_TIMEOUT_S = 0.25
"""How long a statement waits while another program has the file locked."""
_log = logging.getLogger(__name__)


class SqliteDatabase(Database):
    """One file of predictions. One that is deleted or replaced meanwhile is opened again."""

    reopen_interval_s = 60.0

    def __init__(self, path: Path, max_age_days: float, max_size_mb: float) -> None:
        """Open or create the file, and delete what is beyond its limits.

        Raises:
            PredictionLogError: the file has another format.
        """
        super().__init__(str(path), max_age_days, max_size_mb)
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._open()
        while self._connection is not None and self._prune(self._pruned_at):
            pass

    def execute(self, statement: str, *values: str | float | None) -> list[Any]:
        with _reasons():
            rows: list[Any] = self._opened().execute(statement, values).fetchall()
            return rows

    def change(self, statement: str, *values: str | float | None) -> int:
        with _reasons():
            return int(self._opened().execute(statement, values).rowcount)

    def insert_shadow(self, rows: Sequence[Sequence[Any]]) -> None:
        self._insert(shadow.INSERT, rows)

    def size(self) -> tuple[int, int]:
        (rows,) = self.execute(schema.COUNT)[0]
        with _reasons():
            return int(rows), _file_and_used_bytes(self._opened())[0]

    def _insert_predictions(self, rows: Sequence[Sequence[Any]]) -> None:
        self._insert(schema.INSERT, rows)

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        connection = self._opened()
        with _reasons():
            connection.execute("begin immediate")
            try:
                connection.executemany(statement, rows)
                connection.execute("commit")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    def _opened(self) -> Any:
        if self._connection is not None and file_identity(self._path) != self._identity:
            self._open_again()
        return super()._opened()

    def _open_again(self) -> None:
        """Begin a new file, as the open one is no longer at its path.

        SQLite does not touch the new file's write-ahead log when it closes a deleted file.
        """
        rows = _count_rows(self._connection)
        self._connection.close()
        self._connection = None
        self._open()
        lost = max(0, rows - _count_rows(self._connection))
        self.lost_rows += lost
        text = "%s was deleted or replaced while it was in use: %d predictions are lost"
        _log.error(text, self._path, lost)

    def _connect(self) -> tuple[sqlite3.Connection | None, Exception | None]:
        opened = _open(self._path)
        self._identity = file_identity(self._path)
        return opened

    def _used_bytes(self) -> float:
        with _reasons():
            return _file_and_used_bytes(self._opened())[1]

    def _return_space(self) -> None:
        self.execute("pragma incremental_vacuum")


@contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StatementError(str(error)) from error


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
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
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
