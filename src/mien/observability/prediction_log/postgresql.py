"""The prediction log in a PostgreSQL database that several servers share.

Its tables are in a schema of their own, `mien`. One statement inserts a batch of any size and
skips rows that are there already, so that a batch whose end was not seen can be sent again. Every
wait for the network has a limit; a connection that failed is thrown away.
"""

import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

from pydantic_core import to_json

from mien.errors import PredictionLogError
from mien.observability.prediction_log import schema, shadow
from mien.observability.prediction_log.database import Database, StatementError
from mien.observability.prediction_log.location import PostgresAddress
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord
from mien.observability.prediction_log.wakeup import is_readable

STATEMENT_TIMEOUT_S = 2.0
"""After so long PostgreSQL itself ends a statement."""
NETWORK_TIMEOUT_S = 3.0
"""How long a connection waits for each answer of the server."""
INDEX_BYTES = 120
"""Of one row, in all indexes, with the free space that they keep."""
_SAMPLED_ROWS = 200
_FAULTS_OF_A_ROW = ("22", "23")
"""Classes of errors (SQLSTATE) that another connection would not change."""
_TABLES = re.compile(r"\b(predictions|shadow)\b")
_SAME = re.compile(r"(\S+) is (?!not\b|null\b)(\S+)")
_CREATE_LOCK = 6_510_615_555_426_900_561
"""Any number: servers that start at the same time create the tables one after the other."""


def translate(statement: str) -> str:
    """A statement of `schema` or `shadow` as PostgreSQL writes it."""
    text = _SAME.sub(r"\1 is not distinct from \2", _TABLES.sub(r"mien.\1", statement))
    text = text.replace("integer primary key", "bigint generated always as identity primary key")
    text = text.replace(" real ", " double precision ")
    for number in range(text.count("?")):
        text = text.replace("?", f":p{number}", 1)
    return text


def _insert_statement(table: str, record: type) -> str:
    """Inserts all rows of a JSON list of lists, `$1`."""
    columns = fields(record)
    values = ", ".join(
        f"(item ->> {number})::{'double precision' if each.type is float else 'text'}"
        for number, each in enumerate(columns)
    )
    return (
        f"insert into mien.{table} ({', '.join(each.name for each in columns)}) select {values} "
        "from jsonb_array_elements($1) with ordinality as list (item, number) "
        "order by number on conflict (trace_id) do nothing"
    )


_INSERTS = {
    "mien_insert": _insert_statement("predictions", PredictionRecord),
    "mien_insert_shadow": _insert_statement("shadow", ShadowRecord),
}
"""Statements that each connection prepares by SQL: executed as one text and not by `prepare` of the
driver, a batch takes one message there and back."""
_CHANNEL = "mien_wanted"
_BYTES_OF_A_ROW = (
    "select coalesce(avg(pg_column_size(newest)), 0)::double precision from "
    f"(select * from predictions order by id desc limit {_SAMPLED_ROWS}) as newest"
)
# `to_regclass` would look into a cache of the session, which waiting for a lock does not renew.
_EXISTS = (
    "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
    "on n.oid = c.relnamespace where n.nspname = 'mien' and c.relname = 'format')"
)
_SIZE = (
    "select (pg_total_relation_size('mien.predictions') + "
    "pg_total_relation_size('mien.shadow'))::bigint"
)


class PostgresDatabase(Database):
    """One database of predictions."""

    shared = True
    reopen_interval_s = 2.0

    def __init__(
        self,
        address: PostgresAddress,
        max_age_days: float = 30.0,
        max_size_mb: float = 200.0,
        create: bool = True,
    ) -> None:
        """Open the database, and create the tables if they are not there.

        Raises:
            PredictionLogError: the tables have another format.
        """
        super().__init__(str(address), max_age_days, max_size_mb)
        self._address, self._create = address, create
        self._statements: dict[str, Any] = {}
        self._open()

    def execute(self, statement: str, *values: str | float | None) -> list[Any]:
        return self._run(translate(statement), *values)

    def change(self, statement: str, *values: str | float | None) -> int:
        counted = (
            f"with changed as ({translate(statement)} returning 1) select count(*) from changed"
        )
        return int(self._run(counted, *values)[0][0])

    def insert_shadow(self, rows: Sequence[Sequence[Any]]) -> None:
        self._insert("mien_insert_shadow", rows)

    @property
    def descriptor(self) -> int | None:
        """Of the socket, which is readable where the server has sent something unasked."""
        connection = self._connection
        number = connection._usock.fileno() if connection else -1
        return number if number >= 0 else None

    def poll(self) -> None:
        """Read what the server has sent unasked; connect where there is no connection."""
        descriptor = self.descriptor
        if descriptor is None or is_readable(descriptor):  # else another thread has read it
            self._run("select 1")

    def want_records(self) -> None:
        """Ask all servers for the records that wait in their spools."""
        self._run(f"notify {_CHANNEL}")

    def size(self) -> tuple[int, int]:
        return int(self.execute(schema.COUNT)[0][0]), int(self._run(_SIZE)[0][0])

    def close(self) -> None:
        self._closed = True
        self._disconnect()

    def _insert_predictions(self, rows: Sequence[Sequence[Any]]) -> None:
        self._insert("mien_insert", rows)

    def _insert(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert all rows, but those that PostgreSQL cannot store, as a text with a zero byte."""
        try:
            quoted = to_json(rows).decode().replace("'", "''")
            self._run(f"execute {statement}('{quoted}')")
        except UnstorableError:
            if len(rows) > 1:
                for row in rows:
                    self._insert(statement, [row])
            else:
                self.lost_rows += 1

    def _used_bytes(self) -> float:
        rows = self.execute(schema.COUNT)[0][0]
        return float(rows * (self.execute(_BYTES_OF_A_ROW)[0][0] + INDEX_BYTES))

    def _run(self, statement: str, *values: str | float | None) -> list[Any]:
        """Execute a statement; once more where a connection was lost that had been idle.

        All statements may be repeated: inserts skip what is there.
        """
        from pg8000.native import DatabaseError

        for last in (False, True):
            fresh = self._connection is None
            try:
                return self._execute(statement, values)
            except DatabaseError as error:
                code, text = _reason(error)
                if code[:2] in _FAULTS_OF_A_ROW:
                    raise UnstorableError(text) from None
                self._disconnect()
                if last or fresh or code[:3] != "57P":  # the server is being stopped
                    raise StatementError(text) from None
            except PredictionLogError:
                raise
            except Exception as error:  # noqa: BLE001 - the driver reads whatever it is sent
                self._disconnect()
                if last or fresh or isinstance(error.__cause__, TimeoutError):
                    raise StatementError(f"{self._name}: {_cause(error)}") from None
        raise AssertionError

    def _execute(self, statement: str, values: Sequence[Any]) -> list[Any]:
        connection = self._opened()
        rows: list[Any]
        if values:
            prepared = self._statements.get(statement)
            if prepared is None:
                prepared = self._statements[statement] = connection.prepare(statement)
            rows = prepared.run(**{f"p{i}": value for i, value in enumerate(values)}) or []
        else:
            rows = connection.run(statement) or []
        if connection.notifications:
            connection.notifications.clear()
            self.on_wanted()
        return rows

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._statements.clear()
        if connection is not None:
            with suppress(Exception):  # it says goodbye to a server that may be gone
                connection.close()

    def _connect(self) -> tuple[Any, Exception | None]:
        reasons = []
        for host, port in self._address.hosts:
            try:
                return self._connect_to(host, port), None
            except PredictionLogError:
                raise
            except Exception as failure:  # noqa: BLE001 - whatever listens there may answer anything
                reasons.append(f"{host}:{port}: {_cause(failure)}")
        return None, ConnectionError("; ".join(reasons))

    def _connect_to(self, host: str, port: int) -> Any:
        secret, local = self._address.password.get_secret_value(), host.startswith("/")
        connection = _log_in(
            self._address.user,
            host=None if local else host,
            port=port,
            unix_sock=f"{host}/.s.PGSQL.{port}" if local else None,
            database=self._address.database,
            password=secret,
            ssl_context=False if local else _tls(self._address),
            timeout=NETWORK_TIMEOUT_S,
            application_name="mien",
        )
        try:
            if connection.run("show transaction_read_only")[0][0] == "on" and self._create:
                raise ConnectionError("the server only reads, as a standby does")
            connection.run(f"set statement_timeout = {1000 * STATEMENT_TIMEOUT_S:.0f}")
            self._prepare(connection)
            if self._create:
                connection.run("set standard_conforming_strings = on")
                for name, statement in _INSERTS.items():
                    connection.run(f"prepare {name}(jsonb) as {statement}")
                connection.run(f"listen {_CHANNEL}")
        except BaseException:
            with suppress(Exception):
                connection.close()
            raise
        return connection

    def _prepare(self, connection: Any) -> None:
        """Create the tables, or check their format."""
        if not connection.run(_EXISTS)[0][0] and self._create:
            connection.run("begin")
            connection.run(f"select pg_advisory_xact_lock({_CREATE_LOCK})")
            if not connection.run(_EXISTS)[0][0]:  # else another server was faster
                connection.run("create schema if not exists mien")
                for statement in (schema.TABLE, schema.INDEX, shadow.TABLE):
                    connection.run(translate(statement))
                connection.run(
                    "create table mien.format as select "
                    f"{schema.FORMAT_VERSION} as version, now() as created"
                )
            connection.run("commit")
        if not connection.run(_EXISTS)[0][0]:
            raise PredictionLogError(
                f"{self._name}: expected a prediction log, found none. `mien serve` with the same "
                "MIEN_PREDICTION_LOG creates it."
            )
        version = connection.run("select version from mien.format")[0][0]
        if version != schema.FORMAT_VERSION:
            raise PredictionLogError(
                f"{self._name}: expected a prediction log of format {schema.FORMAT_VERSION}, found "
                f"format {version}. Name another database in MIEN_PREDICTION_LOG, or rename the "
                "schema `mien` of this one."
            )


class UnstorableError(StatementError):
    """Rows that PostgreSQL will never take."""


def _log_in(user: str, **options: Any) -> Any:
    """A connection of pg8000, which may leave the socket of a failed login open."""
    from pg8000.native import Connection

    connection = Connection.__new__(Connection)
    try:
        connection.__init__(user, **options)
    except BaseException:
        for name in ("_sock", "_usock"):
            if (opened := getattr(connection, name, None)) is not None:
                with suppress(OSError):
                    opened.close()
        raise
    return connection


def _tls(address: PostgresAddress) -> Any:
    """What the driver takes: False is none, None is encryption where the server has it."""
    if address.sslmode == "verify-full":
        return ssl.create_default_context(cafile=address.sslrootcert)
    return {"disable": False, "prefer": None, "require": True}[address.sslmode]


def _reason(error: Exception) -> tuple[str, str]:
    """SQLSTATE and text of an error that the server has sent."""
    sent = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(sent.get("C", "")), str(sent.get("M", "an error of PostgreSQL"))


def _cause(error: BaseException) -> str:
    """Why there is no connection, without what the driver adds."""
    if error.args and isinstance(error.args[0], dict):
        return _reason(error)[1]  # type: ignore[arg-type]
    cause = error.__cause__ or error
    if isinstance(cause, TimeoutError | socket.gaierror | OSError):
        return str(getattr(cause, "strerror", None) or cause or "it did not answer in time")
    return f"{type(error).__name__}: {error}" if isinstance(error, ConnectionError) else str(error)
