"""Trainings that nobody asked for keep their distance and their budget, whatever is restarted."""

import time
from pathlib import Path

import pytest
from reviewed import KEY, keep_hands

from mien.errors import DataError, NotDueError, RetrainError
from mien.observability.review.store import ReviewStore
from mien.stages.retrain import RetrainLimits, history, one_at_a_time, record, require_due
from mien.storage.workspace import Workspace
from mien.tasks.gesture.sample import landmark_rows

HOUR, DAY = 3600.0, 86_400.0
LIMITS = RetrainLimits(cooldown_h=24, per_week=2, min_samples=5)
TASK = "gesture"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With 18 labelled hands."""
    made = Workspace(tmp_path)
    hands, labels = landmark_rows(1, 1)
    keep_hands(ReviewStore(made.review, KEY), hands, labels)
    return made


def train(workspace: Workspace, trigger: str = "command") -> None:
    with record(workspace, TASK, trigger) as result:
        result.append("version 2")


def fail(workspace: Workspace) -> None:
    with record(workspace, TASK, "alert MienDrift"):
        assert history(workspace, TASK)[-1].state == "started", "what a kill leaves"
        raise DataError("no training")


def label_more(workspace: Workspace, first: int) -> None:
    hands, labels = landmark_rows(1, first)
    keep_hands(ReviewStore(workspace.review, KEY), hands, labels, first)


def test_enough_new_labels_are_due(workspace: Workspace) -> None:
    """Those since the last training count; no key is needed to count them."""
    require_due(workspace, TASK, LIMITS)
    with pytest.raises(NotDueError, match=r"expected 19 samples .* found 18"):
        require_due(workspace, TASK, LIMITS.model_copy(update={"min_samples": 19}))
    train(workspace)
    later = time.time() + 25 * HOUR
    with pytest.raises(NotDueError, match=r"expected 5 samples labelled .* found 0"):
        require_due(workspace, TASK, LIMITS, later)
    label_more(workspace, 100)
    require_due(workspace, TASK, LIMITS, later)


def test_a_cool_down_and_a_budget_bound_what_alerts_can_cost(workspace: Workspace) -> None:
    """Both are read from the workspace, and so is a training that a kill ended."""
    train(workspace)
    label_more(workspace, 100)
    now = time.time()
    with pytest.raises(NotDueError, match=r"expected 24 hours .*, 23\.0 are left"):
        require_due(workspace, TASK, LIMITS, now + HOUR)
    with pytest.raises(DataError, match="no training"):
        fail(workspace)
    label_more(workspace, 200)
    with pytest.raises(NotDueError, match="fewer than 2 trainings in seven days, found 2"):
        require_due(Workspace(workspace.home), TASK, LIMITS, now + 2 * DAY)
    require_due(workspace, TASK, LIMITS, now + 8 * DAY)
    assert [(each.trigger, each.state, each.result) for each in history(workspace, TASK)] == [
        ("command", "registered", "version 2"),
        ("alert MienDrift", "failed", "no training"),
    ]


def test_two_at_once_are_refused(workspace: Workspace) -> None:
    """The second one says why, and does not wait."""
    with (
        one_at_a_time(workspace, TASK),
        pytest.raises(RetrainError, match="found one that runs"),
        one_at_a_time(workspace, TASK),
    ):
        pass
    with one_at_a_time(workspace, TASK), one_at_a_time(workspace, "emotion"):
        pass


def test_a_damaged_history_allows_nothing(workspace: Workspace) -> None:
    """It is no reason to train without a limit."""
    train(workspace)
    (workspace.models(TASK) / "retrain.json").write_text("{")
    with pytest.raises(RetrainError, match="expected the trainings of gesture"):
        require_due(workspace, TASK, LIMITS)
