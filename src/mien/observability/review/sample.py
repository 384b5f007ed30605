"""What is kept of one answer, and what people say about it."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from mien.config import Schema

Reason = Literal["uncertain", "drift", "wrong"]
REASONS: tuple[Reason, ...] = ("uncertain", "drift", "wrong")
"""Why an answer is doubtful: its scores, the drift of its model, or feedback with another label."""
CROPS = "crops"
"""The kind of samples that are pictures of the subject; other kinds are named as a field of the
task's JSON requests."""
TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Crop(Schema):
    """The subject of a picture with a margin."""

    picture: str
    """PNG in base64."""
    width: int
    height: int
    box: tuple[float, float, float, float]
    """Of the subject, xyxy in pixels of the crop."""


class ReviewSample(Schema):
    """The input of one answer, and the answer. The whole record is encrypted at rest."""

    trace_id: TraceId
    task: str
    kind: str
    timestamp: float
    """Of the answer, in seconds since 1970."""
    version: str
    digest: str
    """Of the bundle that answered."""
    label: str
    """As predicted."""
    scores: dict[str, float]
    reasons: tuple[Reason, ...]
    feedback: str | None = None
    """The label that feedback gave, where that is a reason."""
    body: dict[str, Any] | None = None
    """A JSON request of the task, for kinds other than `crops`."""
    crop: Crop | None = None

    @property
    def confidence(self) -> float:
        return self.scores[self.label]

    @property
    def margin(self) -> float:
        """By how much the best score exceeds the second one."""
        return margin(list(self.scores.values()))


@dataclass(frozen=True)
class Reviewed:
    """A sample on which all its reviewers agree."""

    sample: ReviewSample
    label: str | None
    """None for no subject."""


def margin(scores: list[float]) -> float:
    """By how much the best score exceeds the second one; 1 for a single score."""
    best = sorted(scores, reverse=True)[:2]
    return best[0] - best[1] if len(best) == 2 else 1.0
