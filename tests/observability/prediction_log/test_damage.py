"""A prediction log whose file is damaged, deleted or of another format."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mien.errors import PredictionLogError
from mien.observability.prediction_log.schema import FORMAT_VERSION, Feedback
from mien.observability.prediction_log.writer import PredictionLog

from .records import NOW, OURS, record, stored_rows


def nonsense(path: Path) -> None:
    path.write_bytes(b"this is no prediction log " * 500)


def torn(path: Path) -> None:
    """The first page, which has the schema, is intact; the pages after it are not."""
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_a_damaged_file_is_renamed(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The file is kept under another name, a new one is created, and the log names both."""
    with closing(PredictionLog(path)) as log:
        for _ in range(200):
            log.add(record())
    for number in (1, 2):
        damage(path)
        content = path.read_bytes()
        with closing(PredictionLog(path)) as log:
            added = record()
            assert log.add(added)
            assert log.recent(OURS, 999) == [added]
            for _ in range(200):
                log.add(record())
        assert path.with_name(f"predictions.db.damaged-{number}").read_bytes() == content
        assert f"damaged-{number}, and a new file begins" in caplog.text


@pytest.mark.parametrize("damage", [nonsense, torn], ids=["nonsense", "torn"])
def test_the_write_ahead_log_of_a_damaged_file_is_not_reused(
    path: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Killed with pages in the write-ahead log, and the file damaged after that."""
    with closing(PredictionLog(path)) as log:
        for _ in range(200):
            log.add(record())
    with closing(PredictionLog(path)) as log:
        for _ in range(100):
            log.add(record())
            log.size()
        left = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert len(left["predictions.db-wal"]) > 100_000
    copy = tmp_path / "other" / "predictions.db"
    copy.parent.mkdir()
    for name, content in left.items():
        copy.with_name(name).write_bytes(content)
    damage(copy)
    with closing(PredictionLog(copy)) as log:
        added = record()
        assert log.add(added)
        assert log.recent(OURS, 999)[-1] == added
        assert log.size()[0] in (1, 301), "an intact log: a new one, or the old one repaired"


@pytest.mark.parametrize("version", [0, FORMAT_VERSION - 1, FORMAT_VERSION + 1])
def test_a_file_of_another_format_is_refused(path: Path, version: int) -> None:
    """One message names the format and what to do; the file does not change."""
    with closing(PredictionLog(path)) as log:
        log.add(record())
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"pragma user_version = {version}")
    expected = f"expected a prediction log of format {FORMAT_VERSION}, found format {version}"
    with pytest.raises(PredictionLogError, match=f"{expected}.*MIEN_PREDICTION_LOG"):
        PredictionLog(path)
    assert stored_rows(path) == 1


@pytest.mark.parametrize("spool_too", [True, False])
def test_a_deleted_file_is_created_again_and_its_rows_count_as_lost(
    path: Path, spool_too: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As `git clean` or a cleaner of temporary files deletes it, under two servers."""
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
