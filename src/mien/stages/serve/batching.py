"""Whether questions that wait are better answered several at once: found by trying.

A network may take one call of eight for little more than a call of one, or for no less than eight
of them; it depends on the model and on the machine, so that nobody can say it beforehand.
"""

from time import perf_counter
from typing import Any

from mien.errors import MienError
from mien.model.runtime import Model
from mien.task import Prediction, Request, Task

GAIN = 0.8
"""Together, they must take less than this share of their time one by one."""
TOO_LONG = 0.005
"""Seconds of one prediction above which it is not tried: little of that is the price of a call."""
LARGE, FEW = 200_000, 2
"""Bytes of a question above which only so many are answered together: decoding takes most of their
time, and each of them waits until all are decoded."""
ROUNDS = 3
SAME = 1e-3
"""How far the confidence of an answer may be from that of the same question asked alone."""


def pays(task: Task[Any], model: Model, request: Request, most: int) -> bool:
    """Whether that many requests like this one are answered faster together."""
    return share(task, model, request, most) < GAIN


def share(task: Task[Any], model: Model, request: Request, most: int) -> float:
    """The time of so many predictions together, as a share of their time one by one.

    The best of some rounds, in turns; 1 for a model that cannot or need not be tried.
    """
    if not task.inference.batching:
        return 1.0
    apart, together = [], []
    try:
        for _ in range(ROUNDS):
            start = perf_counter()
            for _ in range(most):
                alone = task.inference.predict(request, model)
                if perf_counter() - start > TOO_LONG * most:
                    return 1.0
            apart.append(perf_counter() - start)
            start = perf_counter()
            found = task.inference.predict_many([request] * most, model)
            together.append(perf_counter() - start)
    except MienError:  # it does not take such requests, and says so to whoever sends one
        return 1.0
    except Exception:  # noqa: BLE001 - a network for one picture at a time fails in its own way
        return 1.0
    return min(together) / min(apart) if all(_alike(alone, each) for each in found) else 1.0


def _alike(one: Prediction, other: Prediction) -> bool:
    """Whether two answers to a question are the same, but for the last digits."""
    if one.outcome != other.outcome or len(one.detections) != len(other.detections):
        return False
    return all(
        a.label == b.label and abs(a.confidence - b.confidence) < SAME
        for a, b in zip(one.detections, other.detections, strict=True)
    )
