"""The prediction log is bounded in size and in age."""

from contextlib import closing
from pathlib import Path

from mien.observability.prediction_log.database import DAY_S
from mien.observability.prediction_log.writer import PredictionLog

from .records import NOW, OURS, record


def footprint(path: Path) -> int:
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))


def test_the_prediction_log_is_bounded_in_size(path: Path) -> None:
    """Of 20,000 records the newest are kept, and the file stops growing."""
    sizes, logs = [], []
    with closing(PredictionLog(path, max_size_mb=1.0)) as log:
        added = [record() for _ in range(20_000)]
        for number, each in enumerate(added, start=1):
            assert log.add(each)
            if number % 2_000 == 0:
                sizes.append(log.size()[1])
                logs.append(footprint(path) - sizes[-1])
        rows, _ = log.size()
        assert max(sizes) <= 1.5e6
        assert max(logs) < 6e6, "SQLite's write-ahead log of 4 MB, and its overrun"
        assert 1_000 <= rows < 6_000
        assert log.recent(OURS, 99_999) == added[-rows:]
        assert log.dropped == 0


def test_the_prediction_log_is_bounded_in_age(path: Path) -> None:
    """Of 20,000 records over two months, those of the last thirty days are kept."""
    with closing(PredictionLog(path, max_age_days=30)) as log:
        added = [record(timestamp=NOW - 60 * DAY_S + number * 259.2) for number in range(20_000)]
        for each in added:
            assert log.add(each)
        rows, _ = log.size()
        kept = log.recent(OURS, 99_999)
        # Old rows are deleted every 500 records, so as many may be too old.
        assert 9_990 <= rows <= 10_500
        assert 9_990 <= len(kept) <= rows
        assert kept == added[-len(kept) :]


def test_old_records_are_deleted_by_a_server_with_little_traffic(path: Path) -> None:
    """A server that is restarted each day and gets ten requests keeps the limit on age."""
    for day in range(60):
        moment = NOW - (60 - day) * DAY_S
        with closing(PredictionLog(path, max_age_days=30)) as log:
            for number in range(10):
                assert log.add(record(timestamp=moment + number))
    with closing(PredictionLog(path, max_age_days=30)) as log:
        oldest = log.recent(OURS, 9_999)[0].timestamp
    assert oldest > NOW - 30 * DAY_S


def test_old_records_are_deleted_while_a_server_runs(path: Path) -> None:
    """With fewer records than the number that triggers a deletion."""
    with closing(PredictionLog(path, max_age_days=1)) as log:
        for hour in range(100):
            log.add(record(timestamp=NOW + hour * 3600))
        kept = log.recent(OURS, 999)
    assert len(kept) == 24
    assert kept[-1].timestamp == NOW + 99 * 3600


def test_a_record_beyond_the_age_is_not_found(path: Path) -> None:
    """Even if no request has come since, so that nothing was deleted yet."""
    with closing(PredictionLog(path, max_age_days=1)) as log:
        old, young = record(timestamp=NOW - 1.1 * DAY_S), record(timestamp=NOW - 0.9 * DAY_S)
        log.add(old)
        log.add(young)
        assert log.find(old.trace_id) is None
        assert log.find(young.trace_id) == young
