"""What a recording lacks before it is trained on, and what makes its result doubtful, in words."""

from collections.abc import Sequence
from itertools import combinations

from mien.model.evaluation import CandidateScores
from mien.reporting.details import CandidateDetails

from .recording import RecordedSample, splits

MIN_SAMPLES, GOOD_SAMPLES, MIN_SESSIONS, GOOD_SESSIONS = 10, 20, 2, 3
CONFUSED_SHARE = 0.2
"""Of the test samples of two labels: from here on the page names the pair."""
_ROOM = 0.1
INSEPARABLE_SHARE = 0.4
"""From here on the two look the same to the model: guessing confuses half of them."""


def refusals(samples: Sequence[RecordedSample]) -> list[str]:
    """Why no training can start, one sentence for each reason."""
    labels = _sessions(samples)
    reasons = [] if len(labels) > 1 else ["Record at least two classes."]
    for label, sessions in labels.items():
        count = sum(sessions.values())
        if count < MIN_SAMPLES:
            reasons.append(f"{label}: {count} samples; record at least {MIN_SAMPLES}.")
        if len(sessions) < MIN_SESSIONS:
            reasons.append(
                f"{label}: one session; record another one after you moved or changed the light, "
                "or nothing says whether the model knows more than this one moment."
            )
        elif sum(sorted(sessions.values())[:1]) < MIN_SESSIONS + 1:
            reasons.append(f"{label}: a session has fewer than {MIN_SESSIONS + 1} samples.")
    return reasons


def warnings(samples: Sequence[RecordedSample]) -> list[str]:
    """What makes a training possible but doubtful."""
    texts = []
    for label, sessions in _sessions(samples).items():
        count = sum(sessions.values())
        if MIN_SAMPLES <= count < GOOD_SAMPLES:
            texts.append(f"{label}: {count} samples are few; {GOOD_SAMPLES} to 50 are better.")
        if MIN_SESSIONS <= len(sessions) < GOOD_SESSIONS:
            texts.append(
                f"{label}: with two sessions, val and test are halves of the second one, so that "
                "scores may be too high; a third session separates them."
            )
    return texts


def provable_risk(samples: Sequence[RecordedSample]) -> float:
    """A limit on the share of wrong answers that so few val samples can show to be kept.

    The upper end of the one-sided 95 % interval where none is wrong, and room for a few that are:
    under a stricter limit every answer would be `unsure`.
    """
    count = splits(samples).count("val")
    return min(0.5, 1 - float(0.05 ** (1 / max(count, 1))) + _ROOM)


def doubts(details: CandidateDetails, scores: CandidateScores) -> list[str]:
    """What the measured model says against itself, worst first."""
    texts = []
    for one, other, share in confused_pairs(details):
        fault = "look the same to the model" if share >= INSEPARABLE_SHARE else "are often confused"
        texts.append(
            f"{one} and {other} {fault}: {share:.0%} of their test samples got the other label. "
            "Show them more differently, or make one class of them."
        )
    if scores.majority and not scores.majority.has_learnt:
        texts.append(
            "On so few samples the model is not measurably better than always answering the same "
            "label. Record more."
        )
    if not scores.decision.is_reached:
        texts.append("No confidence is high enough for its limit on wrong answers: all is unsure.")
    return texts


def confused_pairs(details: CandidateDetails) -> list[tuple[str, str, float]]:
    """Pairs of labels with the share of their samples that got the other one, most first."""
    pairs = []
    for one, other in combinations(range(len(details.labels)), 2):
        wrong = details.confusion[one][other] + details.confusion[other][one]
        total = sum(details.confusion[one]) + sum(details.confusion[other])
        if total and wrong / total >= CONFUSED_SHARE:
            pairs.append((details.labels[one], details.labels[other], wrong / total))
    return sorted(pairs, key=lambda each: -each[2])


def _sessions(samples: Sequence[RecordedSample]) -> dict[str, dict[int, int]]:
    """Samples by label and session."""
    result: dict[str, dict[int, int]] = {}
    for each in samples:
        sessions = result.setdefault(each.label, {})
        sessions[each.session] = sessions.get(each.session, 0) + 1
    return result
