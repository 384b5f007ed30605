"""Promises of the CPU cost: a ratio that load cannot change, and an interval that is honest."""

import os
from math import inf

import numpy as np
import pytest
from load import busy_loops

from mien.model.evaluation import CpuRatio
from mien.stages.evaluate import cpu_cost
from mien.stages.evaluate.cpu_cost import cpu_ratio, median_with_interval

EMPTY = CpuRatio(median=0.0, low=0.0, high=inf, pairs=0)


def decode(times: int) -> None:
    for _ in range(times):
        cpu_cost.decode_reference_photo()


def test_the_unit_is_one_reference_photo() -> None:
    """A request that decodes three photos costs about three, and is not refused at ten."""
    cost = cpu_cost.cpu_cost(decode, [3], limit=10)
    assert 2 < cost.median < 4.5
    assert cost.low <= cost.median <= cost.high
    assert not cost.exceeds(10)
    assert cost.exceeds(1)


def test_load_does_not_change_a_decision() -> None:
    """Beside four busy loops per processor the same request is on the same side of the limits."""
    with busy_loops(4 * (os.cpu_count() or 1)):
        cost = cpu_cost.cpu_cost(decode, [3], limit=10)
    assert not cost.exceeds(10)
    assert cost.exceeds(1)


def test_a_clear_ratio_needs_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is spent only where the decision is close."""
    _scripted(monkeypatch, [2.0])
    assert cpu_ratio(_nothing, _nothing, [None], limit=1.1).pairs == cpu_cost.PAIRS_PER_ROUND


def test_a_close_ratio_is_repeated_and_stays_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the pairs lie above the limit and half below: no number of pairs may refuse it."""
    _scripted(monkeypatch, [1.0, 1.3])
    ratio = cpu_ratio(_nothing, _nothing, [None], limit=1.1)
    assert ratio.pairs == cpu_cost.PAIRS_PER_ROUND * cpu_cost.MAX_ROUNDS
    assert ratio.low <= 1.1 <= ratio.high
    assert not ratio.exceeds(1.1)


def test_a_clock_without_ticks_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system counts CPU time too coarsely, nothing was measured."""
    monkeypatch.setattr(cpu_cost, "thread_time", lambda: 0.0)
    assert cpu_ratio(_nothing, _nothing, [None], limit=1) == CpuRatio(
        median=0.0, low=0.0, high=inf, pairs=0
    )


def test_the_interval_holds_the_median_of_the_population() -> None:
    """In at least 98 % of 500 samples of a skewed distribution, for one round and for all."""
    chance = np.random.default_rng(0)
    for count in (cpu_cost.PAIRS_PER_ROUND, cpu_cost.PAIRS_PER_ROUND * cpu_cost.MAX_ROUNDS):
        intervals = [
            median_with_interval(chance.lognormal(0, 1, count).tolist()) for _ in range(500)
        ]
        assert np.mean([each.low <= 1 <= each.high for each in intervals]) >= 0.98


def _nothing(_: object) -> None:
    return None


def _scripted(monkeypatch: pytest.MonkeyPatch, ratios: list[float]) -> None:
    """Let the CPU clock say that first calls take each ratio in turn, and second calls 1 s."""
    state = {"now": 0.0, "call": 0}

    def clock() -> float:
        index = state["call"]
        pair, step = divmod(index, 4)
        state["now"] += {1: ratios[pair % len(ratios)], 3: 1.0}.get(step, 0.0)
        state["call"] += 1
        return state["now"]

    monkeypatch.setattr(cpu_cost, "thread_time", clock)
