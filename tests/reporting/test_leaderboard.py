"""Promises of `reporting.leaderboard`: the table of an evaluation says everything in 80 columns."""

import pytest
from measured import candidate, scores, variant

from mien.config import Policy
from mien.model.decision import AnswerDecision
from mien.model.evaluation import CandidateScores, Evaluation, RiskCoverage
from mien.reporting import leaderboard


def evaluation(task: str, *rows: CandidateScores, **without: str) -> Evaluation:
    """The first row is the choice."""
    return Evaluation(
        task=task,
        trained="trained",
        data="data",
        policy=Policy(),
        choice=rows[0].candidate,
        without=without,
        candidates=rows,
    )


def test_the_table_fits_a_terminal_and_tells_every_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """80 columns; what a variant gains and loses, who has none, and why one was not chosen."""
    whole = scores(0.9, map50=0.8, map50_95=0.7)
    net = candidate("yolox-nano", val=whole, test=whole, bundle_mb=4)
    lost = variant(
        "yolox-nano",
        slower=0.25,
        val=scores(0.8, map50=0.8, map50_95=0.7),
        test=whole,
        fault="25% slower > 10%",
    )
    why = "nothing to make smaller"
    leaderboard.show(evaluation("emotion", net, lost, svm=why, forest=why))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "yolox-nano-int8 is not chosen: 25% slower > 10%" in out
    assert "No variant of svm, forest: nothing to make smaller" in out
    (line,) = [line for line in out.splitlines() if "x 0.25" in line]
    assert line.split()[3:] == ["x", "1.25", "-0.1000", "+0.0000", "+0.0000", "+0.0000"]


def test_a_score_on_drawings_is_never_printed_without_that_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table's title names what the models were trained and measured on."""
    drawn = evaluation("gesture", candidate("svm")).model_copy(update={"trained_on": "synthetic"})
    leaderboard.show(drawn)
    assert "Candidates of gesture (F1: macro-F1; data: synthetic)" in capsys.readouterr().out


def test_leak_free_scores_stand_beside_those_as_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader of the table sees what copies in train were worth."""
    test, free = scores(0.9, 10), scores(0.52, 9, accuracy=0.51)
    row = candidate("svm", test=test, test_leak_free=free)
    leaderboard.show(evaluation("letter", row))
    result = capsys.readouterr().out
    assert "Test as shipped (10) and leak-free, without copies in train (9)" in result
    assert "0.510" in result
    assert "0.520" in result


def test_what_unsure_costs_is_printed_and_a_missed_target_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Calibration before and after, each limit with its coverage, in 80 columns."""
    rows = (
        RiskCoverage(max_risk=0.05, min_confidence=None),
        RiskCoverage(
            max_risk=0.3,
            min_confidence=0.61,
            val_coverage=0.5,
            val_risk=0.28,
            test_coverage=0.48,
            test_risk=0.31,
        ),
    )
    row = candidate("yolox-nano-int8", raw_calibration_error=0.19, risk_coverage=rows)
    leaderboard.show(evaluation("emotion", row))
    reached = capsys.readouterr().out
    assert max(map(len, reached.splitlines())) <= 80
    assert "calibration error on test 0.190, calibrated 0.000" in reached
    assert "NOT REACHED" not in reached
    missed = AnswerDecision(min_confidence=2.0, max_risk=0.05)
    leaderboard.show(evaluation("emotion", row.model_copy(update={"decision": missed})))
    out = capsys.readouterr().out
    assert "NOT REACHED on val: at most 5% wrong. Every answer is unsure: bring more data" in out
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["30%"]]
    assert line.split()[1:] == ["0.610", "50.0%", "28.0%", "48.0%", "31.0%"]
