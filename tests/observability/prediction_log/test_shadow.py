"""The prediction log keeps what challengers answered, beside the champion's answers."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mien.errors import PredictionLogError
from mien.observability.prediction_log import reader
from mien.observability.prediction_log.database import DAY_S
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord, ShadowSummary
from mien.observability.prediction_log.writer import PredictionLog
from mien.observability.sequential import PairCounts

from .records import NOW, OURS, record, stored_rows

THEIRS = "d" * 64


def shadow_of(champion: PredictionRecord, label: str | None, outcome: str = "ok") -> ShadowRecord:
    """A challenger's answer to the request of a prediction."""
    return ShadowRecord(
        trace_id=champion.trace_id,
        timestamp=champion.timestamp,
        version="4",
        digest=THEIRS,
        outcome=outcome,
        label=label,
        cpu_s=0.02,
        champion_digest=champion.digest,
        champion_label=champion.label,
        champion_cpu_s=0.01,
    )


def add_pair(
    log: PredictionLog, label: str | None, truth: str | None = "", outcome: str = "ok"
) -> PredictionRecord:
    """The champion says star, the challenger `label`; feedback unless `truth` is empty."""
    champion = record()
    assert log.add(champion)
    log.add_shadow([shadow_of(champion, label, outcome)])
    if truth != "":
        assert log.record_feedback(champion.trace_id, truth, NOW)
    return champion


def test_both_models_are_compared_on_the_same_feedback(log: PredictionLog, path: Path) -> None:
    """A failure agrees with nothing and is never right; 'no subject' is not scored."""
    add_pair(log, "star", "star")
    add_pair(log, "round", "round")
    add_pair(log, "round", "star")
    add_pair(log, "round", "square")
    add_pair(log, None, "star", outcome="error")
    add_pair(log, None, None)
    add_pair(log, "star")
    pairs = PairCounts(wins=1, losses=2, both_right=1, both_wrong=1)
    assert log.shadow_pairs(THEIRS, OURS) == pairs
    assert log.shadow_pairs(THEIRS, "e" * 64) == PairCounts(), "of another champion"
    found = reader.summarise_shadow(path, THEIRS, OURS)  # the server has the file open
    assert found == ShadowSummary(7, 2, 1, NOW, NOW, 0.02, 0.01, pairs, 4)


def test_answers_are_there_before_those_of_the_champion(log: PredictionLog, path: Path) -> None:
    """The champion's row waits in the spool."""
    add_pair(log, "star")
    assert stored_rows(path) == 0
    assert reader.summarise_shadow(path, THEIRS, OURS).agreements == 1


def test_a_log_of_before_gets_the_table(log: PredictionLog, path: Path) -> None:
    """It stays readable without it, and keeps its predictions."""
    champion = add_pair(log, "star", "star")
    log.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("drop table shadow")
    assert reader.summarise_shadow(path, THEIRS, OURS) == ShadowSummary()
    with closing(PredictionLog(path)) as again:
        assert again.find(champion.trace_id) == champion
        again.add_shadow([shadow_of(champion, "star")])
        assert again.shadow_pairs(THEIRS, OURS).both_right == 1


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    """No server has run yet; another file is refused."""
    assert reader.summarise_shadow(tmp_path / "none.db", THEIRS, OURS) == ShadowSummary()
    (tmp_path / "other.db").write_text("no database, but long enough to be read as one" * 20)
    with pytest.raises(PredictionLogError, match="not a readable prediction log"):
        reader.summarise_shadow(tmp_path / "other.db", THEIRS, OURS)


def test_answers_are_deleted_with_their_predictions(path: Path) -> None:
    """The limit on age is that of the predictions."""
    with closing(PredictionLog(path)) as log:
        for days in (40, 1):
            champion = record(timestamp=NOW - days * DAY_S)
            log.add(champion)
            log.add_shadow([shadow_of(champion, "star")])
    with closing(PredictionLog(path, max_age_days=30)):
        assert stored_rows(path) == 1
        found = reader.summarise_shadow(path, THEIRS, OURS)
        assert (found.answers, found.first) == (1, NOW - DAY_S)


def test_a_file_that_cannot_be_written_is_one_error(log: PredictionLog, path: Path) -> None:
    """The caller counts it; no answer of a champion depends on it."""
    champion = add_pair(log, "star")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(PredictionLogError, match="cannot be written"):
            log.add_shadow([replace(shadow_of(champion, "star"), trace_id="f" * 32)])
