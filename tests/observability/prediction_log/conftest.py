"""A prediction log in a folder of its own, and one in a PostgreSQL server."""

import gc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgresql import Server
from waiting import PATIENCE

from mien.observability.prediction_log import postgresql, writer
from mien.observability.prediction_log.location import PostgresLocation
from mien.observability.prediction_log.writer import PredictionLog

UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""pg8000 leaves the socket of a login that got no answer to the collector; see `collected`."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "predictions.db"


@pytest.fixture
def log(path: Path) -> Iterator[PredictionLog]:
    with closing(PredictionLog(path)) as opened:
        yield opened


@pytest.fixture
def server(postgresql_server: Server) -> Server:
    postgresql_server.clear()
    return postgresql_server


@pytest.fixture
def location(server: Server, tmp_path: Path) -> PostgresLocation:
    return PostgresLocation(server.address, tmp_path / "spools" / "spool")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure; and no limit for a database that works, on a slow machine either."""
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_S", PATIENCE)
    monkeypatch.setattr(postgresql, "NETWORK_TIMEOUT_S", PATIENCE)
    monkeypatch.setattr(writer, "LOCK_TIMEOUT_S", PATIENCE)
    monkeypatch.setattr(postgresql.PostgresDatabase, "reopen_interval_s", 0.1)
    monkeypatch.setattr(writer, "DRAIN_RETRY_S", 0.05)
    monkeypatch.setattr(writer, "FLUSH_INTERVAL_S", 0.02)


@pytest.fixture
def collected() -> Iterator[None]:
    """Sockets that the driver has left are closed in the test that made them, not in another."""
    yield
    gc.collect()
