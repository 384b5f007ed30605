"""CPU time of one request as a ratio, so that the load of the machine cannot change a decision.

Two calls run in turn in one thread, and only the CPU time (user + system) of that thread counts.
Other processes take the processor away from both calls alike; a slower processor slows both.
The ratio is repeated until its confidence interval excludes the limit that it is held to. A ratio
that stays too close to its limit is undecided, and an undecided ratio refuses nobody.
"""

import io
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle, islice
from math import inf
from time import thread_time
from typing import TypeVar

import numpy as np
from PIL import Image

from mien.model.evaluation import CpuRatio

T = TypeVar("T")

REFERENCE_SIZE = (640, 480)
"""Pixels of the JPEG photo whose decoding is one unit of CPU cost."""
PAIRS_PER_ROUND = 12
"""The interval of the median of fewer pairs has no ends."""
MAX_ROUNDS = 8
WARMUP_PAIRS = 3
_QUICK_PAIRS, _QUICK_SHARE = 3, 0.5
"""So many pairs below this share of a limit show it before the whole measurement."""
_Z = 2.576
"""Of the 99 % interval of the median."""


def cpu_cost(predict: Callable[[T], object], requests: Sequence[T], limit: float) -> CpuRatio:
    """CPU time of `predict` in units of the reference workload: decoding a 640 x 480 JPEG photo.

    Args:
        predict: answers one request in the calling thread.
        requests: at least one; they are used in turn.
        limit: the cost that the interval shall exclude; more pairs are measured until it does.
    """
    return cpu_ratio(predict, lambda _: decode_reference_photo(), requests, limit)


def cpu_ratio(
    first: Callable[[T], object], second: Callable[[T], object], requests: Sequence[T], limit: float
) -> CpuRatio:
    """CPU time of `first` divided by that of `second`, both called in turn with each request.

    Where the second call is shorter than a tick of the system's clock, nothing can be measured: the
    interval is 0 to infinity.
    """
    ratios: list[float] = []
    pairs = cycle(requests)
    for request in islice(pairs, WARMUP_PAIRS):
        first(request)
        second(request)
    for _ in range(MAX_ROUNDS):
        for request in islice(pairs, PAIRS_PER_ROUND):
            numerator, denominator = _cpu_seconds(first, request), _cpu_seconds(second, request)
            if denominator <= 0:
                return median_with_interval([])
            ratios.append(numerator / denominator)
        measured = median_with_interval(ratios)
        if not measured.low <= limit <= measured.high:
            break
    return measured


def is_far_below(predict: Callable[[T], object], requests: Sequence[T], limit: float) -> bool:
    """Whether a few requests each cost less than half of a limit: enough to show a model, not to
    judge it; `cpu_cost` follows. Arguments as there."""
    for request in islice(cycle(requests), _QUICK_PAIRS):
        cost = _cpu_seconds(predict, request)
        if cost >= _QUICK_SHARE * limit * _cpu_seconds(lambda _: decode_reference_photo(), request):
            return False
    return True


def median_with_interval(values: Sequence[float]) -> CpuRatio:
    """Median and 99 % interval of it, from order statistics: no assumption on the distribution.

    Source: Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2 (quantiles).
    """
    count = len(values)
    reach = _Z * count**0.5 / 2
    lower, upper = int(np.floor(count / 2 - reach)), int(np.ceil(count / 2 + reach))
    ordered = sorted(values)
    return CpuRatio(
        median=float(np.median(ordered)) if ordered else 0.0,
        low=ordered[lower - 1] if lower >= 1 else 0.0,
        high=ordered[upper] if upper < count else inf,
        pairs=count,
    )


def decode_reference_photo() -> None:
    """The reference workload: decode a drawn photo to RGB pixels."""
    np.asarray(Image.open(io.BytesIO(_reference_photo())).convert("RGB"))


@cache
def _reference_photo() -> bytes:
    """A JPEG file of smooth waves with some detail, as large as a photo of that size is."""
    width, height = REFERENCE_SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = [
        127 + 60 * np.sin(x / (7 + 3 * c) + y / (11 + 2 * c)) + 40 * np.sin(x * y / (900 + 200 * c))
        for c in range(3)
    ]
    pixels = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def _cpu_seconds(call: Callable[[T], object], request: T) -> float:
    start = thread_time()
    call(request)
    return thread_time() - start
