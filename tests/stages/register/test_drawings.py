"""A model of drawings replaces one that knows real data only with a reason; rollbacks say so."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from evaluated import MODEL, RUN, evaluated, measure
from measured import scores

from mien.errors import RegistryError
from mien.model.evaluation import ChampionScores
from mien.stages import Run, register
from mien.storage.workspace import Workspace
from mien.tracking import Tracker


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
    return Workspace(tmp_path)


def train(workspace: Workspace, *origins: Any) -> None:
    """One version for each origin, each better than the one before."""
    for number, origin in enumerate(origins, 1):
        name, score = f"model{number}", 0.6 + number / 10
        evaluated(workspace.home, name, score, None, trained_on=origin)
        if champion := workspace.aliases("gesture").get("champion"):
            before = ChampionScores(scores=scores(0.6), trained_on=origins[champion - 1])
            measure(workspace.evaluated("gesture") / name, champion, before)
        register.register(Run.resolve(RUN, workspace))


def test_drawings_are_promoted_over_real_data_by_force_only(workspace: Workspace) -> None:
    """The registration and the refusal give the command; the history has both reasons."""
    train(workspace, "real", "synthetic")
    tracker = Tracker(workspace.home)
    assert workspace.aliases("gesture") == {"champion": 1, "challenger": 2}
    assert "`mien promote gesture 2 --force REASON`" in tracker.history(MODEL)[-1].reason
    expected = r"drawings .*version 1 knows real data \(real\).*`mien promote gesture 2 --force REA"
    with pytest.raises(RegistryError, match=expected):
        register.promote("gesture", 2, "it is better", workspace)
    assert workspace.aliases("gesture")["champion"] == 1
    register.promote("gesture", 2, register.BY_HAND, workspace, force="a show")
    last = tracker.history(MODEL)[-1]
    assert (last.action, last.after) == ("forced promote", 2)
    assert last.reason.startswith("a show. It was trained on drawings (synthetic)")
    assert register.rollback("gesture", "over", workspace) == 1
    assert tracker.history(MODEL)[-1].reason == "over"


def test_a_rollback_to_drawings_needs_no_force_and_says_so(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes back to what was champion before; terminal and history say what that knows."""
    train(workspace, "synthetic", "real")
    assert workspace.aliases("gesture")["champion"] == 2
    assert register.rollback("gesture", "it fails", workspace) == 1
    last = Tracker(workspace.home).history(MODEL)[-1]
    assert (last.action, last.after) == ("rollback", 1)
    words = "It was trained on drawings (synthetic), and version 2 knows real data (real)."
    assert last.reason == f"it fails. {words}"
    assert words in " ".join(capsys.readouterr().err.split())
