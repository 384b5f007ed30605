"""A champion of the workspace $MIEN_HOME, opened as the rivals of mien's own server use it."""

from pathlib import Path
from typing import Any

from mien import config, tasks
from mien.model import runtime
from mien.storage.workspace import Workspace
from mien.task import Prediction, Request


def folder(task: str) -> Path:
    """Where the bundle of a task's champion lies."""
    home = Workspace(config.settings().home)
    return home.version(task, home.aliases(task)["champion"])


class Champion:
    """The same functions that mien's server calls, over the same files."""

    def __init__(self, task: str) -> None:
        self.task = tasks.load(task)
        self.model = runtime.load(folder(task))

    def ask(self, picture: bytes) -> Request:
        return self.task.inference.read(picture)

    def body(self, values: dict[str, Any]) -> Request:
        assert self.task.inference.Body is not None
        return Request(body=self.task.inference.Body.model_validate(values))

    def predict(self, request: Request) -> Prediction:
        return self.task.inference.predict(request, self.model)
