"""Which alias a version gets, and why. Pure: knows neither MLflow nor files."""

from collections.abc import Sequence
from dataclasses import dataclass

from mien.config import REAL_DATA, TrainedOn
from mien.model.bundle import Manifest
from mien.model.evaluation import ChampionScores, Evaluation, SliceScores
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
    metric: str = ""
    score: float | None = None
    """Of the candidate; for a variant, of its base candidate: the policy limits what a variant may
    lose, and a variant that had to reach the champion's score itself would never be promoted.
    None for a pulled model, which was measured on no data of the workspace."""
    variant_score: float | None = None
    base: str = ""
    """The candidate that a variant was made from."""
    labels: tuple[str, ...] = ()
    trained_on: TrainedOn | None = None
    slices: tuple[SliceScores, ...] = ()
    max_slice_drop: float | None = None
    """Of the policy; None: slices decide nothing."""

    @classmethod
    def of(cls, evaluation: Evaluation, version: int, manifest: Manifest) -> "Candidate":
        """The choice of an evaluation, whose bundle has the manifest."""
        row = evaluation.chosen
        assert row is not None
        base = base_candidate(row, evaluation.candidates)
        metric = evaluation.policy.maximise
        own = row.val.named()[metric] if row.variant else None
        score = base.val.named()[metric]
        labels, trained_on = manifest.labels, manifest.lineage.trained_on
        return cls(
            *(evaluation.task, version, metric, score, own, base.candidate, labels, trained_on),
            slices=row.val_slices,
            max_slice_drop=evaluation.policy.max_slice_drop,
        )

    @classmethod
    def of_pulled(cls, version: int, manifest: Manifest) -> "Candidate":
        """A pulled bundle, of which no score is known."""
        origin = manifest.lineage.trained_on
        return cls(manifest.task, version, labels=manifest.labels, trained_on=origin)


@dataclass(frozen=True)
class Champion:
    """The present champion, measured on the validation data of the candidate if that has any."""

    version: int
    measured: ChampionScores


@dataclass(frozen=True)
class Decision:
    """The alias of a version, what the history calls the decision, and its reason."""

    alias: str
    action: str
    reason: str

    def held(self, hold: str) -> "Decision":
        """The same, with challenger in place of champion where there is a reason to hold it."""
        if not hold or self.alias != CHAMPION:
            return self
        return Decision(CHALLENGER, "register", f"{self.reason} {hold}")


def decide(
    candidate: Candidate, champion: Champion | None, issues: str, force: str | None
) -> Decision:
    """Champion if it is not worse than the present one, knows its labels and is trusted; else
    challenger. A model of drawings never replaces one that knows real data, without force; a
    pulled one, which has no score, replaces a model of drawings only.

    Args:
        candidate: the new version.
        champion: the present champion, if there is one.
        issues: why the candidate is not trusted, see `trust.trust_issues`; "" if it is.
        force: why it may become champion although it is not trusted.
    """
    obstacle = _obstacle(candidate, champion)
    if obstacle and not force:
        more = " --force REASON" if drawings_obstacle(candidate.trained_on, champion) else ""
        reason = f"{obstacle} {_promote(candidate, more)} makes it champion."
        return Decision(CHALLENGER, "register", reason)
    not_worse, comparison = (True, obstacle) if obstacle else _compare(candidate, champion)
    if not not_worse:
        return Decision(CHALLENGER, "register", comparison)
    if not issues:
        action = "forced register" if obstacle else "register"
        return Decision(CHAMPION, action, f"{force}. {comparison}" if obstacle else comparison)
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


def drawings_obstacle(trained_on: TrainedOn | None, champion: Champion | None) -> str:
    """Why a model of drawings does not replace this champion, as a sentence; "" if it may."""
    origin = champion.measured.trained_on if champion else None
    if champion is None or trained_on != "synthetic" or origin not in REAL_DATA:
        return ""
    return (
        f"It was trained on drawings (synthetic), and version {champion.version} knows real data "
        f"({origin})."
    )


def _promote(candidate: Candidate, more: str = "") -> str:
    return f"`mien promote {candidate.task} {candidate.version}{more}`"


def _obstacle(candidate: Candidate, champion: Champion | None) -> str:
    """Why a candidate must not replace the champion, even with a better score; "" if it may."""
    if champion is None or champion.measured.error:
        return ""
    if drawings := drawings_obstacle(candidate.trained_on, champion):
        return drawings
    if candidate.score is None and champion.measured.trained_on == "synthetic":
        return ""
    if candidate.score is None:
        return (
            "It was measured on no data of this workspace, so it cannot be compared with "
            f"version {champion.version}."
        )
    return _lost_labels(candidate, champion)


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
    if candidate.score is None:
        return True, f"Version {champion.version} was trained on drawings only (synthetic)."
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
    if new < old:
        return False, f"Worse than the champion, which stays: {numbers}."
    if candidate.max_slice_drop is None:
        return True, f"Not worse than the champion: {numbers}."
    compared, worse = _compare_slices(candidate, champion.measured.slices)
    if not compared:
        return True, f"Not worse than the champion; no slice could be compared: {numbers}."
    if worse:
        return False, f"Worse than the champion in a slice: {'; '.join(worse)}. Over all {numbers}."
    return True, f"Not worse than the champion, nor in any of {compared} slices: {numbers}."


def _compare_slices(candidate: Candidate, champion: Sequence[SliceScores]) -> tuple[int, list[str]]:
    """How many slices have enough examples, and those whose whole interval lies below the accuracy
    of the champion by more than the policy allows."""
    before = {(each.attribute, each.name): each.accuracy for each in champion}
    compared, worse = 0, []
    for each in candidate.slices:
        old = before.get((each.attribute, each.name))
        if old is None or each.accuracy is None or each.high is None:
            continue
        compared += 1
        if each.high < old - (candidate.max_slice_drop or 0):
            worse.append(
                f"{each.attribute} {each.name} {each.accuracy:.3f} ({each.low:.3f} to "
                f"{each.high:.3f}) against {old:.3f} on {each.examples} examples"
            )
    return compared, worse
