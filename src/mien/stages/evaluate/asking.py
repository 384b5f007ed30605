"""Ask a model the examples of a split through the function that serves, and time it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from mien.errors import RequestError
from mien.model import runtime
from mien.model.bundle import Bundle
from mien.model.runtime import Model
from mien.reporting import console, scores
from mien.reporting.scores import Answer
from mien.task import Example, Prediction, Request, Split, Task

MEASURED: tuple[Split, ...] = ("val", "test")
LEAK_FREE = "test_leak_free"
"""Scores of the test examples that have no exact or near copy among the training's."""
_WARM_UP = 3
_SHOWN = 24
_PICTURES = 10
"""How often the drawn picture is asked for, to time a request with a picture."""
_IN_TURN = 100
"""Examples that a variant and what it was made from are asked in turn."""


@dataclass(frozen=True)
class Measured:
    """One candidate on the splits that count."""

    bundle: Bundle
    answers: Mapping[str, Sequence[Answer]]
    shown: Sequence[tuple[Example, Prediction]]
    latency: Mapping[str, float]
    """Milliseconds of one request: `p50_ms`, `p95_ms`, `picture_ms`."""
    leaked: frozenset[str] | None
    """Examples with a copy in train; None where the data were not checked."""

    def numbers(self) -> dict[str, Any]:
        """Scores by split, latency of one request on the validation split, size in megabytes."""
        labels = self.bundle.manifest.labels
        free = {} if self.leaked is None else {LEAK_FREE: scores.summary(self.leak_free(), labels)}
        return {
            **{split: scores.summary(each, labels) for split, each in self.answers.items()},
            **free,
            "latency": dict(self.latency),
            "bundle_mb": self.bundle.megabytes,
        }

    def leak_free(self) -> list[Answer]:
        """What was said of the test examples that no training example gives away."""
        if self.leaked is None:
            return []
        return [each for each in self.answers["test"] if each.name not in self.leaked]


def measure(
    task: Task[Any], opened: Bundle, ready: Path, leaked: frozenset[str] | None
) -> Measured:
    """Ask a bundle the splits that count."""
    with Model(opened) as model:
        answers: dict[str, Sequence[Answer]] = {}
        shown: list[tuple[Example, Prediction]] = []
        for split in MEASURED:
            words = f"evaluate {opened.manifest.candidate} on {split}"
            answers[split], shown = ask(task, model, task.examples(ready, split), words)
        latency = _latency(task, model, answers["val"])
        return Measured(model.bundle, answers, shown, latency, leaked)


def beside(task: Task[Any], opened: Bundle, ready: Path) -> dict[str, Any]:
    """What a variant was made from, and by which share it is slower, both being asked in turn.

    Processor time of this thread, which alone runs the network: the clock on the wall, and times
    measured one after the other, would tell how busy the machine was.
    """
    about = opened.manifest.lineage["variant"]
    folder = opened.folder.with_name(about["of"])
    seconds: tuple[list[float], list[float]] = ([], [])
    with runtime.load(folder) as of, Model(opened) as variant:
        examples = islice(task.examples(ready, "val"), _IN_TURN + _WARM_UP)
        for place, example in enumerate(examples):
            for model, times in zip((of, variant), seconds, strict=True):
                start = thread_time()
                task.predict(example.request, model)
                times += [thread_time() - start] if place >= _WARM_UP else []
    slower = float(np.median(seconds[1]) / np.median(seconds[0])) - 1
    return {"form": about["form"], "of": about["of"], "slower": slower}


def ask(
    task: Task[Any], model: Model, examples: Iterable[Example], words: str
) -> tuple[list[Answer], list[tuple[Example, Prediction]]]:
    """Ask one example after the other; what was said, and a few of each label to look at."""
    answers: list[Answer] = []
    shown: dict[str | None, list[tuple[Example, Prediction]]] = {}
    with console.bar(words) as advance:
        for place, example in enumerate(examples):
            for _ in range(0 if place else _WARM_UP):
                task.predict(example.request, model)
            start = perf_counter()
            prediction = task.predict(example.request, model)
            answers.append(scores.answer(example, prediction, perf_counter() - start))
            kept = shown.setdefault(example.label, [])
            if len(kept) < max(1, _SHOWN // len(task.labels)):
                kept.append((example, prediction))
            advance(place + 1, place + 1)
    return answers, list(chain.from_iterable(shown.values()))[:_SHOWN]


def _latency(task: Task[Any], model: Model, answers: Sequence[Answer]) -> dict[str, float]:
    """Time of one request; of a picture too, where the examples are none and the model takes them.

    `p95_ms` is that of the slower kind: whoever sets a limit means every request.
    """
    found = scores.latency_ms(answers)
    request = Request(image=np.asarray(task.picture().convert("RGB")))
    try:
        task.predict(request, model)
    except RequestError:
        return found  # a model that takes no pictures
    times = []
    for _ in range(_PICTURES):
        start = perf_counter()
        task.predict(request, model)
        times.append((perf_counter() - start) * 1000)
    slow = float(np.percentile(times, 95))
    return {
        "p50_ms": found["p50_ms"],
        "p95_ms": max(found["p95_ms"], slow),
        "picture_ms": float(np.median(times)),
    }
