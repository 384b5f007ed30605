"""A database of the prediction log, bounded in age and size.

`sqlite.py` is the file of one machine, `postgresql.py` what several servers share.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from mien.errors import PredictionLogError
from mien.observability.prediction_log import schema, shadow

DAY_S = 86_400.0
PRUNE_INTERVAL_ROWS, PRUNE_INTERVAL_S = 500, 3600.0
"""Old rows are deleted after so many new ones, and after so much time: also where few come."""
MAX_PRUNED_ROWS = 4 * PRUNE_INTERVAL_ROWS
_log = logging.getLogger(__name__)


class StatementError(PredictionLogError):
    """A statement that the database refused; the message is its reason."""


class Database(ABC):
    """Predictions, and answers of challengers. Not safe for concurrent use.

    A database that cannot be opened is tried again later; until then every method but `close`
    raises `PredictionLogError`. A statement that fails raises `StatementError`.
    """

    shared = False
    """Whether servers on other machines write to it too."""
    reopen_interval_s: float
    """Time until a database that could not be opened is tried again."""

    def __init__(self, name: str, max_age_days: float, max_size_mb: float) -> None:
        """Do not open it yet; `name` is for messages."""
        self._name = name
        self._max_age_s = max_age_days * DAY_S
        self._max_size_bytes = max_size_mb * 1e6
        self._connection: Any = None
        self._closed, self._reopen_at, self._reason = False, 0.0, ""
        self.lost_rows = 0
        """Rows that were deleted by somebody else, or that the database cannot store."""
        self.on_wanted: Callable[[], None] = lambda: None
        """Called where another server asks for the records of this one."""
        self._rows_since_prune, self._pruned_at = 0, time.time()

    def oldest_timestamp(self) -> float:
        """The timestamp of which the rows before it count as deleted."""
        return time.time() - self._max_age_s

    @abstractmethod
    def execute(self, statement: str, *values: str | float | None) -> list[Any]:
        """Execute one statement of `schema` or `shadow`, and return its rows."""

    @abstractmethod
    def change(self, statement: str, *values: str | float | None) -> int:
        """Execute one statement that changes rows, and return how many it changed."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Count of rows, and bytes on the disk."""

    def insert(self, rows: Sequence[Sequence[Any]], now: float) -> None:
        """Insert all rows or none, and delete old ones from time to time."""
        self._insert_predictions(rows)
        self._rows_since_prune += len(rows)
        self.prune_if_due(now)

    @abstractmethod
    def insert_shadow(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert answers of challengers, all or none; they are deleted with their predictions."""

    @property
    def descriptor(self) -> int | None:
        """What becomes readable where another server asks for records, if anything does."""
        return None

    def poll(self) -> None:  # noqa: B027 - nobody asks for the records of a file
        """Read what made `descriptor` readable."""

    def want_records(self) -> None:  # noqa: B027
        """Ask the other servers to insert the records that they have."""

    def prune_if_due(self, now: float) -> None:
        """Delete old rows where the interval has passed."""
        due = now - self._pruned_at >= PRUNE_INTERVAL_S
        if due or self._rows_since_prune >= PRUNE_INTERVAL_ROWS:
            self._opened()
            self._rows_since_prune, self._pruned_at = 0, now
            self._prune(now)

    def close(self) -> None:
        """Close it for good."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @abstractmethod
    def _insert_predictions(self, rows: Sequence[Sequence[Any]]) -> None: ...

    @abstractmethod
    def _connect(self) -> tuple[Any, Exception | None]:
        """A connection, or why there is none.

        Raises:
            PredictionLogError: the prediction log has another format.
        """

    @abstractmethod
    def _used_bytes(self) -> float:
        """Bytes of the rows, without space that deleted ones have left."""

    def _opened(self) -> Any:
        if self._connection is None and not self._closed and time.monotonic() >= self._reopen_at:
            self._open()
        if self._connection is None:
            raise PredictionLogError(f"The prediction log is not open ({self._reason}).")
        return self._connection

    def _open(self) -> None:
        self._connection, error = self._connect()
        self._reopen_at = time.monotonic() + self.reopen_interval_s if error else 0.0
        if error is not None and not self._reason:
            _log.error("the prediction log cannot be opened: %s (%s)", self._name, error)
        self._reason = (str(error) or type(error).__name__) if error else ""

    def _prune(self, now: float) -> int:
        """Delete rows beyond the age, and the oldest while the database is too large."""
        try:
            too_large = self._used_bytes() > self._max_size_bytes
            newest = now if too_large else now - self._max_age_s
            deleted = self.change(schema.DELETE_OLDEST, MAX_PRUNED_ROWS, newest)
            self.change(shadow.DELETE_OLDEST, MAX_PRUNED_ROWS)
            self._return_space()
            return deleted
        except PredictionLogError as error:
            _log.warning("old predictions could not be deleted: %s", error)
            return 0

    def _return_space(self) -> None:  # noqa: B027 - PostgreSQL does it by itself
        """Give back to the disk what deleted rows have left."""
