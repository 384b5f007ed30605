"""What a retraining changed, class by class: champion and challenger on two tests."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mien.config import Schema
from mien.errors import MienError
from mien.model.runtime import Model
from mien.observability import sequential
from mien.observability.review.sample import Reviewed
from mien.observability.sequential import PairCounts
from mien.reporting import console, scores
from mien.stages import Run
from mien.storage.files import atomic_write
from mien.task import Example, Request, Task

NOTHING = "(nothing)"
"""The class of samples without a subject."""
COLUMNS = ("class", "samples", "champion right", "new right", "change")


class ClassChange(Schema):
    """One class in one test: how many samples each model names right."""

    label: str
    samples: int
    champion: int
    challenger: int


class TestComparison(Schema):
    """Both models on the same samples."""

    __test__ = False  # pytest takes the name for a test

    name: str
    samples: int
    champion: int
    """Samples that it names right."""
    challenger: int
    wins: int
    """Samples that only the challenger names right."""
    losses: int
    classes: tuple[ClassChange, ...]

    @property
    def sentence(self) -> str:
        """Both accuracies, and the interval of their difference."""
        ties = self.samples - self.wins - self.losses
        difference = sequential.compare(PairCounts(self.wins, self.losses, ties))
        return (
            f"{self.name}, {self.samples:,} samples: "
            f"champion {_accuracy(self.champion, self.samples)}, "
            f"new {_accuracy(self.challenger, self.samples)}; only the new one is right on "
            f"{self.wins:,}, only the champion on {self.losses:,}; difference "
            f"{difference.difference:+.3f} ({difference.lower:+.3f} to {difference.upper:+.3f})"
        )

    def rows(self) -> list[list[str]]:
        """One row for each class, with a text for each of `COLUMNS`."""
        return [
            [
                each.label,
                f"{each.samples:,}",
                f"{each.champion:,}",
                f"{each.challenger:,}",
                f"{(each.challenger - each.champion) / each.samples:+.3f}",
            ]
            for each in self.classes
        ]


class RetrainReport(Schema):
    """What a retraining did."""

    task: str
    champion: int
    version: int
    """The new one."""
    alias: str | None
    reason: str
    data_version: int
    train: int
    """Reviewed samples in the training data."""
    left_out: dict[str, int]
    removed: int
    tests: tuple[TestComparison, ...]
    seconds: dict[str, float]

    @property
    def summary(self) -> str:
        """What became of the new version, and of the reviewed samples."""
        left_out = "".join(f"; {count:,} {reason}" for reason, count in self.left_out.items())
        removed = f"; {self.removed:,} of earlier trainings removed" if self.removed else ""
        return (
            f"mien-{self.task} version {self.version} is {self.alias or 'set aside'}. "
            f"{self.reason} Data version {self.data_version}: {self.train:,} reviewed samples in "
            f"train{left_out}{removed}."
        )


def compare(
    task: Task[Any],
    champion: Model,
    challenger: Model,
    tests: Mapping[str, Iterable[Example]],
    reviewed: Sequence[Reviewed],
) -> tuple[TestComparison, ...]:
    """Ask both models the examples of `tests`, by name, and the reviewed samples."""
    named = {**tests, "test of reviewed samples": _examples(task, reviewed)}

    def right(model: Model, example: Example) -> bool:
        try:
            prediction = task.inference.predict(example.request, model)
        except MienError:
            return False
        best = prediction.best
        if example.label is None:
            return prediction.outcome != "ok"
        return best is not None and best.label == example.label

    return tuple(
        _compare(name, examples, lambda each: (right(champion, each), right(challenger, each)))
        for name, examples in named.items()
    )


def write(run: Run, report: RetrainReport) -> None:
    """Write `retrain_<version>.json` and `.md` to the reports of the task, and print them."""
    path = run.reports / f"retrain_{report.version}.json"
    texts = {path: report.model_dump_json(indent=1), path.with_suffix(".md"): _markdown(report)}
    for target, text in texts.items():
        with atomic_write(target) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    for test in report.tests:
        if test.samples:
            console.table(test.name.capitalize(), COLUMNS, test.rows())
        console.result(test.sentence)
    console.result(report.summary)
    console.result(f"report: {path.with_suffix('.md')}")


def _compare(
    name: str, examples: Iterable[Example], ask: Callable[[Example], tuple[bool, bool]]
) -> TestComparison:
    by_label: dict[str, list[tuple[bool, bool]]] = {}
    for example in examples:
        by_label.setdefault(example.label or NOTHING, []).append(ask(example))
    pairs = [pair for each in by_label.values() for pair in each]
    return TestComparison(
        name=name,
        samples=len(pairs),
        champion=sum(old for old, _ in pairs),
        challenger=sum(new for _, new in pairs),
        wins=sum(new and not old for old, new in pairs),
        losses=sum(old and not new for old, new in pairs),
        classes=tuple(
            ClassChange(
                label=label,
                samples=len(each),
                champion=sum(old for old, _ in each),
                challenger=sum(new for _, new in each),
            )
            for label, each in sorted(by_label.items())
        ),
    )


def _examples(task: Task[Any], reviewed: Sequence[Reviewed]) -> Iterator[Example]:
    for each in reviewed:
        crop, body = each.sample.crop, task.inference.Body
        if crop is not None:
            yield Example(task.inference.read(base64.b64decode(crop.picture)), each.label)
        elif body is not None:
            yield Example(Request(body=body.model_validate(each.sample.body)), each.label)


def _accuracy(right: int, samples: int) -> str:
    lower, upper = scores.wilson(right, samples)
    return f"{right / max(1, samples):.3f} ({lower:.3f} to {upper:.3f})"


def _markdown(report: RetrainReport) -> str:
    lines = [f"# Retraining of {report.task}: version {report.version}", "", report.summary, ""]
    for test in report.tests:
        lines += [f"## {test.name.capitalize()}", "", f"{test.sentence}.", ""]
        if test.samples:
            rows = [list(COLUMNS), ["---"] * len(COLUMNS), *test.rows()]
            lines += [*(f"| {' | '.join(row)} |" for row in rows), ""]
    seconds = ", ".join(f"{name} {each:.1f} s" for name, each in report.seconds.items())
    return "\n".join([*lines, f"Duration: {seconds}."])
