"""Reads a prediction log, also while a server writes it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mien.errors import PredictionLogError, UnknownPredictionError
from mien.observability.prediction_log import schema, shadow, spool
from mien.observability.prediction_log.location import PostgresLocation, PredictionLogLocation
from mien.observability.prediction_log.postgresql import PostgresDatabase
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import Read, ShadowSummary
from mien.observability.prediction_log.sqlite import check_format

_HAS_SHADOW = "select count(*) from sqlite_master where name = 'shadow'"
"""An SQLite file of before lacks the table until a server opens it."""


def find_record(trace_id: str, location: PredictionLogLocation) -> PredictionRecord:
    """Return the record of a prediction.

    Raises:
        PredictionLogError: there is no prediction log, or it cannot be read.
        UnknownPredictionError: it has no such record.
    """
    if isinstance(location, PostgresLocation):
        name, spools = str(location.address), spool.all_of(location.spool)
    elif location.is_file():
        name, spools = str(location), [spool.path_of(location)]
    else:
        raise PredictionLogError(
            f"{location}: expected a prediction log, found no file. `mien serve` writes it into "
            "its workspace (--home) or to MIEN_PREDICTION_LOG; name the same one."
        )
    # The spool first: a row that leaves it meanwhile is in the database then.
    rows = [spool.find_row(each, trace_id, schema.COLUMN_COUNT) for each in spools]
    row: Sequence[Any] | None = next(filter(None, rows), None) or _find(location, trace_id)
    if row is None:
        raise UnknownPredictionError(
            f"{name} has no prediction {trace_id!r}. Give the trace_id as the response has it; old "
            "records are deleted (MIEN_PREDICTION_LOG_DAYS, MIEN_PREDICTION_LOG_MB)."
        )
    return PredictionRecord.from_row(row)


def summarise_shadow(
    location: PredictionLogLocation, digest: str, champion_digest: str
) -> ShadowSummary:
    """What the log says about two models; nothing where no server has written it yet.

    Raises:
        PredictionLogError: it is not a prediction log, or cannot be read.
    """
    if isinstance(location, Path) and not location.is_file():
        return ShadowSummary()
    with _open_read_only(location) as read:
        if isinstance(location, Path) and not read(_HAS_SHADOW)[0][0]:
            return ShadowSummary()
        return shadow.summarise(read, digest, champion_digest)


def _find(location: PredictionLogLocation, trace_id: str) -> Sequence[Any] | None:
    with _open_read_only(location) as read:
        return next(iter(read(schema.FIND, trace_id)), None)


@contextmanager
def _open_read_only(location: PredictionLogLocation) -> Iterator[Read]:
    if isinstance(location, PostgresLocation):
        with closing(PostgresDatabase(location.address, create=False)) as database:
            yield database.execute
    else:
        with _open_file(location) as connection:
            yield lambda statement, *values: connection.execute(statement, values).fetchall()


@contextmanager
def _open_file(path: Path) -> Iterator[sqlite3.Connection]:
    # SQLite would create files beside one that no process has open, unless it is immutable.
    in_use = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if in_use else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)) as connection:
            check_format(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise PredictionLogError(f"{path} is not a readable prediction log: {error}.") from error
