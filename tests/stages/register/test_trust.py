"""Only a version with committed code and stored data becomes champion without --force."""

import shutil
from pathlib import Path

import pytest
from command_line import CommandLine
from evaluated import CLEAN, MODEL, RUN, evaluated

from mien.errors import RegistryError
from mien.model import lineage
from mien.model.evaluation import (
    MajorityComparison,
)
from mien.model.lineage import CodeState
from mien.stages import Run, register
from mien.storage.registry import UNTRUSTED
from mien.storage.workspace import Workspace
from mien.tracking import COMMITTED, Tracker


@pytest.fixture(autouse=True)
def _tables(tmp_path: Path, mlflow_database: Path) -> None:
    shutil.copy(mlflow_database, tmp_path)


DIRTY = CLEAN.model_copy(update={"dirty": True})


INSTALLED = CodeState(version="0", sha256="code")


UNCOMMITTED = "its code had changes that are in no commit"


def test_a_dirty_tree_makes_no_champion(tmp_path: Path) -> None:
    """It becomes challenger even without a champion, is tagged, and is promoted only by force; both
    reasons are recorded."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None, code=DIRTY)
    done = register.register(Run.resolve(RUN, workspace))
    assert (done.number, done.alias) == (1, "challenger")
    assert UNCOMMITTED in done.reason
    assert "mien promote gesture 1 --force REASON" in done.reason
    assert Tracker(tmp_path).versions(MODEL)[0].tags[UNTRUSTED] == UNCOMMITTED
    again = register.register(Run.resolve(RUN, workspace))
    assert (again.alias, again.fresh) == ("challenger", False)
    assert UNCOMMITTED in again.reason
    with pytest.raises(RegistryError, match=f"not trusted: {UNCOMMITTED}.*--force REASON"):
        register.promote("gesture", 1, "it is good", workspace)
    assert workspace.aliases("gesture") == {"challenger": 1}
    register.promote("gesture", 1, "by hand", workspace, force="needed tonight")
    assert workspace.aliases("gesture") == {"champion": 1}
    first, last = Tracker(tmp_path).history(MODEL)
    assert (first.action, first.alias) == ("register", "challenger")
    assert (last.action, last.alias) == ("forced promote", "champion")
    assert last.reason == f"needed tonight. Not trusted: {UNCOMMITTED}."


def test_a_reason_of_force_is_recorded_where_none_was_needed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None)
    register.register(Run.resolve(RUN, workspace))
    register.promote("gesture", 1, "by hand", workspace, force="needed tonight")
    last = Tracker(tmp_path).history(MODEL)[-1]
    assert (last.action, last.reason) == ("promote", "needed tonight")


def test_data_outside_the_store_make_no_champion(tmp_path: Path) -> None:
    """Nor does a bundle that does not say what it was trained on."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.8, None, data_fingerprint="f" * 64)
    assert (
        "its data (ffffffffffff) are no version"
        in register.register(Run.resolve(RUN, workspace)).reason
    )
    evaluated(tmp_path, "second", 0.9, None, data_fingerprint="")
    done = register.register(Run.resolve(RUN, workspace))
    assert done.alias == "challenger"
    assert "its data (not named) are no version" in done.reason


def test_a_model_that_has_learnt_nothing_makes_no_champion(tmp_path: Path) -> None:
    """It is registered with the reason; force makes it champion, by hand and at once."""
    workspace = Workspace(tmp_path)
    blind = MajorityComparison(
        examples=90, share=0.1, macro_f1=0.12, macro_f1_low=0.07, accuracy=0.13, accuracy_low=0.08
    )
    evaluated(tmp_path, "first", 0.12, None, blind)
    done = register.register(Run.resolve(RUN, workspace))
    assert done.alias == "challenger"
    assert (
        "nothing measurable (on 90 examples of val and test its accuracy is 0.13 (95 %"
        in done.reason
    )
    assert "always answering the most frequent label has an accuracy of 0.10" in done.reason
    assert "mien data check" in done.reason
    with pytest.raises(RegistryError, match=r"not trusted: it has learnt nothing.*--force REASON"):
        register.promote("gesture", 1, "by hand", workspace)
    register.promote("gesture", 1, "by hand", workspace, force="a demo")
    evaluated(tmp_path, "second", 0.13, (1, 0.12), blind)
    assert register.register(Run.resolve(RUN, workspace), force="again").alias == "champion"
    reasons = [move.reason for move in Tracker(tmp_path).history(MODEL)]
    assert reasons[1].startswith("a demo. Not trusted: it has learnt nothing")
    assert reasons[2].startswith("again. Not trusted: it has learnt nothing")
    seen = blind.model_copy(update={"accuracy_low": 0.11})
    evaluated(tmp_path, "third", 0.14, (2, 0.13), seen)
    assert register.register(Run.resolve(RUN, workspace)).alias == "champion"


def test_an_installed_package_counts_as_committed(tmp_path: Path) -> None:
    """Without git, the version of the package identifies the code."""
    evaluated(tmp_path, "first", 0.9, None, code=INSTALLED)
    assert register.register(Run.resolve(RUN, Workspace(tmp_path))).alias == "champion"


def test_force_makes_a_champion_and_is_recorded(tmp_path: Path) -> None:
    """At once, and of a version that was refused before, but never of a worse one; for a trusted
    one nothing is forced."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.8, None, code=DIRTY)
    assert register.register(Run.resolve(RUN, workspace), force="at once").alias == "champion"
    evaluated(tmp_path, "second", 0.9, (1, 0.8), code=DIRTY)
    assert register.register(Run.resolve(RUN, workspace)).alias == "challenger"
    assert register.register(Run.resolve(RUN, workspace), force="later").alias == "champion"
    evaluated(tmp_path, "worse", 0.5, (2, 0.9), code=DIRTY)
    for _ in range(2):
        assert register.register(Run.resolve(RUN, workspace), force="worse").alias == "challenger"
    evaluated(tmp_path, "trusted", 0.95, (2, 0.9))
    assert register.register(Run.resolve(RUN, workspace), force="needless").alias == "champion"
    moves = [(move.action, move.alias, move.after) for move in Tracker(tmp_path).history(MODEL)]
    assert moves == [
        ("forced register", "champion", 1),
        ("register", "challenger", 2),
        ("forced register", "champion", 2),
        ("register", "challenger", 3),
        ("register", "champion", 4),
    ]
    assert (
        Tracker(tmp_path)
        .history(MODEL)[0]
        .reason.startswith(f"at once. Not trusted: {UNCOMMITTED}")
    )


def test_a_rollback_to_an_untrusted_version_needs_force(tmp_path: Path) -> None:
    """And counts as a rollback for the next one."""
    workspace = Workspace(tmp_path)
    for number, (name, score, code) in enumerate(
        (("first", 0.7, CLEAN), ("second", 0.8, DIRTY), ("third", 0.9, CLEAN))
    ):
        evaluated(tmp_path, name, score, (number, score - 0.1) if number else None, code=code)
        assert register.register(Run.resolve(RUN, workspace), force="try").alias == "champion"
    with pytest.raises(RegistryError, match="mien rollback gesture --force REASON"):
        register.rollback("gesture", "by hand", workspace)
    assert register.rollback("gesture", "by hand", workspace, force="outage") == 2
    assert Tracker(tmp_path).history(MODEL)[-1].action == "forced rollback"
    assert register.rollback("gesture", "by hand", workspace) == 1


def test_code_that_is_committed_later_is_trusted_without_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is clean and has the code of the run: registering again is enough. With other code
    it is not."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None, code=DIRTY)
    assert register.register(Run.resolve(RUN, workspace)).alias == "challenger"
    monkeypatch.setattr(lineage, "commit", lambda: CLEAN.model_copy(update={"sha256": "other"}))
    assert register.register(Run.resolve(RUN, workspace)).alias == "challenger"
    monkeypatch.setattr(lineage, "commit", lambda: CLEAN)
    assert register.register(Run.resolve(RUN, workspace)).alias == "champion"
    (version,) = Tracker(tmp_path).versions(MODEL)
    assert UNTRUSTED not in version.tags
    assert version.tags[COMMITTED] == CLEAN.commit, "where a rebuild finds the code"
    assert [move.action for move in Tracker(tmp_path).history(MODEL)] == ["register", "register"]


def test_a_promotion_after_the_commit_records_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version need not be registered again."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.9, None, code=DIRTY)
    register.register(Run.resolve(RUN, workspace))
    monkeypatch.setattr(lineage, "commit", lambda: CLEAN)
    register.promote("gesture", 1, "committed", workspace)
    (version,) = Tracker(tmp_path).versions(MODEL)
    assert version.tags[COMMITTED] == CLEAN.commit


def test_mlflow_is_no_way_around_trust(tmp_path: Path) -> None:
    """A champion that was made there of what is not trusted is not exported."""
    workspace = Workspace(tmp_path)
    evaluated(tmp_path, "first", 0.8, None)
    register.register(Run.resolve(RUN, workspace))
    evaluated(tmp_path, "second", 0.9, (1, 0.8), code=DIRTY)
    register.register(Run.resolve(RUN, workspace))
    Tracker(tmp_path)._client.set_registered_model_alias(MODEL, "champion", "2")
    with pytest.raises(RegistryError, match=r"not trusted.*mien promote gesture 2 --force REASON"):
        register.register(Run.resolve(RUN, workspace))
    assert workspace.aliases("gesture")["champion"] == 1
    register.promote("gesture", 1, "as it was", workspace)
    assert Tracker(tmp_path).aliases(MODEL)["champion"] == 1


def test_the_commands_take_a_reason_and_show_untrusted_versions(
    tmp_path: Path, command_line: CommandLine
) -> None:
    """On the command line."""
    evaluated(tmp_path, "first", 0.9, None, data_fingerprint="f" * 64)
    register.register(Run.resolve(RUN, Workspace(tmp_path)))
    shown = command_line("models", "gesture", home=tmp_path)
    assert "version 1 is not trusted: its data (ffffffffffff)" in shown.stdout
    refused = command_line("predict", "hand.jpg", "--task", "gesture", home=tmp_path)
    assert "mien models gesture" in refused.stderr
    refused = command_line("promote", "gesture", "1", home=tmp_path)
    assert refused.returncode == 1
    assert "--force REASON" in refused.stderr
    forced = command_line("promote", "gesture", "1", "--force", "I know them", home=tmp_path)
    assert forced.returncode == 0, forced.stderr
    shown = command_line("models", "gesture", home=tmp_path)
    assert shown.stdout.count("its data (ffffffffffff)") == 1, "the history repeats the reason"
    lines = " ".join(shown.stdout.split())
    assert "forced promote: champion -> 1. I know them. Not trusted (see above)" in lines
