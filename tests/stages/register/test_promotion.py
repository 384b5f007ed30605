"""Promises of the promotion decision: who becomes champion, and the reason."""

from dataclasses import replace
from typing import Any

import pytest
from measured import scores

from mien.model.evaluation import ChampionScores, SliceScores
from mien.reporting.scores import wilson
from mien.stages.register.history import previous_champion
from mien.stages.register.promotion import Candidate, Champion, decide, keeps_alias
from mien.storage.registry import UNTRUSTED, AliasChange, ModelVersion

ISSUES = "its code had changes that are in no commit"
CANNOT = ChampionScores(error="Train it again.")


def candidate(score: float, variant_score: float | None = None) -> Candidate:
    return Candidate("gesture", 4, "macro_f1", score, variant_score, "net")


def champion(score: float) -> Champion:
    return Champion(3, ChampionScores(scores=scores(score)))


@pytest.mark.parametrize(
    ("new", "present", "issues", "force", "alias", "action", "reason"),
    [
        (0.1, None, "", None, "champion", "register", "There was no champion before."),
        (0.9, champion(0.8), "", None, "champion", "register", "Not worse than the champion"),
        (0.8, champion(0.8), "", None, "champion", "register", "Not worse than the champion"),
        (0.7, champion(0.8), "", None, "challenger", "register", "Worse than the champion"),
        (0.7, champion(0.8), "", "now", "challenger", "register", "Worse than the champion"),
        (0.1, Champion(3, CANNOT), "", None, "champion", "register", "Train it again."),
        (0.9, None, ISSUES, None, "challenger", "register", "Not trusted, so not champion"),
        (0.9, None, ISSUES, None, "challenger", "register", "mien promote gesture 4 --force"),
        (0.9, None, ISSUES, "now", "champion", "forced register", f"now. Not trusted: {ISSUES}."),
        (0.9, None, "", "now", "champion", "register", "There was no champion before."),
        (0.7, champion(0.8), ISSUES, None, "challenger", "register", "Worse than the champion"),
        (0.7, champion(0.8), ISSUES, "now", "challenger", "register", "Worse than the champion"),
    ],
)
def test_the_decision_depends_on_score_trust_and_force(
    new: float,
    present: Champion | None,
    issues: str,
    force: str | None,
    alias: str,
    action: str,
    reason: str,
) -> None:
    """Force replaces trust, never a better score; nothing is forced where nothing is wrong."""
    decision = decide(candidate(new), present, issues, force)
    assert (decision.alias, decision.action) == (alias, action)
    assert reason in decision.reason


def test_a_version_that_is_held_becomes_challenger_at_most() -> None:
    """With the comparison and the reason; another decision stays as it is."""
    better = decide(candidate(0.9), champion(0.8), "", None).held("It waits.")
    assert (better.alias, better.action) == ("challenger", "register")
    assert better.reason.startswith("Not worse than the champion")
    assert better.reason.endswith(" It waits.")
    worse = decide(candidate(0.7), champion(0.8), "", None)
    assert worse.held("It waits.") == worse
    assert decide(candidate(0.9), champion(0.8), "", None).held("").alias == "champion"


def test_a_variant_is_compared_by_its_base_candidate() -> None:
    """The policy limits what it may lose; its own score is in the reason."""
    decision = decide(candidate(0.9, variant_score=0.89), champion(0.895), "", None)
    assert decision.alias == "champion"
    assert "a variant of net, itself 0.8900" in decision.reason


def test_a_model_that_lacks_a_label_of_the_champion_does_not_replace_it() -> None:
    """Clients would miss an answer that they know; force is recorded, more labels are welcome."""
    old = Champion(3, ChampionScores(scores=scores(0.1), labels=("fist", "like")))
    fewer = replace(candidate(0.9), labels=("fist", "thumb"))
    decision = decide(fewer, old, "", None)
    assert (decision.alias, decision.action) == ("challenger", "register")
    assert "1 of the 2 labels of version 3 (like)" in decision.reason
    assert "`mien promote gesture 4` makes it champion." in decision.reason
    forced = decide(fewer, old, "", "they agreed")
    assert (forced.alias, forced.action) == ("champion", "forced register")
    assert forced.reason.startswith("they agreed. It does not know 1")
    more = replace(candidate(0.9), labels=("fist", "like", "thumb"))
    assert decide(more, old, "", None).alias == "champion"
    assert decide(replace(more, score=0.05), old, "", None).alias == "challenger"


def knows(trained_on: Any, score: float = 0.8) -> Champion:
    measured = ChampionScores(scores=scores(score), trained_on=trained_on, labels=("like",))
    return Champion(3, measured)


@pytest.mark.parametrize("known", ["real", "pretrained"])
def test_a_model_of_drawings_never_replaces_one_that_knows_real_data(known: str) -> None:
    """Whatever its score; force is recorded."""
    drawn = replace(candidate(0.99), trained_on="synthetic", labels=("like",))
    decision = decide(drawn, knows(known), "", None)
    assert (decision.alias, decision.action) == ("challenger", "register")
    assert f"drawings (synthetic), and version 3 knows real data ({known})" in decision.reason
    forced = decide(drawn, knows(known), "", "a show")
    assert (forced.alias, forced.action) == ("champion", "forced register")
    assert forced.reason.startswith("a show. It was trained on drawings")
    assert decide(drawn, knows("synthetic"), "", None).alias == "champion"
    assert decide(drawn, knows(None), "", None).alias == "champion"  # unknown: by score


def test_a_model_of_real_data_is_compared_by_score_with_one_of_drawings() -> None:
    """Both were measured on the same real data."""
    real = replace(candidate(0.7), trained_on="real", labels=("like",))
    assert decide(real, knows("synthetic"), "", None).alias == "challenger"
    assert decide(real, knows("synthetic", 0.6), "", None).alias == "champion"


def test_a_pulled_model_replaces_one_of_drawings_only() -> None:
    """It has no score; labels that it lacks do not keep a model of drawings in its place."""
    pulled = Candidate("gesture", 4, labels=("fist",), trained_on="pretrained")
    assert decide(pulled, None, "", None).alias == "champion"
    assert decide(pulled, knows("synthetic"), "", None).alias == "champion"
    for known in ("real", "pretrained", None):
        decision = decide(pulled, knows(known), "", None)
        assert decision.alias == "challenger"
        assert "`mien promote gesture 4` makes it champion." in decision.reason
    assert decide(pulled, knows("real"), "", "better").action == "forced register"


def dark(accuracy: float | None, examples: int = 200) -> SliceScores:
    """The dark examples of val, of which that share was answered rightly."""
    if accuracy is None:
        return SliceScores(attribute="brightness", name="low", examples=examples)
    low, high = wilson(accuracy * examples, examples)
    return SliceScores(
        attribute="brightness", name="low", examples=examples, accuracy=accuracy, low=low, high=high
    )


@pytest.mark.parametrize(
    ("new", "old", "max_drop", "alias", "reason"),
    [
        (
            0.60,
            0.80,
            0.05,
            "challenger",
            "brightness low 0.600 (0.531 to 0.665) against 0.800",
        ),
        (0.60, 0.80, 0.3, "champion", "nor in any of 1 slices"),
        (0.60, 0.80, None, "champion", "Not worse than the champion: "),
        (0.78, 0.80, 0.0, "champion", "nor in any of 1 slices"),  # the interval reaches 0.80
        (None, 0.80, 0.0, "champion", "no slice could be compared"),
        (0.60, None, 0.0, "champion", "no slice could be compared"),
    ],
)
def test_a_slice_that_loses_too_much_keeps_a_better_model_from_promotion(
    new: float | None, old: float | None, max_drop: float | None, alias: str, reason: str
) -> None:
    """If the policy asks for it: its whole interval is below the champion by more than that."""
    better = replace(candidate(0.9), slices=(dark(new),), max_slice_drop=max_drop)
    measured = ChampionScores(scores=scores(0.8), slices=(dark(old),))
    decision = decide(better, Champion(3, measured), "", None)
    assert decision.alias == alias
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("aliases", "untrusted", "issues", "force", "kept"),
    [
        (("challenger",), True, "", None, False),
        (("challenger",), True, ISSUES, "now", False),
        (("challenger",), True, ISSUES, None, True),
        (("challenger",), False, "", "now", True),
        (("champion",), True, "", "now", True),
        ((), True, "", "now", True),
    ],
)
def test_only_a_version_that_was_held_back_is_decided_again(
    aliases: tuple[str, ...], untrusted: bool, issues: str, force: str | None, kept: bool
) -> None:
    """A version that people set aside stays aside."""
    version = ModelVersion(4, "run", "digest", aliases, {UNTRUSTED: ISSUES} if untrusted else {})
    assert keeps_alias(version, issues, force) is kept


def change(what: str, after: int, alias: str = "champion") -> AliasChange:
    return AliasChange("me", what, "today", "", alias, None, after)


@pytest.mark.parametrize(
    ("changes", "previous"),
    [
        ([], None),
        ([change("register", 1)], None),
        ([change("register", 1), change("register", 2, "challenger")], None),
        ([change("register", 1), change("promote", 2)], 1),
        ([change("register", 1), change("promote", 2), change("promote", 2)], 1),
        ([change("register", 1), change("promote", 2), change("rollback", 1)], None),
        ([change("register", 1), change("promote", 2), change("forced rollback", 1)], None),
        ([change("register", n) for n in (1, 2, 3)] + [change("rollback", 2)], 1),
        ([change("rollback", 1)], None),  # the others were deleted in MLflow
        ([change("rollback", 1), change("promote", 3)], 1),
    ],
)
def test_each_rollback_undoes_one_promotion(
    changes: list[AliasChange], previous: int | None
) -> None:
    """Rolling back twice leads two champions back, not back and forth."""
    assert previous_champion(changes) == previous
