"""A challenger beside the champion: start it, stop it, and compare what both answered.

A running server follows the state in the workspace (`storage/shadow.py`) and writes the answers to
its prediction log. The comparison reads that log; it asks no server.
"""

import math
from typing import Annotated

from pydantic import BaseModel, Field

from mien.errors import RegistryError
from mien.observability import sequential
from mien.observability.prediction_log import reader
from mien.observability.prediction_log.location import PredictionLogLocation
from mien.observability.prediction_log.shadow import ShadowSummary
from mien.observability.sequential import Verdict
from mien.reporting import scores
from mien.storage import shadow
from mien.storage.files import sha256_file
from mien.storage.shadow import Shadow
from mien.storage.workspace import CHAMPION, MANIFEST, Workspace, model_name

MAX_BIAS_Z = 3.0
"""Standard errors by which disagreements may be more frequent among the answers with feedback."""


class Share(BaseModel):
    """A share of answers, with its 95 % Wilson interval."""

    share: float
    lower: float
    upper: float


class ShadowReport(BaseModel):
    """What the answers of both models say."""

    task: str
    champion: int
    challenger: int
    share: Annotated[float, Field(description="of the requests that the challenger answers")]
    since: float
    answers: Annotated[int, Field(description="of the challenger, to requests of this champion")]
    errors: Annotated[int, Field(description="of them, failures of the challenger")]
    last: Annotated[float, Field(description="when the last one was made; 0 without any")]
    agreement: Share | None
    cpu_ms: Annotated[float, Field(description="median CPU time of a prediction, challenger")]
    champion_cpu_ms: float
    feedback: Annotated[int, Field(description="answers with a label by feedback")]
    accuracy: float
    champion_accuracy: float
    difference: float
    lower: Annotated[float, Field(description="of the interval that holds at every moment")]
    upper: float
    verdict: Verdict
    biased: Annotated[
        bool, Field(description="whether feedback prefers answers on which the models disagree")
    ]

    @property
    def numbers(self) -> str:
        """The comparison in one clause."""
        interval = f"{self.lower:+.4f} to {self.upper:+.4f}"
        return (
            f"on {self.feedback} answers with feedback the accuracy of version {self.challenger} "
            f"is {self.accuracy:.4f}, that of the champion {self.champion_accuracy:.4f}; "
            f"difference {self.difference:+.4f} ({interval}, {1 - sequential.ERROR:.0%} at every "
            "moment)"
        )


def start(task: str, number: int, share: float, workspace: Workspace) -> Shadow:
    """Let a registered version answer a share of the requests after the champion.

    Raises:
        RegistryError: there is no such version or no champion, or the version is the champion.
    """
    champion = _champion(task, workspace)
    if number == champion:
        raise RegistryError(
            f"Version {number} of {model_name(task)} is the champion. Name another version; "
            f"`mien models {task}` lists them."
        )
    if not (workspace.version(task, number) / MANIFEST).is_file() or not workspace.is_registered(
        task, number
    ):
        raise RegistryError(
            f"{model_name(task)} has no version {number} with a bundle in "
            f"{workspace.version(task, number).parent}. `mien models {task}` lists the versions."
        )
    return shadow.start(workspace, task, number, share)


def report(task: str, workspace: Workspace, log: PredictionLogLocation) -> ShadowReport:
    """Compare the champion with the challenger that answers after it.

    Raises:
        RegistryError: there is no challenger or no champion.
        PredictionLogError: there is no prediction log, or it cannot be read.
    """
    champion = _champion(task, workspace)
    plan = _plan(task, workspace, champion)
    challenger_digest, champion_digest = (
        sha256_file(workspace.version(task, number) / MANIFEST)
        for number in (plan.version, champion)
    )
    summary = reader.summarise_shadow(log, challenger_digest, champion_digest)
    pairs, compared = summary.pairs, sequential.compare(summary.pairs)
    total = max(1, pairs.total)
    return ShadowReport(
        task=task,
        champion=champion,
        challenger=plan.version,
        share=plan.share,
        since=plan.since,
        answers=summary.answers,
        errors=summary.errors,
        last=summary.last,
        agreement=_agreement(summary),
        cpu_ms=1000 * summary.cpu_s,
        champion_cpu_ms=1000 * summary.champion_cpu_s,
        feedback=pairs.total,
        accuracy=(pairs.wins + pairs.both_right) / total,
        champion_accuracy=(pairs.losses + pairs.both_right) / total,
        difference=compared.difference,
        lower=compared.lower,
        upper=compared.upper,
        verdict=compared.verdict,
        biased=_is_biased(summary),
    )


def require_better(compared: ShadowReport) -> str:
    """The reason why the challenger may be champion, for the registry's history.

    Raises:
        RegistryError: the test does not say that it is better, or the feedback is no random sample.
    """
    task, number = compared.task, compared.challenger
    by_hand = f"`mien promote {task} {number} --reason REASON` makes it champion nevertheless."
    if compared.verdict != "better":
        raise RegistryError(
            f"Version {number} of {model_name(task)}: expected one that is better than the "
            f"champion, found {compared.verdict}: {compared.numbers}. Collect more feedback. "
            f"{by_hand}"
        )
    if compared.biased:
        raise RegistryError(
            f"Version {number} of {model_name(task)}: expected feedback on answers that were "
            "chosen at random, found more disagreements among them than among all answers, as "
            "where users report mistakes only. Label a random sample of the answers, or all on "
            f"which the models disagree. {by_hand}"
        )
    return f"Better in the shadow: {compared.numbers}"


def _champion(task: str, workspace: Workspace) -> int:
    number = workspace.aliases(task).get(CHAMPION)
    if number is None:
        raise RegistryError(
            f"The task {task!r} has no champion in {workspace.home.resolve()}. `mien promote "
            f"{task} VERSION` makes a version champion."
        )
    return number


def _plan(task: str, workspace: Workspace, champion: int) -> Shadow:
    plan = shadow.read(workspace, task)
    if plan is None or plan.version == champion:
        raise RegistryError(
            f"No version of {model_name(task)} answers after the champion. "
            f"`mien shadow {task} VERSION` starts one."
        )
    return plan


def _agreement(summary: ShadowSummary) -> Share | None:
    if not summary.answers:
        return None
    lower, upper = scores.wilson(summary.agreements, summary.answers)
    return Share(share=summary.agreements / summary.answers, lower=lower, upper=upper)


def _is_biased(summary: ShadowSummary) -> bool:
    """Whether disagreements are more frequent among the answers with feedback than among all.

    Feedback that comes for mistakes of the champion more often makes every challenger look good.
    """
    labelled = summary.pairs.total
    if not labelled or not summary.answers:
        return False
    expected = 1 - summary.agreements / summary.answers
    error = math.sqrt(max(expected * (1 - expected), 1 / summary.answers) / labelled)
    return summary.disagreements_with_feedback / labelled > expected + MAX_BIAS_Z * error
