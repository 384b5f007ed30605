"""Promises of `mien.reporting.scores`, held against scikit-learn where it computes the same."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.boxes import Box
from mien.reporting import scores
from mien.reporting.scores import ScoredPrediction

LABELS = ("a", "b", "c")
WHOLE: Box = (0.0, 0.0, 10.0, 10.0)


def answer(truth: str | None, said: str | None, confidence: float = 0.9) -> ScoredPrediction:
    return ScoredPrediction(
        truth, said, confidence, "ok" if said else "no_face", (), None, {}, 0.001
    )


pairs = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=40
)


@given(pairs)
def test_macro_f1_and_accuracy_equal_scikit_learn(
    given_pairs: list[tuple[str, str | None]],
) -> None:
    """Over the classes that occur in the truth, with a missing detection as a wrong answer."""
    from sklearn.metrics import accuracy_score, f1_score

    truth = [pair[0] for pair in given_pairs]
    said = [pair[1] or "nothing" for pair in given_pairs]
    result = scores.summary([answer(*pair) for pair in given_pairs], LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f1_score(truth, said, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert result.macro_f1 == pytest.approx(wanted)
    assert result.accuracy == pytest.approx(accuracy_score(truth, said))


def test_pictures_without_a_subject_count_apart() -> None:
    """They touch neither accuracy nor macro-F1; a detection in one is a false one."""
    answers = [answer("a", "a"), answer("b", None), answer(None, "c"), answer(None, None)]
    result = scores.summary(answers, LABELS)
    assert (result.accuracy, result.miss_rate, result.false_positive_rate) == (
        0.5,
        0.5,
        0.5,
    )


def test_the_confusion_matrix_has_a_column_for_nothing() -> None:
    """Rows are the truth, the last column counts missed subjects."""
    matrix = scores.confusion([("a", "b"), ("c", None), (None, "a")], LABELS)
    assert matrix.shape == (3, 4)
    assert (matrix[0, 1], matrix[2, 3], matrix.sum()) == (1, 1, 2)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    """Always sure and half right: the gap is one half."""
    answers = [answer("a", "a", 1.0), answer("a", "b", 1.0)]
    assert scores.calibration_error(answers) == pytest.approx(0.5)
    assert scores.calibration_error([]) == 0


def located(box: Box, found: Box, label: str = "a") -> ScoredPrediction:
    sure = {"a": 0.05, "b": 0.05, "c": 0.05} | {label: 0.9}
    return ScoredPrediction("a", label, 0.9, "ok", ((found, sure),), (("a", box),), {}, 0.001)


def test_map_is_one_for_exact_boxes_and_falls_with_the_overlap() -> None:
    """An exact box scores 1; one that overlaps by 0.6 counts at 0.5 and not above 0.6."""
    exact = scores.mean_average_precision([located(WHOLE, WHOLE)] * 3, LABELS)
    assert exact == pytest.approx({"map50": 1.0, "map50_95": 1.0})
    loose = scores.mean_average_precision([located(WHOLE, (0, 0, 10, 6.2))] * 3, LABELS)
    assert loose == pytest.approx({"map50": 1.0, "map50_95": 0.3})
    away = scores.mean_average_precision([located(WHOLE, (20, 20, 30, 30))] * 3, LABELS)
    assert away == {"map50": 0.0, "map50_95": 0.0}


def test_latency_is_told_in_milliseconds() -> None:
    """Median and 95th percentile of the seconds of one request."""
    answers = [
        ScoredPrediction("a", "a", 1, "ok", (), None, {}, seconds)
        for seconds in np.linspace(0, 0.1, 101)
    ]
    latency = scores.latency(answers)
    assert (latency.p50_ms, latency.p95_ms) == pytest.approx((50, 95))


@pytest.mark.parametrize(
    ("hits", "count", "lower", "upper"),
    [
        # Worked out with z = 1.96 from the formula of the 1927 paper.
        (7, 10, 0.396773, 0.892209),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (81, 263, 0.255225, 0.366202),
    ],
)
def test_the_interval_of_a_share_is_wilson_s(
    hits: int, count: int, lower: float, upper: float
) -> None:
    """81 of 263 is an example of Newcombe 1998, who gives 0.2553 to 0.3662."""
    assert scores.wilson(hits, count) == pytest.approx((lower, upper), abs=1e-4)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_interval_holds_the_share_and_narrows(count: int, share: float) -> None:
    """Inside 0..1, around the share, mirrored for misses, narrower with four times as many."""
    hits = round(share * count)
    lower, upper = scores.wilson(hits, count)
    assert 0 <= lower <= hits / count <= upper <= 1
    mirrored = scores.wilson(count - hits, count)
    assert mirrored == pytest.approx((1 - upper, 1 - lower))
    closer = scores.wilson(4 * hits, 4 * count)
    assert closer[1] - closer[0] < upper - lower


def test_of_nothing_any_share_may_be_true() -> None:
    """No observation, no knowledge."""
    assert scores.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("given_pairs", "learnt"),
    [
        ([("a", "a"), ("b", "b")] * 6, True),
        ([("a", "a"), ("b", "a")] * 50, False),
        ([("a", "b"), ("b", "a"), ("a", "a"), ("b", "b")] * 50, False),
        ([("a", "a")] * 95 + [("b", "a")] * 5, False),
        ([("a", "a")] * 380 + [("b", "b")] * 18 + [("b", "a")] * 2, True),
        ([("a", "a"), ("b", "b")], False),
        ([("a", None), ("b", None)] * 50, False),
        ([(None, "a")] * 5, False),
    ],
    ids=[
        "all right",
        "always the same",
        "at random",
        "the majority",
        "rare label known",
        "too few",
        "nothing found",
        "no subject shown",
    ],
)
def test_a_model_has_learnt_where_it_beats_the_most_frequent_label(
    given_pairs: list[tuple[str | None, str | None]], learnt: bool
) -> None:
    """With its whole interval: a few examples prove nothing."""
    answers = [answer(*pair) for pair in given_pairs]
    assert scores.compare_with_majority(answers, LABELS).has_learnt is learnt


def test_random_answers_rarely_count_as_learnt() -> None:
    """At most one of twenty sets, balanced or not, with as many labels as gestures."""
    rng = np.random.default_rng(0)
    labels = [f"label {n}" for n in range(18)]
    learnt = 0
    for weights in (np.ones(18), np.arange(1, 19)):
        truth = rng.choice(18, (100, 108), p=weights / weights.sum())
        predicted = rng.choice(18, (100, 108), p=weights / weights.sum())
        for one, other in zip(truth, predicted, strict=True):
            pairs_ = zip(one, other, strict=True)
            answers = [answer(labels[a], labels[b]) for a, b in pairs_]
            learnt += scores.compare_with_majority(answers, labels).has_learnt
    assert learnt <= 10


def test_labels_that_a_model_does_not_know_count_as_wrong() -> None:
    """A champion is compared with a model of more labels on the same examples."""
    answers = [answer("a", "a"), answer("wave", "a"), answer(None, "a")]
    labels = scores.with_unknown_labels(LABELS, answers)
    assert labels == ("a", "b", "c", "wave")
    assert scores.summary(answers, labels).accuracy == 0.5
