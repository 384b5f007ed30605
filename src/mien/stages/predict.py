"""Answers for files on the command line, with the champion of a task or a bundle at hand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mien import config, runtime, tasks
from mien.errors import MienError, RequestError
from mien.runtime import Model
from mien.task import Request, Task
from mien.workspace import Workspace


def predict(
    files: Sequence[Path], name: str | None, bundle: Path | None, workspace: Workspace
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each file with its answer, or with an `error` where it cannot be answered.

    Raises:
        RegistryError: no champion is there to answer.
        BundleError: the bundle is damaged.
    """
    if bundle is None:
        bundle = workspace.version(*workspace.champion([name] if name else tasks.names()))
    with runtime.load(bundle) as model:
        task = tasks.load(model.bundle.manifest.task)
        for path in files:
            yield path, _answer(path, task, model)


def _answer(path: Path, task: Task[Any], model: Model) -> dict[str, Any]:
    try:
        return task.predict(_request(path, task), model).as_json(task.name)
    except MienError as error:
        return {"error": str(error)}


def _request(path: Path, task: Task[Any]) -> Request:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}") from None
    if path.suffix != ".json" or task.Body is None:
        return task.ask(raw)
    try:
        document = json.loads(raw)
    except ValueError:
        raise RequestError("is not readable JSON") from None
    return Request(body=config.parse(task.Body, document, path.name))
