"""Records wait in the spool while the file is locked, and no prediction waits for a disk."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from waiting import until

from mien.errors import PredictionLogError
from mien.observability.prediction_log.schema import Feedback
from mien.observability.prediction_log.writer import PredictionLog

from .records import NOW, OURS, record, stored_rows


def test_a_locked_file_delays_records_only_briefly(
    path: Path, log: PredictionLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program locks it: records wait in the spool and are inserted after its release."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        start = time.monotonic()
        added = [record() for _ in range(1000)]
        assert all(log.add(each) for each in added)
        # One batch in two seconds waits for 0.25 s; if each did, it would be four.
        assert time.monotonic() - start < 60
        with pytest.raises(PredictionLogError, match="cannot be written"):
            log.find(added[0].trace_id)
        other.execute("rollback")
    assert "predictions wait in the spool" in caplog.text
    assert log.recent(OURS, 9999) == added
    assert log.dropped == 0


def test_records_in_the_spool_are_not_lost(path: Path) -> None:
    """Killed with half a line written: the complete lines are read, and new ones follow them."""
    spool = path.with_name(f"{path.name}-spool")
    with closing(PredictionLog(path)) as log:
        added = [record() for _ in range(3)]
        for each in added:
            log.add(each)
        left = spool.read_bytes()
    again = path.parent.parent / "again" / path.name
    again.parent.mkdir()
    again.with_name(spool.name).write_bytes(left + left[:50])
    with closing(PredictionLog(again)) as log:
        added.append(record())
        assert log.add(added[-1])
        assert log.recent(OURS, 9) == added


def test_a_second_process_records_too(path: Path, log: PredictionLog) -> None:
    """A spool belongs to one process; a second process inserts into the file directly."""
    with closing(PredictionLog(path)) as second:
        both = [record(), record()]
        assert log.add(both[0])
        assert second.add(both[1])
        assert second.recent(OURS, 9) == both[1:]
        assert {each.trace_id for each in log.recent(OURS, 9)} == {each.trace_id for each in both}


def test_feedback_for_a_record_in_the_spool_of_another_process(
    path: Path, log: PredictionLog
) -> None:
    """It is stored, and the first process neither loses it nor counts the record twice."""
    with closing(PredictionLog(path)) as second:
        added = record()
        assert log.add(added)
        assert second.find(added.trace_id) == added
        assert second.record_feedback(added.trace_id, "round", NOW)
        assert second.find("f" * 32) is None
        assert log.recent_feedback(OURS, 9) == [Feedback("star", "round")]
        assert log.recent(OURS, 9) == [added]
        assert log.size()[0] == second.size()[0] == 1


def test_a_hanging_disk_delays_no_prediction(log: PredictionLog) -> None:
    """A thread hangs at the file: records wait in the spool, and readers get an error."""
    added = [record() for _ in range(1000)]
    with log._database_lock.lock:
        assert all(log.add(each) for each in added)
        with pytest.raises(PredictionLogError, match="busy"):
            log.size()
    log._database_lock.hung_until = 0.0  # as it is two seconds later
    assert log.recent(OURS, 9999) == added


def test_a_hanging_spool_costs_only_the_records(log: PredictionLog) -> None:
    """At most one record in two seconds waits for it."""
    start = time.monotonic()
    with log._spool_lock.lock:
        assert not any(log.add(record()) for _ in range(1000))
    # One record in two seconds waits for 1 s; if each did, it would be 1,000 s.
    assert time.monotonic() - start < 100
    assert log.dropped == 1000


def test_records_reach_the_file_without_readers(path: Path, log: PredictionLog) -> None:
    """Many at once, by a thread of the prediction log, which ends when the log is closed."""
    for _ in range(600):
        assert log.add(record())
    until(lambda: stored_rows(path) >= 256)
    before = threading.active_count()
    log.close()
    until(lambda: threading.active_count() == before - 1)
    assert stored_rows(path) == 600


def test_a_contended_lock_does_not_count_as_a_hanging_disk(path: Path, log: PredictionLog) -> None:
    """For some seconds after a hang, nobody waits long for the lock; a lock that is taken for a
    moment then does not extend these seconds."""
    with log._database_lock.lock, pytest.raises(PredictionLogError, match="busy"):
        log.size()
    over = log._database_lock.hung_until
    with log._database_lock.lock, pytest.raises(PredictionLogError, match="busy"):
        log.size()
    assert log._database_lock.hung_until == over
    assert log._spool_lock.hung_until == 0.0
    assert log.add(record())
