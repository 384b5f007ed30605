"""The prediction log in a real PostgreSQL server: shared, bounded, and never waited for."""

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from postgresql import PASSWORD, Server
from project import free_port
from pydantic import SecretStr
from waiting import PATIENCE, until

from mien.errors import PredictionLogError, UnknownPredictionError
from mien.observability.prediction_log import postgresql, reader, writer
from mien.observability.prediction_log.database import DAY_S, PRUNE_INTERVAL_ROWS
from mien.observability.prediction_log.location import PostgresLocation
from mien.observability.prediction_log.schema import Feedback, PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord, ShadowSummary
from mien.observability.prediction_log.writer import PredictionLog
from mien.observability.sequential import PairCounts

from .conftest import UNCLOSED
from .faults import FULL, before_insert, frozen, thawed
from .records import NOW, OURS, record

pytestmark = [
    pytest.mark.xdist_group("postgresql"),
    pytest.mark.usefixtures("short_waits", "collected"),
    UNCLOSED,
]

SLOW = "perform pg_sleep(60)"


@pytest.fixture
def log(location: PostgresLocation) -> Iterator[PredictionLog]:
    with closing(PredictionLog(location)) as opened:
        yield opened


@pytest.fixture
def other(location: PostgresLocation, tmp_path: Path) -> Iterator[PredictionLog]:
    """The log of a server on another machine."""
    elsewhere = replace(location, spool=tmp_path / "elsewhere" / "spool")
    with closing(PredictionLog(elsewhere)) as opened:
        yield opened


def test_feedback_reaches_the_answer_of_another_server(
    log: PredictionLog, other: PredictionLog
) -> None:
    """Records come without a reader, and both servers see all feedback."""
    added = record()
    assert log.add(added)
    until(lambda: other.find(added.trace_id) == added)
    assert other.record_feedback(added.trace_id, "round", NOW)
    assert log.recent_feedback(OURS, 9) == other.recent_feedback(OURS, 9)
    assert log.recent_feedback(OURS, 9) == [Feedback("star", "round")]
    assert log.correct_since(OURS, 0.0) == other.correct_since(OURS, 0.0) == [False]


def test_a_record_comes_as_soon_as_another_server_asks(
    server: Server, location: PostgresLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without other work hears of it, also by a new connection after a failover; the time
    after which it would have written the record alone is not waited for."""
    monkeypatch.setattr(writer, "FLUSH_INTERVAL_S", 3600.0)
    elsewhere = replace(location, spool=tmp_path / "elsewhere" / "spool")
    with closing(PredictionLog(location)) as log, closing(PredictionLog(elsewhere)) as other:
        waiting = record()
        assert log.add(waiting)
        assert other.find(waiting.trace_id) is None

        def comes(added: PredictionRecord) -> bool:
            other.want_records()
            return other.find(added.trace_id) == added

        until(lambda: comes(waiting))
        server.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'mien'"
        )
        after = record()
        assert log.add(after)
        until(lambda: comes(after))


def test_windows_have_the_records_of_all_servers(log: PredictionLog, other: PredictionLog) -> None:
    """In the order in which they came, and each server counts all."""
    added = [record() for _ in range(6)]
    for each, by in zip(added, (log, other) * 3, strict=True):
        assert by.add(each)
        by.size()  # moves it to the database
    assert log.recent(OURS, 99) == other.recent(OURS, 99) == added
    assert log.size()[0] == other.size()[0] == 6


def test_challengers_are_compared_over_all_servers(
    log: PredictionLog, other: PredictionLog, location: PostgresLocation
) -> None:
    """Their answers, the champion's and the feedback come from different servers."""
    answers = [("star", "star"), ("round", "round"), ("round", "star")]
    for label, truth in answers:
        champion = record()
        assert log.add(champion)
        log.size()
        of_challenger = ShadowRecord(
            *(champion.trace_id, NOW, "4", "d" * 64, "ok", label, 0.02),
            *(champion.digest, champion.label, 0.01),
        )
        other.add_shadow([of_challenger])
        assert other.record_feedback(champion.trace_id, truth, NOW)
    pairs = PairCounts(wins=1, losses=1, both_right=1, both_wrong=0)
    assert log.shadow_pairs("d" * 64, OURS) == pairs
    summary = ShadowSummary(3, 1, 0, NOW, NOW, 0.02, 0.01, pairs, 2)
    assert reader.summarise_shadow(location, "d" * 64, OURS) == summary


def test_a_record_is_found_from_another_process(server: Server, location: PostgresLocation) -> None:
    """In the database, and in a spool of this machine; nothing is created by looking."""
    with pytest.raises(PredictionLogError, match="expected a prediction log, found none"):
        reader.find_record("0" * 32, location)
    with closing(PredictionLog(location)) as log:
        stored, waiting = record(), record()
        assert log.add(stored)
        log.size()
        with log._database_lock.lock:
            assert log.add(waiting)
            assert reader.find_record(waiting.trace_id, location) == waiting
        assert reader.find_record(stored.trace_id, location) == stored
        with pytest.raises(UnknownPredictionError, match="PostgreSQL at 127") as caught:
            reader.find_record("f" * 32, location)
    assert PASSWORD not in str(caught.value)


def test_a_server_starts_without_its_database(
    server: Server, location: PostgresLocation, caplog: pytest.LogCaptureFixture
) -> None:
    """Records wait on the disk, also after the next start, and are there once in the end."""
    port = free_port()
    away = replace(location, address=replace(location.address, hosts=(("127.0.0.1", port),)))
    added = [record() for _ in range(5)]
    with closing(PredictionLog(away)) as log:
        assert [log.add(each) for each in added[:3]] == [True] * 3
        with pytest.raises(PredictionLogError, match="Connection refused"):
            log.find(added[0].trace_id)
        assert (log.pending, log.dropped) == (3, 0)
    assert "the prediction log cannot be opened: PostgreSQL at 127.0.0.1" in caplog.text
    both = replace(
        location,
        address=replace(location.address, hosts=(("127.0.0.1", port), *location.address.hosts)),
    )
    with closing(PredictionLog(both)) as log:
        assert [log.add(each) for each in added[3:]] == [True] * 2
        assert log.recent(OURS, 99) == added
        assert (log.pending, log.dropped, log.size()[0]) == (0, 0, 5)


FAULTS: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "full": (
        lambda server: before_insert(server, FULL),
        lambda server: before_insert(server, "null"),
    ),
    "slow": (
        lambda server: before_insert(server, SLOW),
        lambda server: before_insert(server, "null"),
    ),
    "hanging": (frozen, thawed),
    "killed": (Server.kill, Server.start),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_record_waits_for_the_database_or_is_lost(
    name: str,
    server: Server,
    location: PostgresLocation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Records go to the spool at once, readers get an error, and afterwards each is stored once."""
    if name in ("slow", "hanging"):  # the others are errors at once, on a slow machine, too
        monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_S", 1.0)
        monkeypatch.setattr(postgresql, "NETWORK_TIMEOUT_S", 2.0)
    with closing(PredictionLog(location)) as log:
        _survive(server, log, caplog, *FAULTS[name])


def _survive(
    server: Server,
    log: PredictionLog,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Server], None],
    repair: Callable[[Server], None],
) -> None:
    added = [record() for _ in range(50)]
    assert log.add(added[0])
    until(lambda: _in_time(log.size))
    fault(server)
    try:
        assert all(log.add(each) for each in added[1:])
        until(lambda: "wait in the spool" in caplog.text)
        with pytest.raises(PredictionLogError):
            log.record_feedback(added[-1].trace_id, "star", NOW)
        assert log.waiting == log.pending > 0
    finally:
        repair(server)
    until(lambda: server.count() == 50)
    until(lambda: log.pending == 0)
    until(lambda: _in_time(lambda: log.recent(OURS, 99)) == added)
    until(lambda: _in_time(lambda: log.record_feedback(added[-1].trace_id, "star", NOW)))
    assert (log.dropped, log.waiting, server.count()) == (0, 0, 50)


def _in_time(ask: Callable[[], Any]) -> Any:
    """The answer of the database; None if it took longer than the short limits."""
    try:
        return ask()
    except PredictionLogError:
        return None


def test_a_batch_whose_end_was_not_seen_is_stored_once(
    server: Server, location: PostgresLocation
) -> None:
    """It is sent again, as after a connection that broke between commit and answer."""
    with closing(postgresql.PostgresDatabase(location.address)) as database:
        rows = [record().as_row() for _ in range(3)]
        database.insert(rows, NOW)
        database.insert([*rows, record().as_row()], NOW)
        assert (server.count(), database.lost_rows) == (4, 0)


def test_an_ended_connection_costs_no_request(server: Server, log: PredictionLog) -> None:
    """As when the database is restarted or fails over between two requests."""
    added = record()
    assert log.add(added)
    assert log.find(added.trace_id) == added
    server.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'mien'"
    )
    assert log.find(added.trace_id) == added
    assert log.record_feedback(added.trace_id, "star", NOW)


def test_a_server_that_only_reads_is_passed_over(
    server: Server, location: PostgresLocation, caplog: pytest.LogCaptureFixture
) -> None:
    """As a standby, or a primary that is one now: records wait for the next one of the list."""
    server.sql("alter database postgres set default_transaction_read_only = on")
    try:
        with closing(PredictionLog(location)) as log:
            assert log.add(record())
            assert "only reads" in caplog.text
            server.sql(
                "begin; set transaction read write; "
                "alter database postgres set default_transaction_read_only = off; commit"
            )
            until(lambda: log.pending == 0)
            assert log.size()[0] == 1
    finally:
        server.sql(
            "begin; set transaction read write; "
            "alter database postgres reset default_transaction_read_only; commit"
        )


def test_a_row_that_cannot_be_stored_holds_up_no_other(server: Server, log: PredictionLog) -> None:
    """PostgreSQL has no text with a zero byte: such a row is counted as lost, and logged."""
    added = [record(), record(label="ro\0und"), record(confidence=float("nan")), record()]
    for each in added:
        assert log.add(each)
    assert log.recent(OURS, 9) == [added[0], added[3]]
    assert (log.dropped, log.pending) == (2, 0)


def test_the_log_is_bounded_in_size(server: Server, location: PostgresLocation) -> None:
    """The newest records are kept; space of deleted rows is used again."""
    with closing(PredictionLog(location, max_size_mb=1.0)) as log:
        added = [record() for _ in range(6000)]
        for number, each in enumerate(added, start=1):
            assert log.add(each)
            if number % PRUNE_INTERVAL_ROWS == 0:
                log.size()
        rows = server.count()
        assert 1_000 <= rows < 5_000
        assert log.recent(OURS, 9999) == added[-rows:]
        assert log.dropped == 0


def test_the_estimated_size_is_the_size(server: Server, log: PredictionLog) -> None:
    """Of a table without deleted rows, to within a quarter."""
    for _ in range(4000):
        log.add(record())
    _, size_bytes = log.size()
    with log._database_lock.lock:
        used_bytes = log._database._used_bytes()
    assert used_bytes == pytest.approx(size_bytes, rel=0.25)


def test_old_records_are_deleted(server: Server, location: PostgresLocation) -> None:
    """With the first records after the start; an old one is not found before that either."""
    with closing(PredictionLog(location, max_age_days=1)) as log:
        old, young = record(timestamp=NOW - 1.1 * DAY_S), record(timestamp=NOW - 0.9 * DAY_S)
        log.add(old)
        log.add(young)
        assert log.find(old.trace_id) is None
        assert log.find(young.trace_id) == young
        with log._database_lock.lock:
            log._database.prune_if_due(time.time() + 3601)
    assert server.count() == 1


@pytest.mark.parametrize("version", [1, 99])
def test_a_database_of_another_format_is_refused(
    server: Server, location: PostgresLocation, version: int
) -> None:
    """At the start, so that a rollout of another version of mien stops."""
    PredictionLog(location).close()
    server.sql(f"update mien.format set version = {version}")
    with pytest.raises(PredictionLogError, match=f"found format {version}.*MIEN_PREDICTION_LOG"):
        PredictionLog(location)


def test_servers_that_start_together_create_the_tables_once(
    server: Server, location: PostgresLocation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them can write afterwards."""

    def start(number: int) -> None:
        own = replace(location, spool=tmp_path / str(number) / "spool")
        with closing(PredictionLog(own)) as log:
            log.add(record())

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.count() == 6
    assert caplog.text == ""


def test_a_role_without_the_right_to_create_can_write(
    server: Server, location: PostgresLocation
) -> None:
    """Once the tables are there, a server needs no more than its four kinds of statements."""
    PredictionLog(location).close()
    server.sql("drop role if exists writer")
    server.sql("create role writer login password 'secret'")
    server.sql("grant usage on schema mien to writer")
    server.sql("grant select, insert, update, delete on all tables in schema mien to writer")
    own = replace(location.address, user="writer", password=SecretStr("secret"))
    with closing(PredictionLog(replace(location, address=own))) as log:
        added = record()
        assert log.add(added)
        assert log.find(added.trace_id) == added
        assert log.record_feedback(added.trace_id, "star", NOW)
    server.clear()
    server.sql("drop role writer")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts Linux's open files")
def test_a_login_that_fails_leaves_nothing_open() -> None:
    """As where a proxy takes connections for a database that is away, and ends them at once."""
    gc.collect()
    gc.disable()
    try:
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            port = proxy.getsockname()[1]
            before = set(Path("/proc/self/fd").iterdir())
            for _ in range(5):
                ending = threading.Thread(target=lambda: proxy.accept()[0].close())
                ending.start()
                with pytest.raises(Exception, match=r"network error|reset|closed"):
                    postgresql._log_in("mien", host="127.0.0.1", port=port, timeout=PATIENCE)
                ending.join()
            assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1
    finally:
        gc.enable()


def test_a_wrong_password_is_in_no_message(
    location: PostgresLocation, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that the login was refused, and where."""
    caplog.set_level(logging.DEBUG)
    secret = SecretStr("wrong-secret")
    wrong = replace(location, address=replace(location.address, password=secret))
    with closing(PredictionLog(wrong)) as log:
        assert log.add(record())
        with pytest.raises(PredictionLogError) as caught:
            log.find("0" * 32)
    assert "password authentication failed" in caplog.text
    shown = caplog.text + str(caught.value) + repr(wrong)
    assert "wrong-secret" not in shown
    assert PASSWORD not in shown
