"""The journal, which keeps the record of every answer.

It is one SQLite file, bounded in age and size, and a spool beside it. It holds what was
answered and what people said of it, never what was sent. An answer is in the spool before it is
on the wire, so a killed process loses none; from there it goes into SQLite with others, which
costs a fraction of going alone. A full disk loses the record, counts it and loses no answer.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mien.errors import JournalError
from mien.observability.prediction_log import spool
from mien.observability.prediction_log.events import COLUMNS, JSON, Event, Verdict

DAY = 86400.0
_WAIT, _LOCKED, _REST, _BRIEF = 1.0, 0.25, 2.0, 0.002
"""Seconds that a thread waits for its turn, and the turn for another program; seconds after that in
which nobody waits for more than a moment, and that moment."""
_RETRY = 60.0
"""Seconds until a file that could not be opened is tried again."""
_STEP = 500
"""After so many answers the journal looks for old ones; so many times four go at once."""
_PAUSE = 3600.0
"""It looks after so many seconds too: where little is asked, old answers must go all the same."""
_TABLE = """
create table if not exists answers (
    id integer primary key, trace_id text unique not null, moment real not null,
    task text not null, version text not null, checksum text not null, outcome text not null,
    label text, confidence real not null, input_stats text not null, seconds real not null,
    truth text, told real
)
"""
_INDEX = "create index if not exists judged on answers (checksum, told) where told is not null"
_INSERT = f"insert or ignore into answers ({COLUMNS}) values ({', '.join('?' * 10)})"
_TOGETHER = 256
"""Answers that go into SQLite at once: less than one in a hundred shares the processor with it."""
_ROUNDS, _SPOOLED = 3, 1_000_000
"""How often the spool is read for what was added meanwhile, and bytes in it for which adding has to
wait then, as else it might never be empty."""
_log = logging.getLogger(__name__)


class Journal:
    """One file of answers. May be used by many threads.

    Every method but `add` and `close` raises JournalError where the file cannot be read or written.
    """

    def __init__(self, path: Path, days: float = 30.0, megabytes: float = 200.0) -> None:
        self.dropped = 0
        self._days, self._bytes = days, megabytes * 1e6
        self._lock, self._spooling = threading.Lock(), threading.Lock()
        self._since, self._looked = 0, time.time()
        self._failing, self._stuck = False, dict[threading.Lock, float]()
        self._path, self._ended, self._many = path, threading.Event(), threading.Event()
        self._database = self._open_again()
        # Another process may hold it, and some systems have none: then each answer goes alone.
        self._spool = spool.take(path.with_name(f"{path.name}-spool"))
        self._waiting = len(self._spool.lines()[0]) if self._spool else 0
        self._place = 0
        """Up to where the lines of the spool are in SQLite already."""
        with suppress(JournalError):  # told in the log; what waits is taken later
            self._drain()
        while self._database is not None and self._prune(self._database, self._looked):
            pass
        threading.Thread(target=self._drain_at_times, name="mien-journal", daemon=True).start()

    def add(self, event: Event) -> bool:
        """Keep one answer; False, a count and a line in the log where that cannot be done.

        Where even the spool hangs, an answer waits a moment for it, and those of the next seconds
        are dropped at once.
        """
        try:
            self._keep(event)
        except (sqlite3.Error, OSError, JournalError) as error:
            if not self._failing:
                _log.error("answers are not recorded from now on: %s", error)
            self._failing = True
            self.dropped += 1
            self._many.set()  # a full spool may be emptied
            return False
        if self._failing:
            _log.warning("answers are recorded again; %d were not", self.dropped)
            self._failing = False
        return True

    def find(self, trace_id: str) -> Event | None:
        """Return the answer of that name, if it is still kept."""
        rows = self._read(
            f"select {COLUMNS} from answers where trace_id = ? and moment > ?",
            *(trace_id, self._oldest()),
        )
        return Event.of(rows[0]) if rows else None

    def judge(self, trace_id: str, truth: str | None, moment: float) -> bool:
        """Keep a person's verdict on an answer, in place of an earlier one.

        Returns:
            Whether there is such an answer.
        """
        try:
            with self._held(self._lock):
                self._drain()
                done = self._opened().execute(
                    "update answers set truth = ?, told = ? where trace_id = ? and moment > ?",
                    (truth, moment, trace_id, self._oldest()),
                )
                return done.rowcount > 0
        except sqlite3.Error as error:
            raise JournalError(f"The verdict could not be kept: {error}.") from error

    def recent(self, checksum: str, count: int, since: float = 0.0) -> list[Event]:
        """Return the last `count` answers of a model after a moment, oldest first.

        A model is named by its checksum: version numbers begin anew in another workspace.
        """
        rows = self._read(
            f"select {COLUMNS} from answers where checksum = ? and moment > ? "
            "order by id desc limit ?",
            *(checksum, max(since, self._oldest()), count),
        )
        return [Event.of(row) for row in reversed(rows)]

    def verdicts(self, checksum: str, count: int) -> list[Verdict]:
        """Return the last `count` verdicts on answers of a model, newest first."""
        rows = self._read(
            "select label, truth from answers where checksum = ? "
            "and told is not null and moment > ? order by told desc limit ?",
            *(checksum, self._oldest(), count),
        )
        return [Verdict(*row) for row in rows]

    def size(self) -> tuple[int, int]:
        """Return how many answers are kept, and how many bytes their file takes.

        Lets old ones go as well, so that they do in a server that nobody asks.
        """
        try:
            with self._held(self._lock):
                database = self._opened()
                with suppress(JournalError):  # told in the log; what waits is counted
                    self._drain()
                self._prune_at_times(database, time.time())
                # Only the oldest are ever deleted, so the numbers have no gaps.
                query = "select coalesce(max(id) - min(id) + 1, 0) from answers"
                rows = int(database.execute(query).fetchone()[0])
                return rows + self._waiting, _pages(database)[0]
        except sqlite3.Error as error:
            raise JournalError(f"The journal cannot be read: {error}.") from error

    def close(self) -> None:
        """Close the file; what is added afterwards is dropped. Where the disk hangs, what waits is
        left to the next one."""
        self._ended.set()
        self._many.set()
        if not self._lock.acquire(timeout=_WAIT):
            _log.warning("the journal was not closed: a thread waits for the disk")
            return
        try:
            with suppress(JournalError, OSError):
                self._drain()
            with self._spooling:
                if self._spool is not None:
                    self._spool.close()
                    self._spool = None
            if self._database is not None:
                self._database.close()
                self._database = None
        finally:
            self._lock.release()

    def _oldest(self) -> float:
        return time.time() - self._days * DAY

    @contextmanager
    def _held(self, lock: threading.Lock) -> Iterator[None]:
        """Wait for one's turn, but not for a disk that hangs."""
        patient = time.monotonic() >= self._stuck.get(lock, 0.0)
        if not lock.acquire(timeout=_WAIT if patient else _BRIEF):
            if patient:
                self._stuck[lock] = time.monotonic() + _REST
            raise JournalError("The journal is busy; another thread waits for the disk.")
        try:
            yield
        finally:
            lock.release()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None and not self._ended.is_set() and time.monotonic() >= self._again:
            self._database = self._open_again()
        if self._database is None:
            raise JournalError("The journal could not be opened; the server's log has the reason.")
        return self._database

    def _open_again(self) -> sqlite3.Connection | None:
        self._again = time.monotonic() + _RETRY
        return _open(self._path)

    def _keep(self, event: Event) -> None:
        line = JSON.encode(event.row).encode() + b"\n"
        with self._held(self._spooling):
            if self._spool is not None:
                self._spool.append(line)
                self._waiting += 1
                line = b""
        if line:
            with self._held(self._lock):
                self._insert([event.row], event.moment)
        elif self._waiting >= _TOGETHER:
            self._many.set()

    def _drain_at_times(self) -> None:
        """In a thread of its own, so that no answer waits for SQLite and its disk."""
        while not self._ended.is_set():
            self._many.wait()
            self._many.clear()
            wanted = self._failing or self._waiting >= _TOGETHER
            if wanted and not self._drained():
                self._many.set()
                self._ended.wait(_REST)

    def _drained(self) -> bool:
        """Drain; False where that cannot be done now, of which the log tells."""
        try:
            with self._lock:
                self._drain()
        except JournalError:
            return False
        except Exception:  # noqa: BLE001 - the thread goes on, whatever one try ended with
            _log.exception("answers wait beside the journal")
            return False
        return True

    def _drain(self) -> None:
        """Bring what waits in the spool into SQLite; answers go on being added to it meanwhile."""
        for number in range(_ROUNDS + 1):
            with self._spooling:
                if self._spool is None:
                    return
                lines, end = self._spool.lines(self._place)
                self._waiting = len(lines)
                if not lines or (number == _ROUNDS and end > _SPOOLED):
                    self._take(lines)
                    self._spool.clear()
                    self._place = self._waiting = 0
                    return
            if number < _ROUNDS:  # what has come since can wait
                self._take(lines)
                self._place = end

    def _take(self, lines: Sequence[bytes]) -> None:
        rows = spool.rows(lines, _INSERT.count("?"))
        try:
            for start in range(0, len(rows), _STEP):  # a time to look for old ones after each
                some = rows[start : start + _STEP]
                self._insert(some, max(row[1] for row in some))
        except (sqlite3.Error, JournalError) as error:
            _log.warning("%d answers wait beside the journal: %s", len(lines), error)
            raise JournalError(f"The journal cannot be written: {error}.") from error

    def _insert(self, rows: Sequence[Sequence[Any]], now: float) -> None:
        database = self._opened()
        database.execute("begin immediate")
        try:
            database.executemany(_INSERT, rows)
            database.execute("commit")
        except sqlite3.Error:
            if database.in_transaction:
                database.execute("rollback")
            raise
        self._since += len(rows)
        self._prune_at_times(database, now)

    def _prune_at_times(self, database: sqlite3.Connection, now: float) -> None:
        if self._since >= _STEP or now - self._looked >= _PAUSE:
            self._since, self._looked = 0, now
            self._prune(database, now)

    def _prune(self, database: sqlite3.Connection, now: float) -> int:
        """Drop answers beyond the age, and the oldest while they take too much room."""
        oldest = f"select id, moment from answers order by id limit {4 * _STEP}"
        age = self._days * DAY if _pages(database)[1] <= self._bytes else 0.0
        delete = f"delete from answers where id in (select id from ({oldest}) where moment <= ?)"
        try:
            gone = database.execute(delete, (now - age,)).rowcount
            database.execute("pragma incremental_vacuum").fetchall()
            return gone
        except sqlite3.Error as error:
            _log.warning("old answers could not be deleted: %s", error)
            return 0

    def _read(self, query: str, *values: str | float) -> list[Any]:
        try:
            with self._held(self._lock):
                database, left = self._opened(), None
                try:
                    self._drain()
                except JournalError as error:
                    left = error
                rows = database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"The journal cannot be read: {error}.") from error
        if left is not None and not rows:
            raise left  # it may be among those that wait
        return rows


def _open(path: Path) -> sqlite3.Connection | None:
    """Open or make the file; one that is no journal is set aside, not overwritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = _aside(path)
            _log.error("%s is damaged (%s); it is now %s, and a new one begins", path, error, aside)
            return _connect(path)
    except (sqlite3.Error, OSError) as error:
        _log.error("answers are not recorded: %s cannot be opened (%s)", path, error)
        return None


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCKED, isolation_level=None, check_same_thread=False)
    try:
        _begin(database)
    except sqlite3.Error:
        database.close()  # which clears away what lies beside the file, or the next would apply it
        raise
    return database


def _begin(database: sqlite3.Connection) -> None:
    # Written through to the system at every commit, to the disk at every checkpoint: a killed
    # process loses nothing, a power cut the last moments, and neither breaks the file.
    if database.execute("pragma page_count").fetchone()[0] == 0:  # later it is not heeded
        database.execute("pragma auto_vacuum = incremental")
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    database.execute(_TABLE)
    database.execute(_INDEX)
    # Half a second for a full journal; a torn page would else stop the recording only later.
    (found,) = database.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _aside(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return path.replace(target)


def _pages(database: sqlite3.Connection) -> tuple[int, int]:
    """Bytes of the file, and of what is in use in it."""
    pages, free, size = (
        database.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int(pages * size), int((pages - free) * size)
