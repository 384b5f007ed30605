"""What one reviewer sees and says: the queue of a task, its samples, and the labels."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from mien.config import Schema
from mien.errors import RequestError
from mien.observability.review import store
from mien.observability.review.labels import Label, Verdict, agreed
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.reporting import drawings

from . import value
from .agreement import Agreement, agreements
from .prelabel import Prelabels, as_answered

SKIP_KEY, NOTHING_KEY, UNDO_KEY = "s", "n", "u"
KEYS = "1234567890" + "".join(
    each for each in ascii_lowercase if each not in SKIP_KEY + NOTHING_KEY + UNDO_KEY
)


class QueueEntry(Schema):
    """One sample of the queue."""

    trace_id: str
    value: float
    reasons: tuple[str, ...]


class QueueReport(Schema):
    """The queue of a task for one reviewer, the most valuable sample first."""

    task: str
    tasks: tuple[str, ...]
    """All that have samples."""
    reviewer: str
    labels: tuple[str, ...]
    keys: tuple[str, ...]
    """Of the labels, in their order; a label beyond the keys of a keyboard has none."""
    reviewed: int
    """Samples about which the reviewer said something."""
    entries: tuple[QueueEntry, ...]


class SampleView(Schema):
    """What the page shows of a sample."""

    trace_id: str
    timestamp: float
    version: str
    reasons: tuple[str, ...]
    suggestion: str | None
    """By the champion, or else by the model that answered."""
    suggested_by: str
    scores: dict[str, float]
    feedback: str | None
    points: tuple[tuple[float, float], ...] = ()
    """In a square of 100 units."""
    picture: str = ""
    """PNG in base64."""
    width: int = 100
    height: int = 100
    box: tuple[float, float, float, float] | None = None


class LabelRequest(Schema):
    """What the reviewer says about a sample."""

    task: str
    trace_id: str
    verdict: Verdict
    label: str | None = None


class AgreementReport(Schema):
    """Reviewers in pairs, and how many samples all agree on."""

    pairs: tuple[Agreement, ...]
    agreed: int
    disputed: int


@dataclass
class ReviewSession:
    """The review of one person. Thread-safe: it only reads samples and appends labels."""

    samples: ReviewStore
    reviewer: str
    prelabels: Mapping[str, Prelabels] = field(default_factory=dict)
    """By task."""

    @property
    def tasks(self) -> list[str]:
        """The tasks that have samples."""
        return store.tasks(self.samples.folder)

    def queue(self, task: str) -> QueueReport:
        """What the reviewer has not reviewed yet; labels of others are not shown.

        Raises:
            RequestError: the task has no samples.
            ReviewError: a sample cannot be read.
        """
        samples = list(self.samples.read_all(task)) if task in self.tasks else []
        if not samples:
            raise RequestError(f"task: expected one of {', '.join(self.tasks)}; found {task!r}.")
        latest = self.samples.labels(task).latest()
        own = {trace_id for trace_id, reviewer in latest if reviewer == self.reviewer}
        order = _order(samples, agreed(latest)[0])
        labels = label_set(samples)
        return QueueReport(
            task=task,
            tasks=tuple(self.tasks),
            reviewer=self.reviewer,
            labels=labels,
            keys=tuple(KEYS[: len(labels)]),
            reviewed=sum(each.trace_id in own for each in samples),
            entries=tuple(entry for entry in order if entry.trace_id not in own),
        )

    def view(self, task: str, trace_id: str) -> SampleView:
        """One sample as the page shows it.

        Raises:
            ReviewError: there is none, or it cannot be read.
        """
        sample = self.samples.read(task, trace_id)
        own = self.prelabels.get(task)
        label, scores, version = own.of(sample) if own else as_answered(sample)
        crop = sample.crop
        return SampleView(
            trace_id=trace_id,
            timestamp=sample.timestamp,
            version=sample.version,
            reasons=sample.reasons,
            suggestion=label,
            suggested_by=version,
            scores=scores,
            feedback=sample.feedback,
            points=() if crop else drawings.fitted(value.points_of(sample)),
            picture=crop.picture if crop else "",
            width=crop.width if crop else 100,
            height=crop.height if crop else 100,
            box=crop.box if crop else None,
        )

    def say(self, request: LabelRequest) -> Label:
        """Store what the reviewer says.

        Raises:
            RequestError: the label is none of the task.
            ReviewError: there is no such sample.
        """
        sample = self.samples.read(request.task, request.trace_id)
        if (request.verdict == "label") != (request.label is not None) or (
            request.label is not None and request.label not in sample.scores
        ):
            raise RequestError(
                f"label: expected one of {', '.join(sample.scores)} with the verdict 'label', and "
                f"null with others; found {request.label!r} with {request.verdict!r}."
            )
        label = Label(
            trace_id=sample.trace_id,
            reviewer=self.reviewer,
            timestamp=time.time(),
            verdict=request.verdict,
            label=request.label,
        )
        self.samples.labels(request.task).add(label)
        return label

    def agreement(self, task: str) -> AgreementReport:
        """How far the reviewers of a task agree."""
        return agreement_report(self.samples, task)


def agreement_report(samples: ReviewStore, task: str) -> AgreementReport:
    """How far the reviewers of a task agree."""
    latest = samples.labels(task).latest()
    same, disputed = agreed(latest)
    pairs = tuple(agreements(latest))
    return AgreementReport(pairs=pairs, agreed=len(same), disputed=len(disputed))


def label_set(samples: Sequence[ReviewSample]) -> tuple[str, ...]:
    """The labels of the newest sample's model, and those that only older ones had."""
    newest_first = [label for each in reversed(samples) for label in each.scores]
    return tuple(dict.fromkeys(newest_first))


def _order(samples: Sequence[ReviewSample], answers: Mapping[str, str | None]) -> list[QueueEntry]:
    """The most valuable sample first; kinds are ranked apart, as their features differ."""
    entries = []
    for kind in sorted({each.kind for each in samples}):
        own = [each for each in samples if each.kind == kind]
        for number, sample in zip(value.values(own, answers), own, strict=True):
            entries.append(
                QueueEntry(
                    trace_id=sample.trace_id, value=round(float(number), 4), reasons=sample.reasons
                )
            )
    return sorted(entries, key=lambda each: -each.value)
