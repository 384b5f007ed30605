"""Promises of the evaluate stage that need no training: the policy and the reference."""

import pytest

from mien.config import Policy
from mien.scores import Answer
from mien.stages import evaluate

POLICY = Policy(max_bundle_mb=10, max_p95_ms=50)


def row(name: str, score: float, megabytes: float = 1, p95: float = 1) -> dict[str, object]:
    return {
        "candidate": name,
        "val": {"macro_f1": score, "accuracy": 1 - score},
        "bundle_mb": megabytes,
        "latency": {"p95_ms": p95},
    }


def test_the_best_score_within_the_limits_wins() -> None:
    """The best is too large and the next too slow: the third is shipped, not the worst."""
    rows = [row("huge", 0.99, 11), row("slow", 0.98, p95=51), row("good", 0.97), row("bad", 0.2)]
    choice, faults = evaluate.choose(rows, POLICY)
    assert choice == "good"
    assert faults == ["11 MB > 10", "51 ms > 50", "", ""]


def test_nobody_wins_where_nobody_keeps_the_limits() -> None:
    """There is no silent second best: the table says what each candidate breaks."""
    assert evaluate.choose([row("huge", 0.99, 11)], POLICY) == (None, ["11 MB > 10"])


def test_the_policy_may_maximise_another_score() -> None:
    """`policy.maximise` names any score of the validation split."""
    rows = [row("a", 0.9), row("b", 0.1)]
    assert evaluate.choose(rows, Policy(maximise="accuracy"))[0] == "b"


def test_the_reference_counts_labels_and_keeps_deciles() -> None:
    """Monitoring compares live traffic with these numbers."""
    answers = [
        Answer("a", "a", place / 100, "ok", (), None, {"brightness": place / 100}, 0.0)
        for place in range(101)
    ]
    answers.append(Answer("b", None, 0.0, "no_face", (), None, {}, 0.0))
    found = evaluate.reference(answers, ("a", "b"))
    assert (found["rows"], found["labels"]) == (102, {"a": 101, "b": 0})
    assert found["outcomes"] == {"no_face": 1, "ok": 101}
    assert found["confidence"] == pytest.approx([place / 10 for place in range(11)])
    assert found["measures"]["brightness"] == pytest.approx(found["confidence"])
