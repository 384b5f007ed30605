"""What is done, one module or package for each stage; a stage imports no other one.

The stages of a training take a `Run`: the config resolved once, with all that it refers to.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mien import config, tasks
from mien.config import RunConfig, Schema
from mien.reporting import console
from mien.storage.cache_keys import stage_key
from mien.storage.versions import Store
from mien.storage.workspace import REPORT, Workspace
from mien.task import Task
from mien.tracking import TrackedData, Tracker


@dataclass(frozen=True)
class Run:
    """A config with its task, its checked params, the workspace and the task's raw data."""

    config: RunConfig
    task: Task[Any]
    params: Schema
    workspace: Workspace
    store: Store
    later: list[Callable[[], object]] | None = None
    """What waits, see `when_idle`; None: nothing waits."""

    @classmethod
    def resolve(cls, run: RunConfig, workspace: Workspace, *, hurried: bool = False) -> "Run":
        """Resolve a config; `hurried` if people wait for the model.

        Raises:
            ConfigError: there is no such task, or the config's `params` do not fit it.
        """
        task = tasks.load(run.task)
        params = config.parse(task.training.Params, run.params, "params")
        store = Store(workspace.raw(task.name), console.bar)
        return cls(run, task, params, workspace, store, [] if hurried else None)

    def when_idle(self, work: Callable[[], object]) -> None:
        """Do what the model does not need: now, or in a hurried run by `do_waiting`."""
        if self.later is None:
            work()
        else:
            self.later.append(work)

    def do_waiting(self) -> None:
        """Do what waits, in the order of its coming."""
        while self.later:
            self.later.pop(0)()

    @cached_property
    def tracker(self) -> Tracker:
        """The runs and the registry of the workspace, opened once."""
        return Tracker(self.workspace.home)

    @property
    def data_params(self) -> Schema:
        """The params on which the data depend; all others at their defaults."""
        known = {name: getattr(self.params, name) for name in self.task.data.param_names}
        params: Schema = self.task.training.Params(**known)
        return params

    def data_set(self, ready: Path) -> TrackedData:
        """What MLflow shows of prepared data."""
        document = json.loads((ready / REPORT).read_text(encoding="utf-8"))
        root = str(document["data_fingerprint"])
        return TrackedData(self.task.name, root, self.store.find(root).source, document["counts"])

    @property
    def cache(self) -> Path:
        """Where the task keeps results of single files by their content."""
        return self.workspace.cache(self.task.name)

    @property
    def checked(self) -> Path:
        return self.workspace.checked(self.task.name)

    @property
    def processed(self) -> Path:
        return self.workspace.processed(self.task.name)

    @property
    def trained(self) -> Path:
        return self.workspace.trained(self.task.name)

    @property
    def evaluated(self) -> Path:
        return self.workspace.evaluated(self.task.name)

    @property
    def reports(self) -> Path:
        return self.workspace.reports(self.task.name)

    def key(self, stage: str, *inputs: Any) -> str:
        """The name of what a stage makes of its inputs with the present code."""
        return stage_key(stage, self.task.name, *inputs)
