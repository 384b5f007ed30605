"""The comparison of two models keeps its error rate, however often it is read."""

import numpy as np
import pytest

from mien.observability import sequential
from mien.observability.sequential import ERROR, PairCounts, compare

DIFFERENT = 600
"""Answers with feedback on which only one model is right; ties do not change the verdict."""


def ever_better(wins_share: float, seed: int) -> bool:
    """Whether a comparison in which this share of the differences are wins ever says better, read
    after every answer."""
    is_win = np.random.default_rng(seed).random(DIFFERENT) < wins_share
    none = np.zeros(DIFFERENT, int)
    capital = sequential.log_capital(np.cumsum(is_win), np.cumsum(~is_win), none, 0.0)
    return bool((capital >= np.log(2 / ERROR)).any())


@pytest.mark.parametrize("wins_share", [0.4, 0.45])
def test_a_worse_challenger_is_never_better(wins_share: float) -> None:
    """In none of 40 traffics, though it is read 600 times in each."""
    assert [seed for seed in range(40) if ever_better(wins_share, seed)] == []


def test_an_equal_challenger_is_rarely_better() -> None:
    """In at most 2.5 % of the comparisons; a right test has more than 9 of 150 in 1 of 200."""
    assert sum(ever_better(0.5, seed) for seed in range(150)) <= 9


def test_a_better_challenger_is_noticed() -> None:
    """Three points of accuracy, where the models differ in a tenth of the answers."""
    assert all(ever_better(0.65, seed) for seed in range(20))


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        (PairCounts(), "undecided"),
        (PairCounts(wins=60, losses=20, both_right=900), "better"),
        (PairCounts(wins=20, losses=60, both_right=900), "worse"),
        (PairCounts(wins=44, losses=36, both_right=900), "undecided"),
        (PairCounts(both_right=5000), "undecided"),
    ],
)
def test_the_verdict_is_that_of_the_interval(pairs: PairCounts, verdict: str) -> None:
    """Which contains what was observed, and is the mirrored one for exchanged models."""
    found = compare(pairs)
    assert found.verdict == verdict
    assert -1 <= found.lower <= found.difference <= found.upper <= 1
    exchanged = compare(PairCounts(pairs.losses, pairs.wins, pairs.both_right, pairs.both_wrong))
    assert (exchanged.lower, exchanged.upper) == pytest.approx((-found.upper, -found.lower))


def test_the_interval_contains_the_true_difference_at_every_moment() -> None:
    """In at least 95 % of the comparisons; here of 100 with a true difference of 0.1."""
    missed = 0
    for seed in range(100):
        draws = np.random.default_rng(seed).random(300)
        wins, losses = np.cumsum(draws < 0.2), np.cumsum(draws > 0.9)
        ties = np.arange(1, 301) - wins - losses
        above = sequential.log_capital(wins, losses, ties, 0.1)
        below = sequential.log_capital(losses, wins, ties, -0.1)
        missed += bool((np.maximum(above, below) >= np.log(2 / ERROR)).any())
    assert missed <= 10


def test_the_interval_narrows_to_the_true_difference() -> None:
    """Of a hundred times as many answers it is less than a fifth as wide."""
    few, many = (compare(PairCounts(8 * n, 2 * n, 90 * n)) for n in (1, 100))
    assert many.upper - many.lower < 0.2 * (few.upper - few.lower)
    assert many.lower < 0.06 < many.upper
