"""A disk that is full, or a path that cannot be used, costs records and no prediction."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from waiting import PATIENCE, until

from mien.errors import PredictionLogError
from mien.observability.prediction_log import spool
from mien.observability.prediction_log.database import StatementError
from mien.observability.prediction_log.sqlite import SqliteDatabase
from mien.observability.prediction_log.writer import FLUSH_ROWS, PredictionLog

from .records import NOW, OURS, record, stored_rows


def test_an_unusable_path_costs_only_the_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`add` raises nothing; readers get a PredictionLogError."""
    (tmp_path / "file").write_text("not a folder")
    with closing(PredictionLog(tmp_path / "file" / "predictions.db")) as log:
        assert "cannot be opened" in caplog.text
        assert [log.add(record()) for _ in range(3)] == [False, False, False]
        assert log.dropped == 3
        assert caplog.text.count("predictions are not recorded from now on") == 1
        for read in (
            lambda: log.record_feedback("0" * 32, "star", NOW),
            lambda: log.find("0" * 32),
            lambda: log.recent(OURS, 9),
            lambda: log.recent_feedback(OURS, 9),
            log.size,
        ):
            with pytest.raises(PredictionLogError):
                read()


_FULL = """
import json, logging, resource, sys, time
from pathlib import Path
from mien.errors import PredictionLogError
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import FLUSH_ROWS, PredictionLog
logging.basicConfig(stream=sys.stderr, format="%(message)s")
path = Path(sys.argv[1])
log = PredictionLog(path)
def add(number):
    return log.add(
        PredictionRecord(
            str(number), time.time(), "shape", "3", "c" * 64, "ok", "star", 0.5, {}, 0.01
        )
    )
kept = [add(number) for number in range(50)]
log.size()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size, hard))
full = [add(number) for number in range(50, 850)]
try:
    feedback = log.record_feedback("7", "round", 0.0)
except PredictionLogError as error:
    feedback = str(error)
label = log.find("7").label
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
again = [add(number) for number in range(900, 900 + FLUSH_ROWS)]
feedback_again = log.record_feedback("7", "x", 1.0)
print(json.dumps([kept, full, feedback, label, log.dropped, again, feedback_again]))
"""


def test_a_full_disk_costs_only_the_records(path: Path) -> None:
    """The kernel refuses to let the file grow: new records are dropped, counted and logged once,
    stored ones can still be read, and with free space the recording continues."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    kept, full, feedback, label, dropped, again, feedback_again = json.loads(done.stdout)
    assert all(kept)
    assert not any(full[-20:])
    assert str(feedback).startswith("The prediction log cannot be written: ")
    assert label == "star"
    assert dropped == full.count(False)
    assert again == [True] * FLUSH_ROWS
    assert feedback_again is True
    assert done.stderr.count("predictions are not recorded from now on") == 1
    assert f"predictions are recorded again; {dropped} were not" in done.stderr
    with closing(PredictionLog(path)) as log:
        names = [each.trace_id for each in log.recent(OURS, 2000)]
    stored = [number for number, is_added in enumerate(full, 50) if is_added]
    numbers = [*range(50), *stored, *range(900, 900 + FLUSH_ROWS)]
    assert names == [str(number) for number in numbers]


def test_a_file_that_cannot_be_written_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many readers try; and once more after a successful write in between."""

    def full(*_: object) -> None:
        raise StatementError("database or disk is full")

    with closing(PredictionLog(path)) as log:
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(SqliteDatabase, "insert", full)
                assert log.add(record())
                for _ in range(5):
                    log.size()
            assert log.recent(OURS, 9)
    assert caplog.text.count("wait in the spool: database or disk is full") == 2


def test_an_unusable_file_is_not_opened_for_each_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool is read again only after a pause, or a thousand records would be read a thousand
    times."""
    path.mkdir(parents=True)
    with closing(PredictionLog(path)) as log:
        spool = log._spool
        assert spool is not None
        reads, lines = [], spool.lines
        monkeypatch.setattr(spool, "lines", lambda *of: (reads.append(of), lines(*of))[1])
        assert all(log.add(record()) for _ in range(1000))
        assert 1 <= len(reads) < 100


def test_a_single_disk_error_does_not_end_the_recording(
    path: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that moves records into the file tries again."""
    spool = log._spool
    assert spool is not None
    faults, lines = iter([OSError(5, "Input/output error")]), spool.lines

    def failing(*limits: int) -> tuple[list[bytes], int]:
        for fault in faults:
            raise fault
        return lines(*limits)

    monkeypatch.setattr(spool, "lines", failing)
    for _ in range(300):
        assert log.add(record())
    until(lambda: stored_rows(path) == 300)


def test_a_full_spool_is_emptied_once_the_file_can_be_written(
    path: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are lost while both are full; later ones are stored, without any reader."""
    monkeypatch.setattr(spool, "MAX_SIZE_BYTES", 10_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        until(lambda: not log.add(record()))
        other.execute("rollback")
    until(lambda: log.add(record()))
    assert log.dropped > 0
