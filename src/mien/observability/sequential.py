"""Whether one of two models is more accurate, by a test that may be read after every answer.

Each pair of answers is a win (+1, only the new model is right), a loss (-1) or a tie (0). The
interval of the mean difference is a confidence sequence: with probability `1 - error` it contains
the true difference at every moment, so that a decision may be taken as soon as the interval says
something. It needs no normal approximation, and no number of answers that is set in advance.

For each possible mean m, a gambler bets that the true mean is higher: the capital is multiplied by
1 - c + c (1 + d) / (1 + m) for a difference d and a bet c in 0..1. If the mean is m or lower, the
expected capital is at most 1, and the probability that it ever reaches K is at most 1 / K (Ville
1939). So every m with a capital of 2 / error is excluded, and the same for bets that it is lower.
The bets are those of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", Journal of the Royal Statistical Society B 86, 2024; the capital is the mean over constant
bets, as in Cover, "Universal portfolios", Mathematical Finance 1, 1991. For m = 0 ties do not
matter: it is then a sequential form of McNemar's test.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ERROR = 0.05
"""Probability that the interval ever excludes the true difference; half of it on each side."""
_BETS: NDArray[np.float64] = np.geomspace(0.002, 0.99, 60)
_STEPS = 40
"""Of the bisection: far below a millionth."""
Verdict = Literal["better", "worse", "undecided"]
Counts = int | NDArray[np.int64]


@dataclass(frozen=True)
class PairCounts:
    """Pairs of answers to inputs whose label is known."""

    wins: int = 0
    """Only the new model is right."""
    losses: int = 0
    """Only the present one is."""
    both_right: int = 0
    both_wrong: int = 0

    @property
    def ties(self) -> int:
        return self.both_right + self.both_wrong

    @property
    def total(self) -> int:
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class AccuracyDifference:
    """Accuracy of the new model minus that of the present one."""

    samples: int
    difference: float
    lower: float
    """Of the interval that holds at every moment, see the module."""
    upper: float

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the new model."""
        if self.lower > 0:
            return "better"
        return "worse" if self.upper < 0 else "undecided"


def compare(pairs: PairCounts, error: float = ERROR) -> AccuracyDifference:
    """The difference of two accuracies, with an interval that holds at every moment."""
    lower = _lower_end(pairs.wins, pairs.losses, pairs.ties, error)
    upper = -_lower_end(pairs.losses, pairs.wins, pairs.ties, error)
    difference = (pairs.wins - pairs.losses) / max(1, pairs.total)
    return AccuracyDifference(pairs.total, difference, lower, upper)


def log_capital(wins: Counts, losses: Counts, ties: Counts, mean: float) -> NDArray[np.float64]:
    """Logarithm of the capital after these differences, for bets that their mean is higher.

    Counts are numbers or arrays of one shape.
    """
    tie = 1 - _BETS + _BETS / (1 + mean)
    logs = (
        np.multiply.outer(wins, np.log(tie + _BETS / (1 + mean)))
        + np.multiply.outer(losses, np.log1p(-_BETS))
        + np.multiply.outer(ties, np.log(tie))
    )
    capital: NDArray[np.float64] = np.logaddexp.reduce(logs, axis=-1) - np.log(len(_BETS))
    return capital


def _lower_end(wins: int, losses: int, ties: int, error: float) -> float:
    """The largest mean that is excluded together with all below it: the capital falls with it."""
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if log_capital(wins, losses, ties, middle) >= np.log(2 / error):
            low = middle
        else:
            high = middle
    return low
