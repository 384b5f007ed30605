"""Records and feedback are stored, survive a kill, and are read back unchanged."""

import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE

from mien.errors import PredictionLogError
from mien.observability.prediction_log.schema import Feedback, PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog

from .records import NOW, OURS, record

numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    label=st.none() | st.text(),
    confidence=numbers,
    input_stats=st.dictionaries(st.text(), numbers, max_size=4),
)
def test_an_added_record_is_read_back_unchanged(
    log: PredictionLog, label: str | None, confidence: float, input_stats: dict[str, float]
) -> None:
    """Every number to its last bit, and any text."""
    added = record(label=label, confidence=confidence, input_stats=input_stats)
    assert log.add(added)
    assert log.find(added.trace_id) == added


def test_an_unknown_trace_id_finds_nothing(log: PredictionLog) -> None:
    """A trace_id that no record has, or one that is SQL."""
    log.add(record())
    assert log.find("0" * 32) is None
    assert log.find("' or 1=1 --") is None


def test_a_restarted_server_reads_earlier_records(path: Path) -> None:
    """Records and feedback, in a file whose folder the log created itself."""
    added = [record() for _ in range(5)]
    with closing(PredictionLog(path)) as log:
        for each in added:
            log.add(each)
        log.record_feedback(added[0].trace_id, "round", NOW)
    with closing(PredictionLog(path)) as log:
        assert log.recent(OURS, 99) == added
        assert log.recent_feedback(OURS, 99) == [Feedback("star", "round")]
        assert log.size()[0] == 5


_KILLED = """
import sys, time
from pathlib import Path
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
log = PredictionLog(Path(sys.argv[1]))
for number in range(100):
    log.add(
        PredictionRecord(
            f"k{number}", time.time(), "shape", "3", "c" * 64, "ok", "star", 0.5, {}, 0.01
        )
    )
    print(number, flush=True)
log.record_feedback("k7", None, 0.0)
print("feedback stored", flush=True)
time.sleep(600)
"""


def test_confirmed_records_survive_a_kill(path: Path) -> None:
    """SIGKILL leaves no time to close the file; every record that `add` confirmed is there."""
    command = [sys.executable, "-c", _KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == "feedback stored":
                process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert lines == [*map(str, range(100)), "feedback stored"]
    with closing(PredictionLog(path)) as log:
        assert [each.trace_id for each in log.recent(OURS, 999)] == [
            f"k{number}" for number in range(100)
        ]
        assert log.recent_feedback(OURS, 9) == [Feedback("star", None)]
        assert log.add(record())


def test_recent_records_are_those_of_one_digest_oldest_first(log: PredictionLog) -> None:
    """Only of that digest, whatever its version is called, and not more than the limit."""
    added = [record(digest=digest) for digest in [OURS, "4", OURS, OURS, "5", OURS]]
    for each in added:
        log.add(each)
    own = [each for each in added if each.digest == OURS]
    assert log.recent(OURS, 99) == own
    assert log.recent(OURS, 2) == own[-2:]
    assert log.recent("9", 99) == []
    assert log.recent(OURS, 99, since=NOW) == []


def test_later_feedback_replaces_earlier_feedback(log: PredictionLog) -> None:
    """The newest feedback comes first, whatever the age of its record."""
    old, new, other = record(), record(label="round"), record(digest="4")
    for each in (old, new, other):
        log.add(each)
        assert log.record_feedback(each.trace_id, "round", NOW)
    assert log.record_feedback(new.trace_id, "square", NOW + 1)
    assert log.record_feedback(old.trace_id, None, NOW + 2)
    newest_first = log.recent_feedback(OURS, 99)
    assert newest_first == [Feedback("star", None), Feedback("round", "square")]
    assert log.recent_feedback(OURS, 1) == newest_first[:1]
    assert log.recent_feedback("4", 9) == [Feedback("star", "round")]


def test_a_record_without_feedback_has_none(log: PredictionLog) -> None:
    """And feedback for an unknown trace_id is not stored."""
    log.add(record())
    assert log.recent_feedback(OURS, 9) == []
    assert not log.record_feedback("0" * 32, "star", NOW)


def test_many_threads_add_at_once(log: PredictionLog) -> None:
    """No record is lost or stored twice, and readers do not disturb."""
    added = [[record() for _ in range(200)] for _ in range(8)]

    def add(own: list[PredictionRecord]) -> None:
        for each in own:
            assert log.add(each)
            assert log.find(each.trace_id) == each

    threads = [threading.Thread(target=add, args=(own,)) for own in added]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.dropped == 0
    assert log.size()[0] == 1600
    stored = sorted(each.trace_id for each in log.recent(OURS, 9999))
    assert stored == sorted(each.trace_id for own in added for each in own)


def test_a_closed_prediction_log_records_nothing(path: Path) -> None:
    """A request that ends after the server gets its response, without a record."""
    log = PredictionLog(path)
    log.close()
    log.close()
    assert not log.add(record())
    with pytest.raises(PredictionLogError):
        log.size()
