"""Answers for files on the command line, with the champion of a task or a bundle at hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import MienError
from mien.model import runtime
from mien.model.runtime import Model
from mien.storage.workspace import Workspace
from mien.task import Task


def predict(
    files: Sequence[Path], name: str | None, bundle: Path | None, workspace: Workspace
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each file with its answer, or with an `error` where it cannot be answered.

    Raises:
        RegistryError: no champion is there to answer.
        BundleError: the bundle is damaged.
    """
    if bundle is None:
        bundle = workspace.version(
            *workspace.champion([tasks.load(name).name] if name else tasks.names())
        )
    with runtime.load(bundle) as model:
        task = tasks.load(model.bundle.manifest.task)
        for path in files:
            yield path, _answer(path, task, model)


def _answer(path: Path, task: Task[Any], model: Model) -> dict[str, Any]:
    try:
        return task.inference.predict(task.inference.open(path), model).as_json(task.name)
    except MienError as error:
        return {"error": str(error)}
