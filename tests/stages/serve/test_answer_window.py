"""The answers of the last hour: counts and times."""

import numpy as np
import pytest

from mien.stages.serve.answer_window import AnswerKind, AnswerWindow
from mien.task import Detection, Prediction


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.minute = 1000.0

    def __call__(self) -> float:
        return 60 * self.minute


LIKE = Prediction("ok", (Detection("like", 0.9, None, {"like": 0.9}),))
NOTHING = Prediction("no_hand")


def test_answers_are_counted_by_label_and_outcome() -> None:
    """Frames apart from pictures, each task for itself."""
    window = AnswerWindow(Clock())
    for prediction, is_frame in ((LIKE, False), (LIKE, False), (LIKE, True), (NOTHING, False)):
        window.add("hands", prediction, is_frame, 0.01)
    window.add("faces", NOTHING, False, 0.01)
    assert window.counts("hands") == {
        AnswerKind("hands", "like", "ok", False): 2,
        AnswerKind("hands", "like", "ok", True): 1,
        AnswerKind("hands", None, "no_hand", False): 1,
    }
    assert window.counts("faces").total() == 1


def test_what_is_older_than_an_hour_no_longer_counts() -> None:
    """Whether other answers came since or not."""
    clock = Clock()
    window = AnswerWindow(clock)
    window.add("hands", LIKE, False, 5.0)
    clock.minute += 59
    window.add("hands", LIKE, False, 0.01)
    assert window.counts("hands").total() == 2
    clock.minute += 1
    assert window.counts("hands").total() == 1
    assert window.latency_s("hands", 1.0) == pytest.approx(0.01, rel=0.08)
    clock.minute += 60
    assert window.counts("hands").total() == 0
    assert window.latency_s("hands", 0.5) is None


def test_a_window_of_many_answers_stays_small() -> None:
    """Minutes that have answers, no more than there are in an hour."""
    clock = Clock()
    window = AnswerWindow(clock)
    for _ in range(500):
        clock.minute += 1
        window.add("hands", LIKE, False, 0.01)
    assert window.counts("hands").total() == 60
    assert len(window._minutes) == 60


@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_quantiles_are_those_of_the_times(quantile: float) -> None:
    """To within 8 %, from a millisecond to seconds."""
    times = np.random.default_rng(0).lognormal(-3, 1.2, 2000)
    window = AnswerWindow(Clock())
    for each in times:
        window.add("hands", LIKE, False, float(each))
    expected = np.quantile(times, quantile)
    assert window.latency_s("hands", quantile) == pytest.approx(expected, rel=0.09)
