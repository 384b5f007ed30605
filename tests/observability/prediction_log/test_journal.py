"""Promises of the journal: found again after a kill, bounded, and never in an answer's way."""

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
from waiting import until

from mien.errors import JournalError
from mien.observability.prediction_log import spool
from mien.observability.prediction_log.events import Event, Verdict
from mien.observability.prediction_log.journal import DAY, Journal

NOW = time.time()
OURS = "c" * 64
_numbers = count(1)


def event(**changes: object) -> Event:
    """An answer with a trace_id of its own."""
    number = next(_numbers)
    made = Event(
        trace_id=f"{number:032x}",
        moment=NOW,
        task="shape",
        version="3",
        checksum=OURS,
        outcome="ok",
        label="star",
        confidence=0.75,
        input_stats={"brightness": 0.5, "hands": 2.0},
        seconds=0.01,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path)) as opened:
        yield opened


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    label=st.none() | st.text(),
    confidence=numbers,
    input_stats=st.dictionaries(st.text(), numbers, max_size=4),
)
def test_what_is_added_is_found_unchanged(
    journal: Journal, label: str | None, confidence: float, input_stats: dict[str, float]
) -> None:
    """Every number to its last bit, every word whatever it holds."""
    made = event(label=label, confidence=confidence, input_stats=input_stats)
    assert journal.add(made)
    assert journal.find(made.trace_id) == made


def test_nothing_else_is_found(journal: Journal) -> None:
    """A name that no answer had, or that would be SQL."""
    journal.add(event())
    assert journal.find("0" * 32) is None
    assert journal.find("' or 1=1 --") is None


def test_a_restarted_server_finds_what_was_there(path: Path) -> None:
    """Answers and verdicts, in a file whose folder it made itself."""
    made = [event() for _ in range(5)]
    with closing(Journal(path)) as journal:
        for each in made:
            journal.add(each)
        journal.judge(made[0].trace_id, "round", NOW)
    with closing(Journal(path)) as journal:
        assert journal.recent(OURS, 99) == made
        assert journal.verdicts(OURS, 99) == [Verdict("star", "round")]
        assert journal.size()[0] == 5


_KILLED = """
import sys, time
from pathlib import Path
from mien.observability.prediction_log.events import Event
from mien.observability.prediction_log.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(100):
    journal.add(
        Event(f"k{number}", time.time(), "shape", "3", "c" * 64, "ok", "star", 0.5, {}, 0.01)
    )
    print(number, flush=True)
journal.judge("k7", None, 0.0)
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
        assert process.wait(30) == -signal.SIGKILL
    assert told == [*map(str, range(100)), "judged"]
    with closing(Journal(path)) as journal:
        assert [each.trace_id for each in journal.recent(OURS, 999)] == [
            f"k{number}" for number in range(100)
        ]
        assert journal.verdicts(OURS, 9) == [Verdict("star", None)]
        assert journal.add(event())


def test_the_last_answers_of_a_model_come_oldest_first(journal: Journal) -> None:
    """Of that checksum alone, whatever its version is called, and no more than were asked for."""
    made = [event(checksum=checksum) for checksum in [OURS, "4", OURS, OURS, "5", OURS]]
    for each in made:
        journal.add(each)
    own = [each for each in made if each.checksum == OURS]
    assert journal.recent(OURS, 99) == own
    assert journal.recent(OURS, 2) == own[-2:]
    assert journal.recent("9", 99) == []
    assert journal.recent(OURS, 99, since=NOW) == []


def test_a_later_verdict_takes_the_place_of_an_earlier_one(journal: Journal) -> None:
    """The newest verdict is told first, whatever the age of its answer."""
    old, new, other = event(), event(label="round"), event(checksum="4")
    for each in (old, new, other):
        journal.add(each)
        assert journal.judge(each.trace_id, "round", NOW)
    assert journal.judge(new.trace_id, "square", NOW + 1)
    assert journal.judge(old.trace_id, None, NOW + 2)
    verdicts = journal.verdicts(OURS, 99)
    assert verdicts == [Verdict("star", None), Verdict("round", "square")]
    assert journal.verdicts(OURS, 1) == verdicts[:1]
    assert journal.verdicts("4", 9) == [Verdict("star", "round")]


def test_an_answer_without_a_verdict_is_none(journal: Journal) -> None:
    """And there is no verdict on an answer that is not there."""
    journal.add(event())
    assert journal.verdicts(OURS, 9) == []
    assert not journal.judge("0" * 32, "star", NOW)


def footprint(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


def test_the_journal_is_bounded_in_size(path: Path) -> None:
    """Of 20,000 answers the newest are kept, and the file stops growing."""
    sizes, logs = [], []
    with closing(Journal(path, megabytes=1.0)) as journal:
        made = [event() for _ in range(20_000)]
        for place, each in enumerate(made, start=1):
            assert journal.add(each)
            if place % 2_000 == 0:
                sizes.append(journal.size()[1])
                logs.append(footprint(path) - sizes[-1])
        rows, _ = journal.size()
        assert max(sizes) <= 1.5e6
        assert max(logs) < 6e6, "SQLite's log of 4 MB, and what it ran over by"
        assert 1_000 <= rows < 6_000
        assert journal.recent(OURS, 99_999) == made[-rows:]
        assert journal.dropped == 0


def test_the_journal_is_bounded_in_age(path: Path) -> None:
    """Of 20,000 answers over two months those of the last thirty days are kept."""
    with closing(Journal(path, days=30)) as journal:
        made = [event(moment=NOW - 60 * DAY + place * 259.2) for place in range(20_000)]
        for each in made:
            assert journal.add(each)
        rows, _ = journal.size()
        kept = journal.recent(OURS, 99_999)
        # It looks every 500 answers, so as many may be too old.
        assert 9_990 <= rows <= 10_500
        assert 9_990 <= len(kept) <= rows
        assert kept == made[-len(kept) :]


def test_old_answers_go_where_little_is_asked_too(path: Path) -> None:
    """A server that is restarted each day and asked ten times keeps its word on age."""
    for day in range(60):
        moment = NOW - (60 - day) * DAY
        with closing(Journal(path, days=30)) as journal:
            for place in range(10):
                assert journal.add(event(moment=moment + place))
    with closing(Journal(path, days=30)) as journal:
        oldest = journal.recent(OURS, 9_999)[0].moment
    assert oldest > NOW - 30 * DAY


def test_old_answers_go_from_a_server_that_runs_on(path: Path) -> None:
    """Fewer answers than it takes to look for old ones by their number."""
    with closing(Journal(path, days=1)) as journal:
        for hour in range(100):
            journal.add(event(moment=NOW + hour * 3600))
        kept = journal.recent(OURS, 999)
    assert len(kept) == 24
    assert kept[-1].moment == NOW + 99 * 3600


def test_an_answer_beyond_the_age_is_not_found(path: Path) -> None:
    """Even where nobody has asked anything since, and so nothing was cleared away."""
    with closing(Journal(path, days=1)) as journal:
        old, young = event(moment=NOW - 1.1 * DAY), event(moment=NOW - 0.9 * DAY)
        journal.add(old)
        journal.add(young)
        assert journal.find(old.trace_id) is None
        assert journal.find(young.trace_id) == young


def nonsense(path: Path) -> None:
    path.write_bytes(b"this is no journal " * 500)


def torn(path: Path) -> None:
    """The first page, which has the description of the tables, is whole; those after are not."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_a_damaged_journal_is_set_aside(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost that could be saved, a new one begins, and the log names both."""
    with closing(Journal(path)) as journal:
        for _ in range(200):
            journal.add(event())
    for number in (1, 2):
        damage(path)
        content = path.read_bytes()
        with closing(Journal(path)) as journal:
            made = event()
            assert journal.add(made)
            assert journal.recent(OURS, 999) == [made]
            for _ in range(200):
                journal.add(event())
        assert path.with_name(f"journal.db.damaged-{number}").read_bytes() == content
        assert f"damaged-{number}, and a new one begins" in caplog.text


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_the_leavings_of_a_killed_server_do_not_get_into_a_new_journal(
    path: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Killed with pages that lie beside the file still, and the file damaged then."""
    with closing(Journal(path)) as journal:
        for _ in range(200):
            journal.add(event())
    with closing(Journal(path)) as journal:
        for _ in range(100):
            journal.add(event())
            journal.size()
        left = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert len(left["journal.db-wal"]) > 100_000
    place = tmp_path / "other" / "journal.db"
    place.parent.mkdir()
    for name, content in left.items():
        place.with_name(name).write_bytes(content)
    damage(place)
    with closing(Journal(place)) as journal:
        made = event()
        assert journal.add(made)
        assert journal.recent(OURS, 999)[-1] == made
        assert journal.size()[0] in (1, 301), "a whole journal: the new one, or the old one mended"


def test_a_place_that_cannot_be_used_costs_the_record_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised on the way of an answer; whoever asks for a record is told."""
    (tmp_path / "file").write_text("not a folder")
    with closing(Journal(tmp_path / "file" / "journal.db")) as journal:
        assert "cannot be opened" in caplog.text
        assert [journal.add(event()) for _ in range(3)] == [False, False, False]
        assert journal.dropped == 3
        assert caplog.text.count("answers are not recorded from now on") == 1
        for ask in (
            lambda: journal.judge("0" * 32, "star", NOW),
            lambda: journal.find("0" * 32),
            lambda: journal.recent(OURS, 9),
            lambda: journal.verdicts(OURS, 9),
            journal.size,
        ):
            with pytest.raises(JournalError):
                ask()


_FULL = """
import json, logging, resource, sys, time
from pathlib import Path
from mien.errors import JournalError
from mien.observability.prediction_log.events import Event
from mien.observability.prediction_log.journal import Journal
logging.basicConfig(stream=sys.stderr, format="%(message)s")
path = Path(sys.argv[1])
journal = Journal(path)
def add(number):
    return journal.add(
        Event(str(number), time.time(), "shape", "3", "c" * 64, "ok", "star", 0.5, {}, 0.01)
    )
kept = [add(number) for number in range(50)]
journal.size()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size, hard))
full = [add(number) for number in range(50, 850)]
try:
    judged = journal.judge("7", "round", 0.0)
except JournalError as error:
    judged = str(error)
found = journal.find("7").label
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
again = add(900)
print(json.dumps([kept, full, judged, found, journal.dropped, again, journal.judge("7", "x", 1.0)]))
"""


def test_a_full_disk_costs_the_record_alone(path: Path) -> None:
    """The kernel refuses to let the file grow: what comes then is dropped, counted and told once,
    what was kept can still be read, and with room again the record goes on."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kept, full, judged, found, dropped, again, judged_again = json.loads(done.stdout)
    assert all(kept)
    assert not any(full[-20:])
    assert str(judged).startswith("The journal cannot be written: ")
    assert found == "star"
    assert dropped == full.count(False)
    assert (again, judged_again) == (True, True)
    assert done.stderr.count("answers are not recorded from now on") == 1
    assert f"answers are recorded again; {dropped} were not" in done.stderr
    with closing(Journal(path)) as journal:
        names = [each.trace_id for each in journal.recent(OURS, 999)]
    assert names == [str(number) for number in [*range(50 + full.count(True)), 900]]


def test_a_locked_file_is_waited_for_a_moment_only(
    path: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program holds it: answers wait beside it, and go in when it lets go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        start = time.monotonic()
        made = [event() for _ in range(1000)]
        assert all(journal.add(each) for each in made)
        # One in two seconds waits for a quarter of one; were it each batch, it would be four.
        assert time.monotonic() - start < 60
        with pytest.raises(JournalError, match="cannot be written"):
            journal.find(made[0].trace_id)
        other.execute("rollback")
    assert "answers wait beside the journal" in caplog.text
    assert journal.recent(OURS, 9999) == made
    assert journal.dropped == 0


def test_what_waits_beside_the_file_is_not_lost(path: Path) -> None:
    """Killed with half a line written: the whole lines are there, and new ones follow them."""
    place = path.with_name(f"{path.name}-spool")
    with closing(Journal(path)) as journal:
        made = [event() for _ in range(3)]
        for each in made:
            journal.add(each)
        left = place.read_bytes()
    again = path.parent.parent / "again" / path.name
    again.parent.mkdir()
    again.with_name(place.name).write_bytes(left + left[:50])
    with closing(Journal(again)) as journal:
        made.append(event())
        assert journal.add(made[-1])
        assert journal.recent(OURS, 9) == made


def test_a_second_process_records_too(path: Path, journal: Journal) -> None:
    """What waits belongs to one process; another writes straight into the file."""
    with closing(Journal(path)) as second:
        both = [event(), event()]
        assert journal.add(both[0])
        assert second.add(both[1])
        assert second.recent(OURS, 9) == both[1:]
        assert {each.trace_id for each in journal.recent(OURS, 9)} == {
            each.trace_id for each in both
        }


def test_a_disk_that_hangs_holds_nobody_up(journal: Journal) -> None:
    """A thread is stuck at the file: answers wait beside it, and readers are told."""
    made = [event() for _ in range(1000)]
    with journal._lock:
        assert all(journal.add(each) for each in made)
        with pytest.raises(JournalError, match="busy"):
            journal.size()
    journal._stuck.clear()  # as it is two seconds later
    assert journal.recent(OURS, 9999) == made


def test_a_file_that_cannot_be_opened_is_not_tried_with_each_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits beside it is read again only after a rest, or a thousand answers would be read
    a thousand times."""
    path.mkdir(parents=True)
    with closing(Journal(path)) as journal:
        spool = journal._spool
        assert spool is not None
        reads, lines = [], spool.lines
        monkeypatch.setattr(spool, "lines", lambda start=0: (reads.append(start), lines(start))[1])
        assert all(journal.add(event()) for _ in range(1000))
        assert 1 <= len(reads) < 100


def test_a_spool_that_hangs_costs_the_record_alone(journal: Journal) -> None:
    """Nobody waits for it more than once in a while."""
    start = time.monotonic()
    with journal._spooling:
        assert not any(journal.add(event()) for _ in range(1000))
    # One in two seconds waits for one; were it each, it would be a thousand.
    assert time.monotonic() - start < 100
    assert journal.dropped == 1000


def test_many_threads_add_at_once(journal: Journal) -> None:
    """Nothing is lost, nothing twice, and readers are not in the way."""
    made = [[event() for _ in range(200)] for _ in range(8)]

    def add(own: list[Event]) -> None:
        for each in own:
            assert journal.add(each)
            assert journal.find(each.trace_id) == each

    threads = [threading.Thread(target=add, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.dropped == 0
    assert journal.size()[0] == 1600
    kept = sorted(each.trace_id for each in journal.recent(OURS, 9999))
    assert kept == sorted(each.trace_id for own in made for each in own)


def test_a_closed_journal_takes_nothing(path: Path) -> None:
    """A request that outlives the server is answered without a record."""
    journal = Journal(path)
    journal.close()
    journal.close()
    assert not journal.add(event())
    with pytest.raises(JournalError):
        journal.size()


def kept(path: Path) -> int:
    """Rows in the file, counted by another program that asks the journal nothing."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("select count(*) from answers").fetchone()[0])


def test_answers_reach_the_file_though_nobody_asks(path: Path, journal: Journal) -> None:
    """Many at once, by a thread of the journal's own, which ends with it."""
    for _ in range(600):
        assert journal.add(event())
    until(lambda: kept(path) >= 256)
    before = threading.active_count()
    journal.close()
    until(lambda: threading.active_count() == before - 1)
    assert kept(path) == 600


def test_one_fault_of_the_disk_does_not_end_the_recording(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that brings answers into the file tries again."""
    spool = journal._spool
    assert spool is not None
    faults, lines = iter([OSError(5, "Input/output error")]), spool.lines

    def failing(start: int = 0) -> tuple[list[bytes], int]:
        for fault in faults:
            raise fault
        return lines(start)

    monkeypatch.setattr(spool, "lines", failing)
    for _ in range(300):
        assert journal.add(event())
    until(lambda: kept(path) == 300)


def test_a_full_spool_is_emptied_once_the_file_can_be_written(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are lost while neither takes any; afterwards they are kept, though nobody reads."""
    monkeypatch.setattr(spool, "LIMIT", 10_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        until(lambda: not journal.add(event()))
        other.execute("rollback")
    until(lambda: journal.add(event()))
    assert journal.dropped > 0


def test_a_lock_that_many_want_is_no_disk_that_hangs(path: Path, journal: Journal) -> None:
    """Some seconds after a hang, nobody waits for long; who finds the lock taken then for a moment
    alone is not told so for some seconds more."""
    with journal._lock, pytest.raises(JournalError, match="busy"):
        journal.size()
    over = journal._stuck[journal._lock]
    with journal._lock, pytest.raises(JournalError, match="busy"):
        journal.size()
    assert journal._stuck[journal._lock] == over
    assert journal._spooling not in journal._stuck
    assert journal.add(event())
