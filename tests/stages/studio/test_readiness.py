"""What the studio says of a recording and of a model, in words."""

import pytest
from measured import candidate

from mien.model.decision import AnswerDecision
from mien.reporting.details import CandidateDetails
from mien.stages.studio import readiness

from .recorded import recorded


@pytest.mark.parametrize(
    ("labels", "sessions", "count", "reason"),
    [
        ("like", 2, 12, "at least two classes"),
        ("like peace", 2, 4, "like: 8 samples; record at least 10"),
        ("like peace", 1, 12, "peace: one session"),
    ],
)
def test_a_training_is_refused(labels: str, sessions: int, count: int, reason: str) -> None:
    """Where nothing could be learned or measured."""
    assert any(reason in each for each in readiness.refusals(recorded(labels, sessions, count)))


def test_a_tiny_session_is_refused() -> None:
    """A session of two samples cannot be measured on."""
    samples = recorded("like peace", 2, 12)
    assert readiness.refusals(samples) == []
    (reason,) = readiness.refusals([*samples[:14], *samples[24:]])
    assert reason.startswith("like: a session")


def test_few_samples_and_sessions_are_warned_of() -> None:
    """20 samples in three sessions are enough to say nothing."""
    texts = readiness.warnings(recorded("like peace", 2, 6))
    assert [("few" in each, "two sessions" in each) for each in texts] == [
        *[(True, False), (False, True)] * 2
    ]
    assert readiness.warnings(recorded("like peace", 3, 7)) == []


def test_a_limit_is_one_that_the_samples_can_show() -> None:
    """With few samples a strict limit would make every answer unsure."""
    few, many = (readiness.provable_risk(recorded("like peace", 2, n)) for n in (12, 100))
    assert 0.1 < many < 0.15 < 0.3 < few < 0.5
    assert readiness.provable_risk([]) == 0.5


def test_confused_labels_are_named() -> None:
    """From a fifth on; from two fifths on they look the same."""
    details = CandidateDetails(
        labels=("a", "b", "c"),
        confusion=((5, 5, 0, 0), (4, 6, 0, 0), (2, 2, 6, 0)),
        uncalibrated=(),
        calibrated=(),
        curves=(),
        mistakes=(),
    )
    pairs = readiness.confused_pairs(details)
    assert pairs == [("a", "b", 0.45)]
    never = AnswerDecision(min_confidence=1.5)
    first, *others = readiness.doubts(details, candidate("svm", 0.5, decision=never))
    assert "a and b look the same to the model: 45%" in first
    assert any("unsure" in each for each in others)
