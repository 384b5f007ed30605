"""Promises of the policy: which candidate or variant is chosen, and why the others are not."""

import measured
import pytest

from mien.config import Policy
from mien.model import policy
from mien.model.evaluation import CandidateScores, VariantComparison

POLICY = Policy(max_bundle_mb=10, max_cpu_cost=50)


def row(
    name: str, score: float, megabytes: float = 1, cost: float = 1, reach: float = 0
) -> CandidateScores:
    val = measured.scores(score, accuracy=1 - score)
    cpu_cost = measured.ratio(cost, reach)
    return measured.candidate(name, score, val=val, bundle_mb=megabytes, cpu_cost=cpu_cost)


def variant(
    of: str, score: float, megabytes: float, slower: float = 0.0, form: str = "int8"
) -> CandidateScores:
    val = measured.scores(score, accuracy=1 - score)
    return measured.variant(of, score, slower, form, val=val, bundle_mb=megabytes)


def test_the_best_score_within_the_limits_wins() -> None:
    """The best is too large and the next too slow: the third is shipped, not the worst."""
    rows = [
        row("huge", 0.99, 11),
        row("slow", 0.98, cost=52, reach=1.5),
        row("good", 0.97),
        row("bad", 0.2),
    ]
    chosen, faults = policy.choose(rows, POLICY)
    assert chosen == "good"
    assert faults == ["11 MB > 10", "CPU cost 52.0 (50.5 to 53.5) > 50", "", ""]


def test_a_cost_that_cannot_be_told_from_the_limit_refuses_nobody() -> None:
    """The median is over the limit and the interval holds it: a busy machine must not decide."""
    rows = [row("near", 0.98, cost=52, reach=3), row("good", 0.97)]
    assert policy.choose(rows, POLICY) == ("near", ["", ""])


def test_a_variant_whose_time_cannot_be_told_from_the_limit_is_taken() -> None:
    """12 % slower where 10 % are allowed, give or take 5 %: undecided."""
    made = variant("net", 0.9, 1)
    about = VariantComparison(form="int8", base="net", cpu_ratio=measured.ratio(1.12, 0.05))
    made = made.model_copy(update={"variant": about})
    assert policy.choose([row("net", 0.9, 4), made], POLICY)[0] == "net-int8"


def test_nobody_wins_where_nobody_keeps_the_limits() -> None:
    """There is no silent second best: the table says what each candidate breaks."""
    assert policy.choose([row("huge", 0.99, 11)], POLICY) == (None, ["11 MB > 10"])


def test_the_policy_may_maximise_another_score() -> None:
    """`policy.maximise` names any score of the validation split."""
    rows = [row("a", 0.9), row("b", 0.1)]
    assert policy.choose(rows, Policy(maximise="accuracy"))[0] == "b"


def test_a_variant_that_loses_little_takes_the_place_of_its_origin() -> None:
    """Smaller, as fast, and 0.009 worse where 0.01 may be lost; the original is still whole."""
    rows = [row("net", 0.9, 4), variant("net", 0.891, 1)]
    assert policy.choose(rows, POLICY) == ("net-int8", ["", ""])


def test_a_variant_decides_nothing_between_candidates() -> None:
    """By chance it scores better than the best candidate; its origin does not."""
    rows = [row("a", 0.900, 4), variant("a", 0.905, 1), row("b", 0.903, 4)]
    assert policy.choose(rows, POLICY)[0] == "b"


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (variant("net", 0.889, 1), "loses 0.0110 of macro_f1 > 0.01"),
        (variant("net", 0.9, 1, slower=0.25), "25% slower > 10%"),
        (variant("net", 0.9, 4), "not smaller"),
        (variant("net", 0.8, 5, slower=1.0), "loses 0.1000 of macro_f1 > 0.01, 100% slower > 10%"),
    ],
)
def test_a_variant_that_is_worse_than_borne_is_told_why(made: CandidateScores, fault: str) -> None:
    """The original stays chosen, and the table says what the variant breaks."""
    chosen, faults = policy.choose([row("net", 0.9, 4), made], POLICY)
    assert chosen == "net"
    assert faults[0] == ""
    assert faults[1].startswith(fault)


def test_a_variant_must_keep_every_score_and_not_the_maximised_one_alone() -> None:
    """Names as good as before and boxes that are less exact are no like answer."""
    rows = [row("net", 0.9, 4), variant("net", 0.92, 1)]
    rows = [
        each.model_copy(update={"val": measured.scores(0.9, map50=0.8, map50_95=boxes)})
        for each, boxes in zip(rows, (0.7, 0.65), strict=True)
    ]
    chosen, faults = policy.choose(rows, POLICY)
    assert (chosen, faults[1]) == ("net", "loses 0.0500 of map50_95 > 0.01")


def test_of_several_variants_the_smallest_is_taken() -> None:
    """Of those that keep the limits."""
    rows = [row("net", 0.9, 4), variant("net", 0.9, 2, form="fp16"), variant("net", 0.895, 1)]
    assert policy.choose(rows, POLICY)[0] == "net-int8"
    assert policy.choose([*rows[:2], variant("net", 0.895, 1, 0.5)], POLICY)[0] == "net-fp16"


def test_a_variant_of_a_worse_candidate_is_no_bargain() -> None:
    """Who is chosen first is the candidate with the best score; then its own variants are asked."""
    rows = [row("good", 0.95, 9), row("small", 0.94, 2), variant("small", 0.94, 1)]
    assert policy.choose(rows, POLICY)[0] == "good"


def test_a_variant_may_serve_where_its_origin_is_too_large() -> None:
    """Making it smaller is what a variant is for."""
    rows = [row("huge", 0.99, 12), variant("huge", 0.985, 4), row("small", 0.9, 2)]
    assert policy.choose(rows, POLICY) == ("huge-int8", ["12 MB > 10", "", ""])
