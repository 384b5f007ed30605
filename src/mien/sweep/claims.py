"""Which process runs which trial of a study: by locks that end with the process that has them.

Without a shared database, one process has all trials. On PostgreSQL, a trial belongs to the session
that has its advisory lock: the server gives it back when a machine dies, without a clock.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from mien.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import URL

CONNECT_ARGUMENTS = {"timeout": 30}
"""Seconds for each answer; a sweep whose database is away that long ends, and resumes."""
_LOCK_TIMEOUT = "55P03"
"""What PostgreSQL answers where a lock was not free within `lock_timeout`."""
_SETTINGS = {
    "lock_timeout": 10_000,
    "tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3,
}  # fmt: skip
"""Milliseconds of waiting, less than `timeout` above; and how the server looks whether a machine is
still there: by default, one that is gone would keep its trial for two hours."""
_PROPOSING = -1
"""Locked, instead of a trial, by the process that proposes the next ones."""
_TABLES = 1_835_623_790
"""Locked, instead of a study, by the process that creates Optuna's tables; any number."""


class Claims(Protocol):
    """The trials that this process may run."""

    def creating(self) -> AbstractContextManager[None]:
        """A context in which no other process creates tables or a study."""

    def proposing(self) -> AbstractContextManager[None]:
        """A context in which no other process proposes trials."""

    def take(self, numbers: Sequence[int], count: int) -> list[int]:
        """At most `count` of these trials, none of which another process has."""

    def wait(self, number: int) -> None:
        """Return when no other process has this trial."""

    def release(self, number: int) -> None:
        """Let others have a trial."""

    def close(self) -> None:
        """Let others have all trials."""


class AllTrials:
    """The claims of the only process of a study."""

    def creating(self) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return nullcontext()

    def proposing(self) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return nullcontext()

    def take(self, numbers: Sequence[int], count: int) -> list[int]:
        """All of them, also more than `count`."""
        return list(numbers)

    def wait(self, number: int) -> None:
        """Nothing to wait for."""

    def release(self, number: int) -> None:
        """Nobody else wants it."""

    def close(self) -> None:
        """Nothing to let go."""


class AdvisoryLocks:
    """Claims in a PostgreSQL database; one session has them, and a lost one loses them all."""

    def __init__(self, url: "URL", study: str) -> None:
        from sqlalchemy import NullPool, create_engine

        # Without a pool, which would keep a closed session and its locks.
        engine = create_engine(url, connect_args=CONNECT_ARGUMENTS, poolclass=NullPool)
        self._study = int.from_bytes(sha256(study.encode()).digest()[:4], signed=True)
        self._session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for name, value in _SETTINGS.items():
            self._execute(f"SET {name} = {value}")

    def creating(self) -> AbstractContextManager[None]:
        """Wait for another process that creates tables or a study in this database."""
        return self._locked(_TABLES, 0)

    def proposing(self) -> AbstractContextManager[None]:
        """Wait for another process that proposes trials."""
        return self._locked(self._study, _PROPOSING)

    def take(self, numbers: Sequence[int], count: int) -> list[int]:
        """The first ones that are free."""
        claimed: list[int] = []
        for number in numbers:
            if len(claimed) < count and self._call("pg_try_advisory_lock", self._study, number):
                claimed.append(number)
        return claimed

    def wait(self, number: int) -> None:
        """Return when no other process has this trial."""
        with self._locked(self._study, number):
            return

    def release(self, number: int) -> None:
        """Let others have a trial."""
        self._call("pg_advisory_unlock", self._study, number)

    def close(self) -> None:
        """End the session, and with it its locks."""
        self._session.close()

    @contextmanager
    def _locked(self, first: int, second: int) -> Iterator[None]:
        while not self._acquire(first, second):
            continue
        try:
            yield
        finally:
            self._call("pg_advisory_unlock", first, second)

    def _acquire(self, first: int, second: int) -> bool:
        from sqlalchemy.exc import DBAPIError

        try:
            self._execute(f"SELECT pg_advisory_lock({first}, {second})")
        except DBAPIError as error:
            if _LOCK_TIMEOUT not in str(error.orig):
                raise
            return False
        return True

    def _call(self, function: str, first: int, second: int) -> bool:
        return bool(self._execute(f"SELECT {function}({first}, {second})").scalar())

    def _execute(self, statement: str) -> Any:
        from sqlalchemy import text

        return self._session.execute(text(statement))


def database(address: str) -> "URL":
    """The database that `--storage` names, with the driver that mien installs.

    Raises:
        ConfigError: it is not one of PostgreSQL; the text is not repeated, it may hold a password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql" or not url.database:
        raise ConfigError(
            "--storage: expected postgresql://USER@HOST/DATABASE, found something else. Put the "
            "password into PGPASSWORD."
        )
    try:
        import pg8000  # noqa: F401 - now, and not within a message of SQLAlchemy
    except ImportError:
        raise ConfigError(
            "--storage: expected pg8000, found no such package. Run `pip install pg8000`."
        ) from None
    password = url.password or os.environ.get("PGPASSWORD")
    return url.set(drivername="postgresql+pg8000", password=password)


@contextmanager
def reported(url: "URL | None") -> Iterator[None]:
    """Replace errors of the database by short ones; those of libraries may quote its address.

    Raises:
        StorageError: it does not answer, or refuses.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        if url is None:
            raise
        cause = type(getattr(error, "orig", None) or error).__name__
        raise StorageError(
            f"--storage postgresql://{url.host or ''}/{url.database}: expected a database that "
            f"answers, found {cause}. Check that it runs, the user and the password; the same "
            "command resumes."
        ) from None
