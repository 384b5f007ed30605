"""`mien retrain`: a challenger from what people reviewed, and a report by class."""

import shutil
from pathlib import Path

import numpy as np
import pages
import pytest
from command_line import CommandLine
from reviewed import KEY, keep_hands

from mien.observability.review.store import ReviewStore
from mien.stages.retrain import RetrainReport, history, one_at_a_time
from mien.storage.workspace import Workspace
from mien.tasks.gesture.sample import landmark_rows

TASK, CHANGED = "gesture", "rock"
TILT = np.array([1.5, 0.4, 1.0])
"""People show one gesture with the hand tilted away."""


@pytest.fixture
def workspace(small_gesture: Workspace, tmp_path: Path) -> Workspace:
    """A champion, and 60 reviewed hands of a gesture that is shown in another way now."""
    made = Workspace(tmp_path / "home")
    shutil.copytree(small_gesture.home, made.home)
    hands, labels = landmark_rows(60, 7)
    changed = hands[[label == CHANGED for label in labels]]
    changed = changed[:, :1] + (changed - changed[:, :1]) * TILT
    keep_hands(ReviewStore(made.review, KEY), changed, [CHANGED] * len(changed))
    return made


@pytest.mark.long
def test_reviewed_samples_make_a_better_challenger(
    workspace: Workspace, command_line: CommandLine
) -> None:
    """The champion stays, and the data that users fetched stay the newest ones; the same command
    again changes nothing, and is not due by schedule."""

    def mien(line: str) -> tuple[int, str]:
        arguments = line.split()[1:]
        done = command_line(*arguments, home=workspace.home, MIEN_REVIEW_KEY=KEY)
        return done.returncode, done.stdout + done.stderr

    by_command, by_schedule, *_ = (each.first for each in pages.blocks("retraining.md", "bash"))
    latest = (workspace.raw(TASK) / "latest.txt").read_text()
    with one_at_a_time(workspace, TASK):
        code, text = mien(by_command)
    assert (code, "found one that runs" in text) == (1, True)
    code, text = mien(by_command)
    assert code == 0, text
    assert workspace.aliases(TASK) == {"champion": 1, "challenger": 2}
    path = workspace.reports(TASK) / "retrain_2.json"
    report = RetrainReport.model_validate_json(path.read_text())
    old, reviewed = report.tests
    assert (report.champion, report.version, report.alias) == (1, 2, "challenger")
    assert report.train + reviewed.samples == 60
    assert [each.label for each in reviewed.classes] == [CHANGED]
    assert reviewed.challenger > reviewed.champion
    assert reviewed.wins - reviewed.losses == reviewed.challenger - reviewed.champion
    assert len(old.classes) == 18
    assert old.challenger >= 0.95 * old.champion
    assert f"| {CHANGED} | {reviewed.samples} |" in path.with_suffix(".md").read_text()
    assert (workspace.raw(TASK) / "latest.txt").read_text() == latest
    code, text = mien(by_command)
    assert (code, text.count("unchanged, skipped")) == (0, 6), text
    code, text = mien(by_schedule)
    assert (code, "not due: gesture: expected 24 hours" in text) == (0, True)
    assert [each.state for each in history(workspace, TASK)] == ["registered"] * 2


def test_a_model_that_was_not_trained_here_is_refused(
    tmp_path: Path, command_line: CommandLine
) -> None:
    """And so are a wrong key, no key, and two triggers at once."""

    def mien(*arguments: str, **environment: str) -> str:
        done = command_line("retrain", TASK, *arguments, home=tmp_path, **environment)
        assert done.returncode == 1
        return " ".join(done.stderr.split())

    assert "expected a champion that was trained in this workspace, found none" in mien()
    assert "Expected --listen or --if-due, found both" in mien("--listen", "0", "--if-due")
    assert "MIEN_RETRAIN_KEY: expected 24 characters" in mien("--listen", "0")
    assert history(Workspace(tmp_path), TASK) == ()
