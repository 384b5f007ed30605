"""Which alias a version gets, and why. Pure: knows neither MLflow nor files."""

from dataclasses import dataclass

from mien.model.evaluation import ChampionScores, Evaluation
from mien.model.policy import base_candidate
from mien.storage.registry import UNTRUSTED, ModelVersion
from mien.storage.workspace import CHAMPION
from mien.tracking import CHALLENGER

from .trust import remedy


@dataclass(frozen=True)
class Candidate:
    """A newly registered version and its validation score."""

    task: str
    version: int
    metric: str
    score: float
    """Of the candidate; for a variant, of its base candidate: the policy limits what a variant may
    lose, and a variant that had to reach the champion's score itself would never be promoted."""
    variant_score: float | None = None
    base: str = ""
    """The candidate that a variant was made from."""
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, evaluation: Evaluation, version: int, labels: tuple[str, ...]) -> "Candidate":
        """The choice of an evaluation."""
        row = evaluation.chosen
        assert row is not None
        base = base_candidate(row, evaluation.candidates)
        metric = evaluation.policy.maximise
        own = row.val.named()[metric] if row.variant else None
        score = base.val.named()[metric]
        return cls(evaluation.task, version, metric, score, own, base.candidate, labels)


@dataclass(frozen=True)
class Champion:
    """The present champion, measured on the candidate's validation data."""

    version: int
    measured: ChampionScores


@dataclass(frozen=True)
class Decision:
    """The alias of a version, what the history calls the decision, and its reason."""

    alias: str
    action: str
    reason: str


def decide(
    candidate: Candidate, champion: Champion | None, issues: str, force: str | None
) -> Decision:
    """Champion if it is not worse than the present one, knows its labels and is trusted; else
    challenger.

    Args:
        candidate: the new version.
        champion: the present champion, if there is one.
        issues: why the candidate is not trusted, see `trust.trust_issues`; "" if it is.
        force: why it may become champion although it is not trusted.
    """
    lost = _lost_labels(candidate, champion)
    if lost and not force:
        return Decision(CHALLENGER, "register", f"{lost} {_promote(candidate)} makes it champion.")
    not_worse, comparison = (True, lost) if lost else _compare(candidate, champion)
    if not not_worse:
        return Decision(CHALLENGER, "register", comparison)
    if not issues:
        action = "forced register" if lost else "register"
        return Decision(CHAMPION, action, f"{force}. {comparison}" if lost else comparison)
    if force:
        reason = f"{force}. Not trusted: {issues}. {comparison}"
        return Decision(CHAMPION, "forced register", reason)
    command = _promote(candidate, " --force REASON")
    reason = f"Not trusted, so not champion: {issues}. {remedy(issues)}, or {command}."
    return Decision(CHALLENGER, "register", reason)


def keeps_alias(version: ModelVersion, issues: str, force: str | None) -> bool:
    """Whether a version that was registered before stays as people left it.

    It does not if it is challenger because it was not trusted, and now is trusted or forced.
    """
    held_back = version.aliases == (CHALLENGER,) and UNTRUSTED in version.tags
    return not (held_back and (force or not issues))


def _promote(candidate: Candidate, more: str = "") -> str:
    return f"`mien promote {candidate.task} {candidate.version}{more}`"


def _lost_labels(candidate: Candidate, champion: Champion | None) -> str:
    """Which labels of the champion the candidate does not know, as a sentence; "" for none.

    A champion can be compared with a model that knows more labels: examples of these count as wrong
    for it. One that knows others is another product, which clients must expect.
    """
    labels = champion.measured.labels if champion else ()
    lost = [label for label in labels if label not in candidate.labels]
    if not champion or not lost:
        return ""
    listed = ", ".join(lost[:5]) + ", .." * (len(lost) > 5)
    return (
        f"It does not know {len(lost)} of the {len(labels)} labels of version {champion.version} "
        f"({listed}), so the two cannot be compared."
    )


def _compare(candidate: Candidate, champion: Champion | None) -> tuple[bool, str]:
    """Whether the candidate is not worse than the champion, and the reason as a sentence."""
    if champion is None:
        return True, "There was no champion before."
    if champion.measured.scores is None:
        error = champion.measured.error
        return True, f"Version {champion.version} can no longer answer: {error}"
    metric, new = candidate.metric, candidate.score
    old = champion.measured.scores.named()[metric]
    numbers = (
        f"validation {metric} {new:.4f} against {old:.4f} of version {champion.version}, same data"
    )
    if candidate.variant_score is not None:
        own = f"itself {candidate.variant_score:.4f}, within the policy"
        numbers += f"; a variant of {candidate.base}, {own}"
    if new >= old:
        return True, f"Not worse than the champion: {numbers}."
    return False, f"Worse than the champion, which stays: {numbers}."
