"""How often a test that is read after every answer is wrong, and how many labels it needs.

    python3 tasks.py bench sequential

Simulated pairs of answers of two models. Compares the test of `mien shadow` with the mixture
sequential probability ratio test (Johari, Pekelis and Walsh, "Always valid inference",
2022), whose variance is estimated, and with a test that knows no sequences: McNemar's, read after
every answer. Takes a minute; prints a table and writes nothing.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mien.observability import sequential
from mien.observability.sequential import ERROR
from mien.reporting import console

RUNS, ANSWERS = 400, 4000
RATES = ((0.05, 0.05), (0.04, 0.06), (0.06, 0.04), (0.065, 0.035), (0.1, 0.05))
"""Shares of answers on which only the challenger is right, and only the champion."""
MIXTURE_VARIANCE = 0.05**2
"""Of the mixture over differences, in the mixture test: differences of some points are expected."""
FIRST = 20
"""Answers before which the two approximate tests, whose variance is unknown then, say nothing."""
Counts = NDArray[np.int64]
Evidence = Callable[[Counts, Counts, Counts], NDArray[np.bool_]]
"""Of wins, losses and answers after each answer: whether the challenger counts as better."""


def betting(wins: Counts, losses: Counts, total: Counts) -> NDArray[np.bool_]:
    capital = sequential.log_capital(wins, losses, total - wins - losses, 0.0)
    return np.asarray(capital >= np.log(2 / ERROR))


def mixture(wins: Counts, losses: Counts, total: Counts) -> NDArray[np.bool_]:
    mean = (wins - losses) / total
    variance = np.maximum((wins + losses) / total - mean**2, 1 / total)
    spread = variance + total * MIXTURE_VARIANCE
    ratio = 0.5 * np.log(variance / spread)
    ratio += total**2 * MIXTURE_VARIANCE * mean**2 / (2 * variance * spread)
    return (ratio >= np.log(1 / ERROR)) & (mean > 0) & (total >= FIRST)


def mcnemar(wins: Counts, losses: Counts, total: Counts) -> NDArray[np.bool_]:
    different = np.maximum(wins + losses, 1)
    return ((wins - losses) / np.sqrt(different) > 1.96) & (total >= FIRST)


TESTS: dict[str, Evidence] = {
    "betting (mien)": betting,
    "mixture SPRT": mixture,
    "McNemar, read each time": mcnemar,
}


def main() -> None:
    """Simulate and print."""
    rows = []
    for win, loss in RATES:
        row = [f"{win:.3f}, {loss:.3f}"]
        for test in TESTS.values():
            ends = [_first(test, win, loss, seed) for seed in range(RUNS)]
            reached = [end for end in ends if end is not None]
            row.append(f"{len(reached) / RUNS:.3f}")
            row.append(f"{np.median(reached):.0f}" if len(reached) > RUNS / 2 else "-")
        rows.append(row)
    columns = [column for name in TESTS for column in (f"{name}: better", "labels, median")]
    title = f"{RUNS} comparisons of {ANSWERS} labels, read after each one"
    console.table(title, ["only new, only old right", *columns], rows)


def _first(test: Evidence, win: float, loss: float, seed: int) -> int | None:
    """After how many labels the challenger counts as better; None if it never does."""
    draws = np.random.default_rng(seed).random(ANSWERS)
    wins, losses = np.cumsum(draws < win), np.cumsum((draws >= win) & (draws < win + loss))
    better = test(wins, losses, np.arange(1, ANSWERS + 1))
    return int(np.argmax(better)) + 1 if better.any() else None


if __name__ == "__main__":
    main()
