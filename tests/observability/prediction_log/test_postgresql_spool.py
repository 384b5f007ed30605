"""The spool of a prediction log in a real PostgreSQL server: bounded, and one for each process."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from postgresql import Server
from waiting import until

from mien.observability.prediction_log import spool, writer
from mien.observability.prediction_log.location import PostgresLocation
from mien.observability.prediction_log.writer import PredictionLog

from .conftest import UNCLOSED
from .faults import FULL, before_insert, frozen, thawed
from .records import OURS, record

pytestmark = [
    pytest.mark.xdist_group("postgresql"),
    pytest.mark.usefixtures("short_waits", "collected"),
    UNCLOSED,
]


def test_each_process_of_a_folder_has_its_spool(
    server: Server, location: PostgresLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a killed process left, with half a line, is taken over by the next to start."""
    kept = [record() for _ in range(3)]
    monkeypatch.setattr(writer, "FLUSH_INTERVAL_S", 60.0)
    with closing(PredictionLog(location)) as first, closing(PredictionLog(location)) as second:
        assert first.add(kept[0])
        assert second.add(kept[1])
        left = [each.read_bytes() for each in spool.all_of(location.spool)]
    assert [content.count(b"\n") for content in left] == [1, 1]
    server.sql("truncate mien.predictions")
    for path, content in zip(spool.all_of(location.spool), left, strict=True):
        path.write_bytes(content + content[:20])
    with closing(PredictionLog(location)) as log:
        assert log.add(kept[2])
        assert {each.trace_id for each in log.recent(OURS, 9)} == {each.trace_id for each in kept}
    assert [each.read_bytes() for each in spool.all_of(location.spool)] == [b"", b""]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory files are Linux's")
def test_records_wait_in_memory_without_a_disk(
    server: Server, location: PostgresLocation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container whose file system is read-only: no answer waits for the database."""
    (tmp_path / "file").write_text("no folder")
    with closing(PredictionLog(replace(location, spool=tmp_path / "file" / "spool"))) as log:
        assert "records wait in memory" in caplog.text
        added = [record() for _ in range(3)]
        for each in added:
            assert log.add(each)
        assert log.recent(OURS, 9) == added
        frozen(server)
        assert log.add(record())
        thawed(server)
        until(lambda: log.pending == 0)
    assert (server.count(), log.dropped) == (4, 0)


def test_a_full_spool_loses_records_and_counts_them(
    server: Server, location: PostgresLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of SQLite's spool holds here; recording goes on when the database does."""
    monkeypatch.setattr(spool, "MAX_SIZE_BYTES", 10_000)
    with closing(PredictionLog(location)) as log:
        before_insert(server, FULL)
        assert not all(log.add(record()) for _ in range(100))
        before_insert(server, "null")
        until(lambda: log.add(record()))
        until(lambda: log.pending == 0)
        assert log.dropped > 0
        assert log.size()[0] >= 30
