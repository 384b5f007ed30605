"""A challenger is started, stopped, compared, and promoted only where the test says better."""

import json
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from command_line import CommandLine
from evaluated import MODEL, RUN, evaluated

from mien import pipeline
from mien.errors import RegistryError
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.shadow import ShadowRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages import Run, register, shadow
from mien.storage import shadow as state
from mien.storage.files import sha256_file
from mien.storage.workspace import MANIFEST, Workspace
from mien.tracking import Tracker

Pair = tuple[str, str, str | None]
"""What the champion and the challenger said, and the feedback; None without any."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two versions without MLflow; their bundles are manifests alone."""
    made = Workspace(tmp_path / "home")
    for number in (1, 2):
        folder = made.version("gesture", number)
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(f'{{"version": {number}}}')
    made.write_aliases("gesture", {"champion": 1})
    return made


def answer(workspace: Workspace, *pairs: Pair) -> None:
    """Record what both versions said, as a server does."""
    ours, theirs = (sha256_file(workspace.version("gesture", n) / MANIFEST) for n in (1, 2))
    with closing(PredictionLog(workspace.prediction_log)) as log:
        for number, (champion, challenger, truth) in enumerate(pairs):
            name, now = f"{number:032x}", time.time()
            log.add(PredictionRecord(name, now, "gesture", "1", ours, "ok", champion, 1, {}, 0.01))
            row = (name, now, "2", theirs, "ok", challenger, 0.002, ours, champion, 0.001)
            log.add_shadow([ShadowRecord(*row)])
            if truth is not None:
                log.record_feedback(name, truth, now)


def pairs(wins: int, losses: int, ties: int, without_feedback: int = 0) -> list[Pair]:
    """So many answers of each kind; those without feedback differ as often as the others."""
    labelled: list[Pair] = [("like", "fist", "fist")] * wins
    labelled += [("like", "fist", "like")] * losses + [("like", "like", "like")] * ties
    return labelled + [(first, second, None) for first, second, _ in labelled] * without_feedback


def compared(workspace: Workspace) -> shadow.ShadowReport:
    return shadow.report("gesture", workspace, workspace.prediction_log)


def test_a_better_challenger_has_a_reason_with_numbers(workspace: Workspace) -> None:
    """Which is written to the history of the registry."""
    shadow.start("gesture", 2, 0.25, workspace)
    answer(workspace, *pairs(40, 10, 50, without_feedback=1))
    found = compared(workspace)
    assert (found.champion, found.challenger, found.share) == (1, 2, 0.25)
    assert (found.answers, found.errors, found.feedback) == (200, 0, 100)
    assert found.agreement is not None
    assert found.agreement.lower < found.agreement.share == 0.5 < found.agreement.upper
    assert (found.accuracy, found.champion_accuracy) == (0.9, 0.6)
    assert found.difference == pytest.approx(0.3)
    assert (found.cpu_ms, found.champion_cpu_ms) == (2.0, 1.0)
    assert (found.verdict, found.biased) == ("better", False)
    reason = shadow.require_better(found)
    assert reason.startswith("Better in the shadow: on 100 answers with feedback the accuracy of ")
    assert "difference +0.3000 (+0.0705 to +0.5068, 95% at every moment)" in reason


@pytest.mark.parametrize(
    ("wins", "losses", "verdict"), [(10, 40, "worse"), (12, 10, "undecided"), (0, 0, "undecided")]
)
def test_others_are_refused_with_numbers(
    workspace: Workspace, wins: int, losses: int, verdict: str
) -> None:
    """Too little feedback, or a challenger that is not better."""
    shadow.start("gesture", 2, 1.0, workspace)
    answer(workspace, *pairs(wins, losses, 50))
    with pytest.raises(RegistryError, match=f"found {verdict}: on {wins + losses + 50} answers"):
        shadow.require_better(compared(workspace))


def test_feedback_on_mistakes_alone_promotes_nobody(workspace: Workspace) -> None:
    """Every challenger looks better on them, also one that is right as often."""
    shadow.start("gesture", 2, 1.0, workspace)
    agreed: list[Pair] = [("like", "like", None)] * 400
    answer(workspace, *pairs(40, 2, 20), *agreed)
    found = compared(workspace)
    assert (found.verdict, found.biased) == ("better", True)
    with pytest.raises(RegistryError, match="found more disagreements among them than among all"):
        shadow.require_better(found)


def test_answers_to_another_champion_do_not_count(workspace: Workspace) -> None:
    """After a promotion the comparison begins again; that of the challenger itself is none."""
    shadow.start("gesture", 2, 1.0, workspace)
    answer(workspace, *pairs(5, 1, 5))
    shutil.copytree(workspace.version("gesture", 1), workspace.version("gesture", 3))
    (workspace.version("gesture", 3) / MANIFEST).write_text("{}")
    workspace.write_aliases("gesture", {"champion": 3})
    assert compared(workspace).answers == 0
    workspace.write_aliases("gesture", {"champion": 2})
    with pytest.raises(RegistryError, match=r"No version of mien-gesture answers after"):
        compared(workspace)


def test_what_cannot_answer_is_refused(workspace: Workspace) -> None:
    """The champion itself, a version that is not here, and any without a champion."""
    with pytest.raises(RegistryError, match="Version 1 of mien-gesture is the champion"):
        shadow.start("gesture", 1, 0.1, workspace)
    with pytest.raises(RegistryError, match="mien-gesture has no version 7 with a bundle"):
        shadow.start("gesture", 7, 0.1, workspace)
    workspace.write_aliases("gesture", {})
    with pytest.raises(RegistryError, match="'gesture' has no champion"):
        shadow.start("gesture", 2, 0.1, workspace)
    assert state.read(workspace, "gesture") is None


def test_the_command_starts_shows_and_stops(
    workspace: Workspace, command_line: CommandLine
) -> None:
    """The comparison as a table and as JSON; one thing at a time."""

    def mien(*arguments: str) -> tuple[int, str]:
        done = command_line("shadow", "gesture", *arguments, home=workspace.home)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    assert mien("2", "--share", "0.2") == (
        0,
        "mien-gesture version 2 answers 0.2 of the requests too",
    )
    answer(workspace, *pairs(1, 1, 2))
    code, table = mien()
    assert code == 0
    assert "difference │ +0.0000 (-" in table or "difference +0.0000 (-" in table
    assert json.loads(mien("--json")[1])["verdict"] == "undecided"
    code, refusal = mien("--promote")
    assert (code, "expected one that is better" in refusal) == (1, True)
    assert mien("--stop", "--promote") == (
        1,
        "error: Expected VERSION, --stop or --promote, found several. Give one.",
    )
    assert mien("--stop") == (0, "mien-gesture: stopped")
    assert mien("--stop") == (0, "mien-gesture: no version was answering")


def test_a_promotion_that_was_killed_is_completed(workspace: Workspace) -> None:
    """The alias had moved already: nothing is left to compare, and the shadow ends."""
    state.start(workspace, "gesture", 2, 1.0)
    workspace.write_aliases("gesture", {"champion": 2})
    assert pipeline.promote_challenger("gesture", workspace, workspace.prediction_log) == 2
    assert state.read(workspace, "gesture") is None
    with pytest.raises(RegistryError, match="No version of mien-gesture answers after"):
        pipeline.promote_challenger("gesture", workspace, workspace.prediction_log)


def test_a_promotion_moves_the_alias_and_ends_the_shadow(
    tmp_path: Path, mlflow_database: Path
) -> None:
    """With its numbers in the registry's history."""
    shutil.copy(mlflow_database, tmp_path)
    workspace = Workspace(tmp_path)
    for name, score in (("better", 0.9), ("worse", 0.8)):
        evaluated(tmp_path, name, score, (1, 0.9) if name == "worse" else None)
        register.register(Run.resolve(RUN, workspace))
    assert workspace.aliases("gesture") == {"champion": 1, "challenger": 2}
    shadow.start("gesture", 2, 1.0, workspace)
    answer(workspace, *pairs(40, 10, 50))
    assert pipeline.promote_challenger("gesture", workspace, workspace.prediction_log) == 2
    assert workspace.aliases("gesture")["champion"] == 2
    assert state.read(workspace, "gesture") is None
    assert Tracker(tmp_path).history(MODEL)[-1].reason.startswith("Better in the shadow: on 100")
