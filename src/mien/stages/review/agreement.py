"""How far reviewers agree: Cohen's kappa of each pair.

Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20
(1960).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from mien.config import Schema
from mien.observability.review.labels import Answer, Label


class Agreement(Schema):
    """Two reviewers on the samples that both decided."""

    one: str
    other: str
    samples: int
    observed: float
    """Share of these samples on which they agree."""
    kappa: float | None
    """The agreement beyond chance: 1 is all, 0 what chance gives. None where both always said the
    same one thing."""

    @property
    def kappa_text(self) -> str:
        return "not defined" if self.kappa is None else f"{self.kappa:.2f}"


def agreements(labels: Mapping[tuple[str, str], Label]) -> list[Agreement]:
    """Every pair of reviewers with a sample in common; `labels` as of `ReviewLabels.latest`."""
    by_reviewer: dict[str, dict[str, Answer]] = {}
    for (trace_id, reviewer), label in labels.items():
        if label.decides:
            by_reviewer.setdefault(reviewer, {})[trace_id] = label.label
    result = []
    for one, other in combinations(sorted(by_reviewer), 2):
        common = sorted(by_reviewer[one].keys() & by_reviewer[other].keys())
        pairs = [(by_reviewer[one][each], by_reviewer[other][each]) for each in common]
        if pairs:
            observed = sum(a == b for a, b in pairs) / len(pairs)
            kappa = cohen_kappa(pairs)
            result.append(
                Agreement(one=one, other=other, samples=len(pairs), observed=observed, kappa=kappa)
            )
    return result


def cohen_kappa(pairs: Sequence[tuple[Answer, Answer]]) -> float | None:
    """Cohen's kappa of pairs of answers; None where chance alone would agree always."""
    count = len(pairs)
    observed = sum(a == b for a, b in pairs) / count
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[each] * second[each] for each in first) / count**2
    return None if chance == 1 else (observed - chance) / (1 - chance)
