"""The prediction log survives a kill, stays bounded, and never delays a prediction."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE, until

from mien.errors import PredictionLogError
from mien.observability.prediction_log import spool
from mien.observability.prediction_log.database import DAY_S, Database
from mien.observability.prediction_log.schema import FORMAT_VERSION, Feedback, PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog

NOW = time.time()
OURS = "c" * 64
_counter = count(1)


def record(**changes: object) -> PredictionRecord:
    """An answer with a trace_id of its own."""
    number = next(_counter)
    made = PredictionRecord(
        trace_id=f"{number:032x}",
        timestamp=NOW,
        task="shape",
        version="3",
        digest=OURS,
        outcome="ok",
        label="star",
        confidence=0.75,
        input_stats={"brightness": 0.5, "hands": 2.0},
        latency_s=0.01,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "predictions.db"


@pytest.fixture
def log(path: Path) -> Iterator[PredictionLog]:
    with closing(PredictionLog(path)) as opened:
        yield opened


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    label=st.none() | st.text(),
    confidence=numbers,
    input_stats=st.dictionaries(st.text(), numbers, max_size=4),
)
def test_what_is_added_is_found_unchanged(
    log: PredictionLog, label: str | None, confidence: float, input_stats: dict[str, float]
) -> None:
    """Every number to its last bit, every word whatever it holds."""
    made = record(label=label, confidence=confidence, input_stats=input_stats)
    assert log.add(made)
    assert log.find(made.trace_id) == made


def test_nothing_else_is_found(log: PredictionLog) -> None:
    """A name that no answer had, or that would be SQL."""
    log.add(record())
    assert log.find("0" * 32) is None
    assert log.find("' or 1=1 --") is None


def test_a_restarted_server_finds_what_was_there(path: Path) -> None:
    """Answers and verdicts, in a file whose folder it made itself."""
    made = [record() for _ in range(5)]
    with closing(PredictionLog(path)) as log:
        for each in made:
            log.add(each)
        log.record_feedback(made[0].trace_id, "round", NOW)
    with closing(PredictionLog(path)) as log:
        assert log.recent(OURS, 99) == made
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
print("judged", flush=True)
time.sleep(600)
"""


def test_what_was_added_survives_a_kill(path: Path) -> None:
    """SIGKILL leaves no time to close the file; every answer that was told as kept is there."""
    command = [sys.executable, "-c", _KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line.strip())
            if told[-1] == "judged":
                process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert told == [*map(str, range(100)), "judged"]
    with closing(PredictionLog(path)) as log:
        assert [each.trace_id for each in log.recent(OURS, 999)] == [
            f"k{number}" for number in range(100)
        ]
        assert log.recent_feedback(OURS, 9) == [Feedback("star", None)]
        assert log.add(record())


def test_the_last_answers_of_a_model_come_oldest_first(log: PredictionLog) -> None:
    """Of that checksum alone, whatever its version is called, and no more than were asked for."""
    made = [record(digest=digest) for digest in [OURS, "4", OURS, OURS, "5", OURS]]
    for each in made:
        log.add(each)
    own = [each for each in made if each.digest == OURS]
    assert log.recent(OURS, 99) == own
    assert log.recent(OURS, 2) == own[-2:]
    assert log.recent("9", 99) == []
    assert log.recent(OURS, 99, since=NOW) == []


def test_later_feedback_replaces_earlier_feedback(log: PredictionLog) -> None:
    """The newest verdict is told first, whatever the age of its answer."""
    old, new, other = record(), record(label="round"), record(digest="4")
    for each in (old, new, other):
        log.add(each)
        assert log.record_feedback(each.trace_id, "round", NOW)
    assert log.record_feedback(new.trace_id, "square", NOW + 1)
    assert log.record_feedback(old.trace_id, None, NOW + 2)
    verdicts = log.recent_feedback(OURS, 99)
    assert verdicts == [Feedback("star", None), Feedback("round", "square")]
    assert log.recent_feedback(OURS, 1) == verdicts[:1]
    assert log.recent_feedback("4", 9) == [Feedback("star", "round")]


def test_a_record_without_feedback_has_none(log: PredictionLog) -> None:
    """And there is no verdict on an answer that is not there."""
    log.add(record())
    assert log.recent_feedback(OURS, 9) == []
    assert not log.record_feedback("0" * 32, "star", NOW)


def footprint(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


def test_the_prediction_log_is_bounded_in_size(path: Path) -> None:
    """Of 20,000 answers the newest are kept, and the file stops growing."""
    sizes, logs = [], []
    with closing(PredictionLog(path, max_size_mb=1.0)) as log:
        made = [record() for _ in range(20_000)]
        for place, each in enumerate(made, start=1):
            assert log.add(each)
            if place % 2_000 == 0:
                sizes.append(log.size()[1])
                logs.append(footprint(path) - sizes[-1])
        rows, _ = log.size()
        assert max(sizes) <= 1.5e6
        assert max(logs) < 6e6, "SQLite's log of 4 MB, and what it ran over by"
        assert 1_000 <= rows < 6_000
        assert log.recent(OURS, 99_999) == made[-rows:]
        assert log.dropped == 0


def test_the_prediction_log_is_bounded_in_age(path: Path) -> None:
    """Of 20,000 answers over two months those of the last thirty days are kept."""
    with closing(PredictionLog(path, max_age_days=30)) as log:
        made = [record(timestamp=NOW - 60 * DAY_S + place * 259.2) for place in range(20_000)]
        for each in made:
            assert log.add(each)
        rows, _ = log.size()
        kept = log.recent(OURS, 99_999)
        # It looks every 500 answers, so as many may be too old.
        assert 9_990 <= rows <= 10_500
        assert 9_990 <= len(kept) <= rows
        assert kept == made[-len(kept) :]


def test_old_answers_go_where_little_is_asked_too(path: Path) -> None:
    """A server that is restarted each day and asked ten times keeps its word on age."""
    for day in range(60):
        moment = NOW - (60 - day) * DAY_S
        with closing(PredictionLog(path, max_age_days=30)) as log:
            for place in range(10):
                assert log.add(record(timestamp=moment + place))
    with closing(PredictionLog(path, max_age_days=30)) as log:
        oldest = log.recent(OURS, 9_999)[0].timestamp
    assert oldest > NOW - 30 * DAY_S


def test_old_answers_go_from_a_server_that_runs_on(path: Path) -> None:
    """Fewer answers than it takes to look for old ones by their number."""
    with closing(PredictionLog(path, max_age_days=1)) as log:
        for hour in range(100):
            log.add(record(timestamp=NOW + hour * 3600))
        kept = log.recent(OURS, 999)
    assert len(kept) == 24
    assert kept[-1].timestamp == NOW + 99 * 3600


def test_an_answer_beyond_the_age_is_not_found(path: Path) -> None:
    """Even where nobody has asked anything since, and so nothing was cleared away."""
    with closing(PredictionLog(path, max_age_days=1)) as log:
        old, young = record(timestamp=NOW - 1.1 * DAY_S), record(timestamp=NOW - 0.9 * DAY_S)
        log.add(old)
        log.add(young)
        assert log.find(old.trace_id) is None
        assert log.find(young.trace_id) == young


def nonsense(path: Path) -> None:
    path.write_bytes(b"this is no prediction log " * 500)


def torn(path: Path) -> None:
    """The first page, which has the description of the tables, is whole; those after are not."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_a_damaged_file_is_renamed(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost that could be saved, a new one begins, and the log names both."""
    with closing(PredictionLog(path)) as log:
        for _ in range(200):
            log.add(record())
    for number in (1, 2):
        damage(path)
        content = path.read_bytes()
        with closing(PredictionLog(path)) as log:
            made = record()
            assert log.add(made)
            assert log.recent(OURS, 999) == [made]
            for _ in range(200):
                log.add(record())
        assert path.with_name(f"predictions.db.damaged-{number}").read_bytes() == content
        assert f"damaged-{number}, and a new file begins" in caplog.text


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_the_write_ahead_log_of_a_damaged_file_is_not_taken_over(
    path: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Killed with pages that lie beside the file still, and the file damaged then."""
    with closing(PredictionLog(path)) as log:
        for _ in range(200):
            log.add(record())
    with closing(PredictionLog(path)) as log:
        for _ in range(100):
            log.add(record())
            log.size()
        left = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert len(left["predictions.db-wal"]) > 100_000
    place = tmp_path / "other" / "predictions.db"
    place.parent.mkdir()
    for name, content in left.items():
        place.with_name(name).write_bytes(content)
    damage(place)
    with closing(PredictionLog(place)) as log:
        made = record()
        assert log.add(made)
        assert log.recent(OURS, 999)[-1] == made
        assert log.size()[0] in (1, 301), "a whole log: the new one, or the old one mended"


@pytest.mark.parametrize("version", [0, FORMAT_VERSION - 1, FORMAT_VERSION + 1])
def test_a_file_of_another_format_is_refused(path: Path, version: int) -> None:
    """One message says what was found and what to do; the file is left as it is."""
    with closing(PredictionLog(path)) as log:
        log.add(record())
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"pragma user_version = {version}")
    expected = f"expected a prediction log of format {FORMAT_VERSION}, found format {version}"
    with pytest.raises(PredictionLogError, match=f"{expected}.*MIEN_PREDICTION_LOG"):
        PredictionLog(path)
    assert kept(path) == 1


def test_a_place_that_cannot_be_used_costs_the_record_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised on the way of an answer; whoever asks for a record is told."""
    (tmp_path / "file").write_text("not a folder")
    with closing(PredictionLog(tmp_path / "file" / "predictions.db")) as log:
        assert "cannot be opened" in caplog.text
        assert [log.add(record()) for _ in range(3)] == [False, False, False]
        assert log.dropped == 3
        assert caplog.text.count("predictions are not recorded from now on") == 1
        for ask in (
            lambda: log.record_feedback("0" * 32, "star", NOW),
            lambda: log.find("0" * 32),
            lambda: log.recent(OURS, 9),
            lambda: log.recent_feedback(OURS, 9),
            log.size,
        ):
            with pytest.raises(PredictionLogError):
                ask()


_FULL = """
import json, logging, resource, sys, time
from pathlib import Path
from mien.errors import PredictionLogError
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
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
    judged = log.record_feedback("7", "round", 0.0)
except PredictionLogError as error:
    judged = str(error)
found = log.find("7").label
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
again = add(900)
judged_again = log.record_feedback("7", "x", 1.0)
print(json.dumps([kept, full, judged, found, log.dropped, again, judged_again]))
"""


def test_a_full_disk_costs_the_record_alone(path: Path) -> None:
    """The kernel refuses to let the file grow: what comes then is dropped, counted and told once,
    what was kept can still be read, and with room again the record goes on."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    kept, full, judged, found, dropped, again, judged_again = json.loads(done.stdout)
    assert all(kept)
    assert not any(full[-20:])
    assert str(judged).startswith("The prediction log cannot be written: ")
    assert found == "star"
    assert dropped == full.count(False)
    assert (again, judged_again) == (True, True)
    assert done.stderr.count("predictions are not recorded from now on") == 1
    assert f"predictions are recorded again; {dropped} were not" in done.stderr
    with closing(PredictionLog(path)) as log:
        names = [each.trace_id for each in log.recent(OURS, 999)]
    assert names == [str(number) for number in [*range(50 + full.count(True)), 900]]


def test_a_locked_file_is_waited_for_a_moment_only(
    path: Path, log: PredictionLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program holds it: answers wait beside it, and go in when it lets go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        start = time.monotonic()
        made = [record() for _ in range(1000)]
        assert all(log.add(each) for each in made)
        # One in two seconds waits for a quarter of one; were it each batch, it would be four.
        assert time.monotonic() - start < 60
        with pytest.raises(PredictionLogError, match="cannot be written"):
            log.find(made[0].trace_id)
        other.execute("rollback")
    assert "predictions wait in the spool" in caplog.text
    assert log.recent(OURS, 9999) == made
    assert log.dropped == 0


def test_what_waits_beside_the_file_is_not_lost(path: Path) -> None:
    """Killed with half a line written: the whole lines are there, and new ones follow them."""
    place = path.with_name(f"{path.name}-spool")
    with closing(PredictionLog(path)) as log:
        made = [record() for _ in range(3)]
        for each in made:
            log.add(each)
        left = place.read_bytes()
    again = path.parent.parent / "again" / path.name
    again.parent.mkdir()
    again.with_name(place.name).write_bytes(left + left[:50])
    with closing(PredictionLog(again)) as log:
        made.append(record())
        assert log.add(made[-1])
        assert log.recent(OURS, 9) == made


def test_a_second_process_records_too(path: Path, log: PredictionLog) -> None:
    """What waits belongs to one process; another writes straight into the file."""
    with closing(PredictionLog(path)) as second:
        both = [record(), record()]
        assert log.add(both[0])
        assert second.add(both[1])
        assert second.recent(OURS, 9) == both[1:]
        assert {each.trace_id for each in log.recent(OURS, 9)} == {each.trace_id for each in both}


def test_feedback_for_a_record_in_the_spool_of_another_process(
    path: Path, log: PredictionLog
) -> None:
    """It is kept, and the first process neither loses it nor counts the record twice."""
    with closing(PredictionLog(path)) as second:
        made = record()
        assert log.add(made)
        assert second.find(made.trace_id) == made
        assert second.record_feedback(made.trace_id, "round", NOW)
        assert second.find("f" * 32) is None
        assert log.recent_feedback(OURS, 9) == [Feedback("star", "round")]
        assert log.recent(OURS, 9) == [made]
        assert log.size()[0] == second.size()[0] == 1


@pytest.mark.parametrize("spool_too", [True, False])
def test_a_deleted_file_begins_again_and_its_rows_count_as_lost(
    path: Path, spool_too: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As `git clean` or a cleaner of temporary files deletes it, for both of two servers."""
    with closing(PredictionLog(path)) as log, closing(PredictionLog(path)) as second:
        for _ in range(5):
            log.add(record())
            second.add(record())
        assert log.size()[0] == second.size()[0] == 10
        pending = record()
        log.add(pending)
        for each in path.parent.iterdir():
            if spool_too or not each.name.endswith("-spool"):
                each.unlink()
        later = [record(), record()]
        assert log.add(later[0])
        assert log.record_feedback(later[0].trace_id, "star", NOW)
        assert second.add(later[1])
        assert second.record_feedback(later[0].trace_id, "round", NOW)
        assert (log.dropped, second.dropped) == (10, 8), "the second finds two new rows"
        last = record()
        assert log.add(last)
    assert caplog.text.count("was deleted or replaced while it was in use") == 2
    with closing(PredictionLog(path)) as log:
        found = {each.trace_id for each in log.recent(OURS, 99)}
        assert found == {each.trace_id for each in (pending, *later, last)}
        assert log.recent_feedback(OURS, 9) == [Feedback("star", "round")]


def test_a_file_that_cannot_be_written_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many readers try; and once more after it was written in between."""

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with closing(PredictionLog(path)) as log:
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(Database, "insert", full)
                assert log.add(record())
                for _ in range(5):
                    log.size()
            assert log.recent(OURS, 9)
    assert caplog.text.count("wait in the spool: database or disk is full") == 2


def test_a_disk_that_hangs_holds_nobody_up(log: PredictionLog) -> None:
    """A thread is stuck at the file: answers wait beside it, and readers are told."""
    made = [record() for _ in range(1000)]
    with log._database_lock.lock:
        assert all(log.add(each) for each in made)
        with pytest.raises(PredictionLogError, match="busy"):
            log.size()
    log._database_lock.hung_until = 0.0  # as it is two seconds later
    assert log.recent(OURS, 9999) == made


def test_a_file_that_cannot_be_opened_is_not_tried_with_each_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits beside it is read again only after a rest, or a thousand answers would be read
    a thousand times."""
    path.mkdir(parents=True)
    with closing(PredictionLog(path)) as log:
        spool = log._spool
        assert spool is not None
        reads, lines = [], spool.lines
        monkeypatch.setattr(spool, "lines", lambda start=0: (reads.append(start), lines(start))[1])
        assert all(log.add(record()) for _ in range(1000))
        assert 1 <= len(reads) < 100


def test_a_spool_that_hangs_costs_the_record_alone(log: PredictionLog) -> None:
    """Nobody waits for it more than once in a while."""
    start = time.monotonic()
    with log._spool_lock.lock:
        assert not any(log.add(record()) for _ in range(1000))
    # One in two seconds waits for one; were it each, it would be a thousand.
    assert time.monotonic() - start < 100
    assert log.dropped == 1000


def test_many_threads_add_at_once(log: PredictionLog) -> None:
    """Nothing is lost, nothing twice, and readers are not in the way."""
    made = [[record() for _ in range(200)] for _ in range(8)]

    def add(own: list[PredictionRecord]) -> None:
        for each in own:
            assert log.add(each)
            assert log.find(each.trace_id) == each

    threads = [threading.Thread(target=add, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.dropped == 0
    assert log.size()[0] == 1600
    kept = sorted(each.trace_id for each in log.recent(OURS, 9999))
    assert kept == sorted(each.trace_id for own in made for each in own)


def test_a_closed_prediction_log_takes_nothing(path: Path) -> None:
    """A request that outlives the server is answered without a record."""
    log = PredictionLog(path)
    log.close()
    log.close()
    assert not log.add(record())
    with pytest.raises(PredictionLogError):
        log.size()


def kept(path: Path) -> int:
    """Rows in the file, counted by another program that asks the prediction log nothing."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("select count(*) from predictions").fetchone()[0])


def test_answers_reach_the_file_though_nobody_asks(path: Path, log: PredictionLog) -> None:
    """Many at once, by a thread of the prediction log's own, which ends with it."""
    for _ in range(600):
        assert log.add(record())
    until(lambda: kept(path) >= 256)
    before = threading.active_count()
    log.close()
    until(lambda: threading.active_count() == before - 1)
    assert kept(path) == 600


def test_one_fault_of_the_disk_does_not_end_the_recording(
    path: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that brings answers into the file tries again."""
    spool = log._spool
    assert spool is not None
    faults, lines = iter([OSError(5, "Input/output error")]), spool.lines

    def failing(start: int = 0) -> tuple[list[bytes], int]:
        for fault in faults:
            raise fault
        return lines(start)

    monkeypatch.setattr(spool, "lines", failing)
    for _ in range(300):
        assert log.add(record())
    until(lambda: kept(path) == 300)


def test_a_full_spool_is_emptied_once_the_file_can_be_written(
    path: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are lost while neither takes any; afterwards they are kept, though nobody reads."""
    monkeypatch.setattr(spool, "MAX_SIZE_BYTES", 10_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        until(lambda: not log.add(record()))
        other.execute("rollback")
    until(lambda: log.add(record()))
    assert log.dropped > 0


def test_a_lock_that_many_want_is_no_disk_that_hangs(path: Path, log: PredictionLog) -> None:
    """Some seconds after a hang, nobody waits for long; who finds the lock taken then for a moment
    alone is not told so for some seconds more."""
    with log._database_lock.lock, pytest.raises(PredictionLogError, match="busy"):
        log.size()
    over = log._database_lock.hung_until
    with log._database_lock.lock, pytest.raises(PredictionLogError, match="busy"):
        log.size()
    assert log._database_lock.hung_until == over
    assert log._spool_lock.hung_until == 0.0
    assert log.add(record())
