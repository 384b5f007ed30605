"""The demo's public pretrained model: fetched while something else runs, within a short bound."""

import threading
from collections.abc import Collection
from time import monotonic
from typing import Any

from mien import pipeline
from mien.config import TrainedOn
from mien.errors import MienError
from mien.model import bundle
from mien.reporting import console
from mien.stages import pull
from mien.storage.workspace import Workspace
from mien.task import Task

FETCH_S = 15.0
"""Seconds from the start of the fetching to the last moment that the demo waits for it."""
REPEAT_S = 2.5
"""The same where nothing was trained meanwhile, from the end of the other stages."""


class StarterFetch:
    """Fetches the public model of a task in a thread; `register` makes it a version."""

    def __init__(self, task: Task[Any], workspace: Workspace, limit_s: float = FETCH_S) -> None:
        self._task, self._workspace, self._limit_s = task, workspace, limit_s
        self._end = monotonic() + limit_s
        self._error: MienError | None = None
        self._thread = threading.Thread(target=self._fetch, name="mien-fetch", daemon=True)
        self._thread.start()

    def register(self, wait_s: float = FETCH_S) -> str:
        """Register the model; return what is served now and why, in one sentence.

        Waits at most `wait_s` from now, and no longer than `limit_s` from the start.
        """
        name = self._task.name
        left_s = max(0.0, min(wait_s, self._end - monotonic()))
        if self._thread.is_alive() and left_s:
            console.info(f"{name}: waiting up to {left_s:.1f} s for its public model")
        self._thread.join(left_s)
        if self._thread.is_alive():
            return _drawings(
                name, f"no public model was fetched in time; `mien pull {name}` takes the time"
            )
        try:
            if self._error:
                raise self._error
            registered = pipeline.pull(self._task, self._workspace)
        except MienError as error:
            return _drawings(name, str(error))
        origin = served_origin(name, self._workspace) or "unknown"
        return (
            f"{name}: pulled a public model: {registered.summary} The champion's trained_on is "
            f"{origin}."
        )

    def _fetch(self) -> None:
        try:
            pull.fetch(self._task, self._limit_s)
        except MienError as error:
            self._error = error


def longest_wait_s(skipped_stages: Collection[str]) -> float:
    """How long to wait for the model at the end of a run that skipped these stages."""
    return REPEAT_S if "train" in skipped_stages else FETCH_S


def served_origin(task: str, workspace: Workspace) -> TrainedOn | None:
    """What the champion of a task was trained on; None without one, or where it does not say."""
    champion = bundle.read_champion(task, workspace)
    return champion.manifest.lineage.trained_on if champion else None


def _drawings(task: str, reason: str) -> str:
    return (
        f"{task}: the model of drawings is served (trained_on: synthetic), which says little about "
        f"real people: {reason.rstrip('.')}."
    )
