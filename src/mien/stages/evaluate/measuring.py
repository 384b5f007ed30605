"""Ask a model the examples of a split through the function that serves, and time it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mien.config import Policy
from mien.errors import RequestError
from mien.model import runtime
from mien.model.bundle import Bundle
from mien.model.decision import AnswerDecision
from mien.model.evaluation import (
    CpuRatio,
    Latency,
    Measurements,
    RiskCoverage,
    SliceDefinition,
    VariantComparison,
)
from mien.model.runtime import Model
from mien.reporting import console, scores, slices
from mien.reporting.details import Mistake, WorstMistakes
from mien.reporting.scores import ScoredPrediction
from mien.task import Example, Prediction, Request, Split, Task

from . import calibration
from .cpu_cost import WARMUP_PAIRS, cpu_cost, cpu_ratio, is_far_below

MEASURED: tuple[Split, ...] = ("val", "test")
NO_COST = CpuRatio(median=0.0, low=0.0, high=inf, pairs=0)
"""Not measured yet."""
_WARM_UP = 3
_SHOWN = 24
_COST_EXAMPLES = 20
"""Validation examples whose CPU time is measured, again and again where that is needed."""


@dataclass(frozen=True)
class Measured:
    """One candidate on the splits that count."""

    bundle: Bundle
    answers: Mapping[str, Sequence[ScoredPrediction]]
    shown: Sequence[tuple[Example, Prediction]]
    latency: Latency
    cpu_cost: CpuRatio
    """CPU time of one request, in units of the reference workload; the policy limits it."""
    leaked: frozenset[str] | None
    """Examples with a copy in train; None where the data were not checked."""
    decision: AnswerDecision = field(default_factory=AnswerDecision)
    """Fitted on val; `answers` have it applied."""
    uncalibrated: Mapping[str, Sequence[ScoredPrediction]] = field(default_factory=dict)
    """The answers before."""
    mistakes: Sequence[Mistake] = ()
    """The worst ones on test."""
    slices: Sequence[SliceDefinition] = ()

    @property
    def candidate(self) -> str:
        """Its name in the run."""
        return self.bundle.manifest.candidate

    @cached_property
    def measurements(self) -> Measurements:
        """Scores by split, what a request costs, size in megabytes."""
        labels = self.bundle.manifest.labels
        free = None if self.leaked is None else scores.summary(self.leak_free(), labels)
        return Measurements(
            **{split: scores.summary(each, labels) for split, each in self.answers.items()},
            test_leak_free=free,
            majority=scores.compare_with_majority(self._unseen(), labels),
            raw_calibration_error=scores.calibration_error(self.uncalibrated.get("test", ())),
            risk_coverage=self._risk_coverage(),
            slices=slices.measure(self.answers["test"], self.slices),
            val_slices=slices.measure(self.answers["val"], self.slices),
            latency=self.latency,
            cpu_cost=self.cpu_cost,
            bundle_mb=self.bundle.megabytes,
        )

    def _risk_coverage(self) -> tuple[RiskCoverage, ...]:
        if not self.uncalibrated:
            return ()
        return calibration.risk_coverage(
            self.decision, self.uncalibrated["val"], self.uncalibrated["test"]
        )

    def _unseen(self) -> list[ScoredPrediction]:
        """Validation and test examples without a copy in train; all, where each has one."""
        every = [each for split in MEASURED for each in self.answers[split]]
        return [each for each in every if each.name not in (self.leaked or ())] or every

    def leak_free(self) -> list[ScoredPrediction]:
        """What was said of the test examples that no training example gives away."""
        if self.leaked is None:
            return []
        return [each for each in self.answers["test"] if each.name not in self.leaked]


def measure(
    task: Task[Any],
    opened: Bundle,
    ready: Path,
    leaked: frozenset[str] | None,
    policy: Policy,
    definitions: Sequence[SliceDefinition],
) -> Measured:
    """Ask a bundle the splits that count and fit its decision on val; see `with_costs`, too."""
    with Model(opened) as model:
        samples, mistakes = _FewOfEachLabel(len(model.labels)), WorstMistakes()
        raw: dict[str, Sequence[ScoredPrediction]] = {}
        for split in MEASURED:
            words = f"evaluate {opened.manifest.candidate} on {split}"
            look = (samples.add, mistakes.add) if split == "test" else ()
            examples = task.data.examples(ready, split)
            raw[split] = predict_split(task, model, examples, words, look)
        model.decision = decision = calibration.fit(raw["val"], policy)
        answers = {
            split: [scores.decided(answer, decision) for answer in each]
            for split, each in raw.items()
        }
        shown = [(example, prediction.decided(decision)) for example, prediction in samples.shown]
        latency = scores.latency(answers["val"])
        worst = mistakes.decided(decision)
        return Measured(
            *(model.bundle, answers, shown, latency, NO_COST, leaked, decision, raw, worst),
            slices=definitions,
        )


def with_costs(task: Task[Any], measured: Measured, ready: Path, policy: Policy) -> Measured:
    """Add the latency, also of a picture, and the CPU cost, which is measured until it is clear of
    the limit, or for a bounded number of requests; unchanged where they are there."""
    if measured.cpu_cost is not NO_COST:
        return measured
    with Model(measured.bundle) as model:
        model.decision = measured.decision
        latency, cost = _costs(task, model, measured.answers["val"], ready, policy.max_cpu_cost)
    return replace(measured, latency=latency, cpu_cost=cost)


def is_cheap(task: Task[Any], measured: Measured, ready: Path, policy: Policy) -> bool:
    """Whether every kind of request is far below the limit on CPU cost, by a test that takes little
    time; False where only `with_costs` can tell."""
    with Model(measured.bundle) as model:

        def predict(request: Request) -> None:
            task.inference.predict(request, model)

        with suppress(RequestError):  # a model that takes no pictures
            if not is_far_below(predict, [_picture(task)], policy.max_cpu_cost):
                return False
        return is_far_below(predict, _val_requests(task, ready), policy.max_cpu_cost)


def compare_latency(
    task: Task[Any], opened: Bundle, ready: Path, policy: Policy
) -> VariantComparison | None:
    """The CPU time of a variant and of its base candidate as a ratio; None for a candidate."""
    variant_of = opened.manifest.lineage.variant
    if variant_of is None:
        return None
    folder = opened.folder.with_name(variant_of.base)
    with runtime.load(folder) as of, Model(opened) as variant:
        ratio = cpu_ratio(
            lambda request: task.inference.predict(request, variant),
            lambda request: task.inference.predict(request, of),
            _val_requests(task, ready),
            1 + policy.max_latency_increase,
        )
    return VariantComparison(form=variant_of.form, base=variant_of.base, cpu_ratio=ratio)


def predict_split(
    task: Task[Any],
    model: Model,
    examples: Iterable[Example],
    words: str,
    look: Sequence[Callable[[Example, Prediction], None]] = (),
) -> list[ScoredPrediction]:
    """Predict one example after the other, and show each one with its prediction to `look`."""
    answers: list[ScoredPrediction] = []
    with console.bar(words) as advance:
        for place, example in enumerate(examples):
            for _ in range(0 if place else _WARM_UP):
                task.inference.predict(example.request, model)
            start = perf_counter()
            prediction = task.inference.predict(example.request, model)
            answer = scores.scored(example, prediction, perf_counter() - start)
            answers.append(replace(answer, attributes=slices.attributes(example)))
            for each in look:
                each(example, prediction)
            advance(place + 1, place + 1)
    return answers


class _FewOfEachLabel:
    """The first examples of each label with their predictions, to look at."""

    def __init__(self, labels: int) -> None:
        self._per_label = max(1, _SHOWN // labels)
        self._by_label: dict[str | None, list[tuple[Example, Prediction]]] = {}

    def add(self, example: Example, prediction: Prediction) -> None:
        examples = self._by_label.setdefault(example.label, [])
        if len(examples) < self._per_label:
            examples.append((example, prediction))

    @property
    def shown(self) -> list[tuple[Example, Prediction]]:
        return list(chain.from_iterable(self._by_label.values()))[:_SHOWN]


def _costs(
    task: Task[Any], model: Model, answers: Sequence[ScoredPrediction], ready: Path, limit: float
) -> tuple[Latency, CpuRatio]:
    """Time of one request by the clock, also of a picture where the model takes pictures; and the
    CPU cost of the costlier kind of request: a limit holds for every request."""
    times_ms: list[float] = []

    def predict(request: Request) -> None:
        start = perf_counter()
        task.inference.predict(request, model)
        times_ms.append((perf_counter() - start) * 1000)

    latency = scores.latency(answers)
    costs = [cpu_cost(predict, _val_requests(task, ready), limit)]
    times_ms.clear()
    with suppress(RequestError):  # a model that takes no pictures
        costs.append(cpu_cost(predict, [_picture(task)], limit))
        timed = times_ms[WARMUP_PAIRS:]
        latency = Latency(
            p50_ms=latency.p50_ms,
            p95_ms=max(latency.p95_ms, float(np.percentile(timed, 95))),
            picture_ms=float(np.median(timed)),
        )
    return latency, max(costs, key=lambda cost: (cost.low, cost.median))


def _val_requests(task: Task[Any], ready: Path) -> list[Request]:
    examples = islice(task.data.examples(ready, "val"), _COST_EXAMPLES)
    return [example.request for example in examples]


def _picture(task: Task[Any]) -> Request:
    """The task's drawn picture."""
    return Request(image=np.asarray(task.inference.sample_picture().convert("RGB")))
