"""Promises of `observability.drift`: a score that means something, and alarms as rare as stated."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mien.errors import BundleError
from mien.observability import drift
from mien.observability.drift import FALSE_ALARMS, MIN_ROWS, NO_LABEL, DriftRow

LABELS = ("fist", "like", "palm", "rock")


def rows(
    count: int, chance: np.random.Generator, shift: float = 0.0, mix: Sequence[float] | None = None
) -> list[DriftRow]:
    """Made-up answers; `shift` moves brightness by so many standard deviations."""
    labels = chance.choice([*LABELS, NO_LABEL], count, p=mix or (0.4, 0.3, 0.2, 0.05, 0.05))
    confidence = chance.beta(8, 2, count)
    brightness = chance.normal(0.5, 0.1, count) + shift * 0.1
    hands = chance.choice([0.0, 1.0, 2.0], count, p=(0.05, 0.85, 0.1))
    return [
        DriftRow(
            None if label == NO_LABEL else str(label),
            sure,
            {"brightness": bright, "hands": number, "constant": 1.0},
        )
        for label, sure, bright, number in zip(
            labels, confidence.tolist(), brightness.tolist(), hands.tolist(), strict=True
        )
    ]


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """The reference of 800 answers, as it is read back from its file."""
    made = drift.make_reference(rows(800, np.random.default_rng(0)), LABELS)
    read: dict[str, Any] = json.loads(json.dumps(made))
    assert read == made, "plain JSON values, exact to the last bit"
    return read


counts = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=12)


@given(counts)
@example([(1000, 0), (0, 1000)])
def test_the_index_is_a_distance(pairs: list[tuple[int, int]]) -> None:
    """Never below zero, zero for equal counts, the same from either side, and never infinite."""
    one, two = np.array(pairs).T
    score = drift.population_stability_index(one, two)
    assert 0 <= score < math.inf
    assert drift.population_stability_index(two, one) == pytest.approx(score)
    assert drift.population_stability_index(one, one) == 0
    assert drift.population_stability_index(two, two) == 0


def test_the_index_is_that_of_the_books() -> None:
    """Two bins, worked out by hand: shares 1/4 and 3/4 against 1/2 and 1/2."""
    score = drift.population_stability_index(
        np.array([249_999, 749_999]), np.array([499_999, 499_999])
    )
    by_hand = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert score == pytest.approx(by_hand, rel=1e-4)


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(values, values)
@example([0.1, 0.2, 0.3], [0.1 + 0.2, 0.30000000000000004])
def test_every_value_falls_into_one_bin(seen: list[float], live: list[float]) -> None:
    """Those of the reference and whatever comes later; bins are given by rising edges."""
    assume(len(set(seen)) > 1)
    answers = [DriftRow("fist", 0.5, {"measure": value}) for value in seen]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift, "_DRAWS", 1)  # of the thresholds, which are not looked at
        quantity = drift.make_reference(answers, LABELS)["quantities"]["measure"]
    edges = np.array(quantity["edges"])
    assert sum(quantity["counts"]) == len(seen)
    assert len(quantity["counts"]) == len(edges) + 1
    assert (np.diff(edges) > 0).all()
    found = drift._binned(np.array(live), edges)
    by_hand = [((np.array(live) <= edge).sum()) for edge in edges]
    assert found.sum() == len(live)
    assert np.cumsum(found)[:-1].tolist() == by_hand


@pytest.mark.parametrize("seen", [(0.0, 1.0), (0.0, 1.0, 2.0)])
def test_counts_have_a_bin_for_each_value_and_one_on_either_side(seen: tuple[float, ...]) -> None:
    """What was never seen below or above is not lost among what was."""
    answers = [DriftRow("fist", 0.5, {"hands": value}) for value in seen for _ in range(50)]
    quantity = drift.make_reference(answers, LABELS)["quantities"]["hands"]
    assert quantity["counts"] == [0, *[50] * len(seen), 0]
    for strange in (min(seen) - 1e-9, max(seen) + 1e-9):
        found = drift._binned(np.array([strange]), np.array(quantity["edges"]))
        assert found[1:-1].sum() == 0


def test_a_measure_of_many_values_has_ten_bins_of_equal_shares(known: dict[str, Any]) -> None:
    """Deciles of the reference."""
    assert known["quantities"]["brightness"]["counts"] == [80] * 10


def test_the_mix_of_labels_has_one_for_nothing_found(known: dict[str, Any]) -> None:
    """Shares add up to one, and answers without a subject have no confidence to count."""
    shares = drift.shares(known)
    label = known["quantities"]["label"]
    assert list(shares) == label["values"] == [*LABELS, NO_LABEL]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[NO_LABEL] == label["counts"][-1] / 800
    assert 0.02 < shares[NO_LABEL] < 0.08
    assert sum(known["quantities"]["confidence"]["counts"]) == 800 - label["counts"][-1]


@pytest.mark.parametrize("count", [80, 2000])
@pytest.mark.parametrize("references", [3, pytest.param(20, marks=pytest.mark.long)])
def test_clean_traffic_gives_no_more_alarms_than_stated(count: int, references: int) -> None:
    """Of 20 windows with each fresh reference, at most three times the stated share; a small
    reference makes the thresholds wider, not the alarms more."""
    chance = np.random.default_rng(count)
    alarms = 0
    for _ in range(references):
        fresh = drift.make_reference(rows(count, chance), LABELS)
        for size in [200] * 10 + [1000] * 10:
            compared = drift.compare(rows(size, chance), fresh)
            assert set(compared) >= {"label", "brightness", "hands"}
            alarms += any(each.score > each.limit for each in compared.values())
    assert alarms / (20 * references) <= 3 * FALSE_ALARMS


def test_thresholds_are_no_wider_than_they_must_be() -> None:
    """Clean scores come near them: one in a hundred of a single quantity's is beyond 40 %."""
    chance = np.random.default_rng(5)
    shares = []
    for _ in range(8):
        fresh = drift.make_reference(rows(500, chance), LABELS)
        for _ in range(20):
            found = drift.compare(rows(200, chance), fresh)["brightness"]
            shares.append(found.score / found.limit)
    assert float(np.quantile(shares, 0.99)) > 0.4


def test_a_shift_of_half_a_standard_deviation_is_seen(known: dict[str, Any]) -> None:
    """In every one of twenty full windows, and in that measure alone."""
    chance = np.random.default_rng(1)
    for _ in range(20):
        compared = drift.compare(rows(1000, chance, shift=0.5), known)
        over = {name for name, each in compared.items() if each.score > each.limit}
        assert over == {"brightness"}


def test_another_mix_of_labels_is_seen(known: dict[str, Any]) -> None:
    """One label takes over: only the mix shows it."""
    chance = np.random.default_rng(2)
    mix = (0.7, 0.15, 0.05, 0.05, 0.05)
    compared = drift.compare(rows(400, chance, mix=mix), known)
    assert compared["label"].score > compared["label"].limit
    assert compared["brightness"].score <= compared["brightness"].limit


def test_a_constant_is_not_watched(known: dict[str, Any]) -> None:
    """It was fixed by how the data were made; two hands in one picture are no alarm."""
    assert "constant" not in known["quantities"]
    live = [
        DriftRow(row.label, row.confidence, {**row.input_stats, "constant": 1.0 + (place % 5 == 0)})
        for place, row in enumerate(rows(400, np.random.default_rng(3)))
    ]
    assert "constant" not in drift.compare(live, known)


def test_few_rows_give_no_score(known: dict[str, Any]) -> None:
    """Each quantity counts its own: those that few of the answers have are left out."""
    live = rows(MIN_ROWS, np.random.default_rng(4))
    assert drift.compare(live[:-1], known) == {}
    assert drift.compare([], known) == {}
    found = drift.compare(live, known)
    assert set(found) == {"label", "brightness", "hands"}, "not all have a confidence"
    dim = [DriftRow(row.label, row.confidence, {}) for row in live[:100]] + live[100:]
    assert set(drift.compare(dim, known)) == {"label"}


def test_a_measure_that_the_reference_does_not_have_is_left_out(known: dict[str, Any]) -> None:
    """A newer task may measure more than an older model was compared with."""
    live = [
        DriftRow(row.label, row.confidence, {**row.input_stats, "new": 1.0})
        for row in rows(300, np.random.default_rng(4))
    ]
    assert "new" not in drift.compare(live, known)
    assert "brightness" in drift.compare(live, known)


def test_a_larger_window_has_a_narrower_limit(known: dict[str, Any]) -> None:
    """The limit is that of the next smaller size that was drawn, so never too narrow."""
    chance = np.random.default_rng(6)
    limits = [
        drift.compare(rows(size, chance), known)["brightness"].limit
        for size in (200, 499, 500, 999, 1000)
    ]
    assert limits[0] == limits[1] > limits[2] == limits[3] > limits[4] > 0


@pytest.mark.parametrize("other", [{"format": 1}, {}, {"format": "2"}])
def test_another_format_is_an_error_that_says_what_to_do(
    known: dict[str, Any], other: dict[str, Any]
) -> None:
    """Numbers that mean something else are not compared with."""
    old = {name: value for name, value in known.items() if name != "format"} | other
    for use in (lambda: drift.compare([], old), lambda: drift.shares(old)):
        with pytest.raises(BundleError, match=r"of format .*expected 2.*train the model again"):
            use()


def test_the_same_answers_give_the_same_reference() -> None:
    """To the last bit: a bundle's checksum depends on it."""
    answers = rows(100, np.random.default_rng(7))
    assert drift.make_reference(answers, LABELS) == drift.make_reference(answers, LABELS)


def test_answers_without_any_subject_can_be_a_reference() -> None:
    """There is no confidence then, and a window that names labels is far from it."""
    known = drift.make_reference([DriftRow(None, 0.0, {}) for _ in range(50)], LABELS)
    assert set(known["quantities"]) == {"label"}
    found = drift.compare(rows(200, np.random.default_rng(8)), known)
    assert found["label"].score > found["label"].limit
