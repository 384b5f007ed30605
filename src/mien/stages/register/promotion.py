"""Which alias a version gets, and why. Pure: knows neither MLflow nor files."""

from dataclasses import dataclass

from mien.model.evaluation import ChampionScores, Evaluation
from mien.model.policy import base_candidate
from mien.storage.registry import UNTRUSTED
from mien.storage.workspace import CHAMPION
from mien.tracking import CHALLENGER, ModelVersion

from .trust import REMEDY


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

    @classmethod
    def of(cls, evaluation: Evaluation, version: int) -> "Candidate":
        """The choice of an evaluation."""
        row = evaluation.chosen
        assert row is not None
        base = base_candidate(row, evaluation.candidates)
        metric = evaluation.policy.maximise
        own = row.val.named()[metric] if row.variant else None
        score = base.val.named()[metric]
        return cls(evaluation.task, version, metric, score, own, base.candidate)


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
    """Champion if it is not worse than the present one and trusted; else challenger.

    Args:
        candidate: the new version.
        champion: the present champion, if there is one.
        issues: why the candidate is not trusted, see `trust.trust_issues`; "" if it is.
        force: why it may become champion although it is not trusted.
    """
    not_worse, comparison = _compare(candidate, champion)
    if not not_worse:
        return Decision(CHALLENGER, "register", comparison)
    if not issues:
        return Decision(CHAMPION, "register", comparison)
    if force:
        reason = f"{force}. Not trusted: {issues}. {comparison}"
        return Decision(CHAMPION, "forced register", reason)
    command = f"`mien promote {candidate.task} {candidate.version} --force REASON`"
    reason = f"Not trusted, so not champion: {issues}. {REMEDY}, or {command}."
    return Decision(CHALLENGER, "register", reason)


def keeps_alias(version: ModelVersion, issues: str, force: str | None) -> bool:
    """Whether a version that was registered before stays as people left it.

    It does not if it is challenger because it was not trusted, and now is trusted or forced.
    """
    held_back = version.aliases == (CHALLENGER,) and UNTRUSTED in version.tags
    return not (held_back and (force or not issues))


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
