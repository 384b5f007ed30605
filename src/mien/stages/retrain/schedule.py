"""Whether a training is due, and the trainings of the past: `models/<task>/retrain.json`.

A training is written down before it begins, so that neither a restart nor a kill forgets it: one
that fails counts as one that succeeds.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mien.config import Schema
from mien.errors import NotDueError, RetrainError
from mien.observability.review.labels import ReviewLabels, agreed
from mien.storage.files import atomic_write, try_lock
from mien.storage.workspace import Workspace

HOUR_S, WEEK_S = 3600.0, 7 * 86_400.0
_MAX_TRAININGS = 100
"""Trainings that the file names."""


class RetrainLimits(Schema):
    """When a training that no person asked for may begin."""

    cooldown_h: float = Field(default=24.0, ge=0)
    """Hours after the start of the last training."""
    per_week: int = Field(default=2, ge=1)
    """Trainings in seven days, those that people asked for included."""
    min_samples: int = Field(default=20, ge=1)
    """Samples that were labelled since the last training."""


class Training(Schema):
    """One training."""

    start: float
    """In seconds since 1970."""
    trigger: str
    state: Literal["started", "registered", "failed"] = "started"
    """`started` for one that runs, or was killed."""
    result: str = ""


class _History(Schema):
    trainings: tuple[Training, ...] = ()


def history(workspace: Workspace, task: str) -> tuple[Training, ...]:
    """The trainings of a task, the newest last.

    Raises:
        RetrainError: the file cannot be read.
    """
    path = _path(workspace, task)
    try:
        return _History.model_validate_json(path.read_bytes()).trainings
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError):
        raise RetrainError(
            f"{path}: expected the trainings of {task}, found something else. Delete it to count "
            "from now."
        ) from None


def require_due(
    workspace: Workspace, task: str, limits: RetrainLimits, now: float | None = None
) -> None:
    """Check that a training is due.

    Raises:
        NotDueError: it is not; the message says why.
        RetrainError: the history cannot be read.
    """
    now = time.time() if now is None else now
    past = history(workspace, task)
    last = max((each.start for each in past), default=0.0)
    wait_h = limits.cooldown_h - (now - last) / HOUR_S
    if past and wait_h > 0:
        raise NotDueError(
            f"{task}: expected {limits.cooldown_h:g} hours since the last training, "
            f"{wait_h:.1f} are left."
        )
    this_week = sum(now - each.start < WEEK_S for each in past)
    if this_week >= limits.per_week:
        raise NotDueError(
            f"{task}: expected fewer than {limits.per_week} trainings in seven days, found "
            f"{this_week}."
        )
    labels = ReviewLabels(workspace.review / task / "labels.jsonl").latest()
    answers, _ = agreed({key: each for key, each in labels.items() if each.timestamp > last})
    if len(answers) < limits.min_samples:
        raise NotDueError(
            f"{task}: expected {limits.min_samples} samples labelled since the last training, "
            f"found {len(answers)}. Label some with `mien review`."
        )


@contextmanager
def one_at_a_time(workspace: Workspace, task: str) -> Iterator[None]:
    """Let one process at a time retrain a task; a killed one lets go.

    Raises:
        RetrainError: another one does.
    """
    with try_lock(workspace.models(task) / "retrain.lock") as free:
        if not free:
            raise RetrainError(
                f"{task}: expected no retraining in this workspace, found one that runs. Wait for "
                "its end."
            )
        yield


@contextmanager
def record(workspace: Workspace, task: str, trigger: str) -> Iterator[list[str]]:
    """Write down a training before and after the block, which appends its result to the list.

    The caller holds `one_at_a_time`, and not the lock of the task.
    """
    past = history(workspace, task)
    training = Training(start=time.time(), trigger=trigger)
    _write(workspace, task, (*past, training))
    result: list[str] = []
    try:
        yield result
    except BaseException as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        failed = training.model_copy(update={"state": "failed", "result": text})
        _write(workspace, task, (*past, failed))
        raise
    done = training.model_copy(update={"state": "registered", "result": " ".join(result)})
    _write(workspace, task, (*past, done))


def _path(workspace: Workspace, task: str) -> Path:
    return workspace.models(task) / "retrain.json"


def _write(workspace: Workspace, task: str, trainings: tuple[Training, ...]) -> None:
    text = _History(trainings=trainings[-_MAX_TRAININGS:]).model_dump_json(indent=1)
    path = _path(workspace, task)
    with workspace.locked(task), atomic_write(path, durable=True) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
