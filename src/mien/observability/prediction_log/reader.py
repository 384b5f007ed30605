"""Reads a prediction log, also while a server writes it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mien.errors import PredictionLogError, UnknownPredictionError
from mien.observability.prediction_log import schema, shadow, spool
from mien.observability.prediction_log.database import check_format
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowSummary


def find_record(trace_id: str, path: Path) -> PredictionRecord:
    """Return the record of a prediction.

    Raises:
        PredictionLogError: there is no such file, or it is not a prediction log.
        UnknownPredictionError: it has no such record.
    """
    if not path.is_file():
        raise PredictionLogError(
            f"{path}: expected a prediction log, found no file. `mien serve` writes it into its "
            "workspace (--home) or to MIEN_PREDICTION_LOG; name the same one."
        )
    # The spool first: a row that leaves it meanwhile is in the database then.
    row: Sequence[Any] | None = spool.find_row(
        spool.path_of(path), trace_id, schema.COLUMN_COUNT
    ) or _find_in_database(path, trace_id)
    if row is None:
        raise UnknownPredictionError(
            f"{path} has no prediction {trace_id!r}. Give the trace_id as the response has it; old "
            "records are deleted (MIEN_PREDICTION_LOG_DAYS, MIEN_PREDICTION_LOG_MB)."
        )
    return PredictionRecord.from_row(row)


def summarise_shadow(path: Path, digest: str, champion_digest: str) -> ShadowSummary:
    """What the log says about two models; nothing where no server has written it yet.

    Raises:
        PredictionLogError: the file is not a prediction log.
    """
    if not path.is_file():
        return ShadowSummary()
    with _open_read_only(path) as connection:
        return shadow.summarise(
            lambda statement, *values: connection.execute(statement, values).fetchall(),
            digest,
            champion_digest,
        )


def _find_in_database(path: Path, trace_id: str) -> Sequence[Any] | None:
    with _open_read_only(path) as connection:
        row: Sequence[Any] | None = connection.execute(schema.FIND, [trace_id]).fetchone()
        return row


@contextmanager
def _open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    # SQLite would create files beside one that no process has open, unless it is immutable.
    in_use = path.with_name(f"{path.name}-wal").exists()
    mode = "mode=ro" if in_use else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)) as connection:
            check_format(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise PredictionLogError(f"{path} is not a readable prediction log: {error}.") from error
