"""Predictions for files on the command line, by the champion of a task or by a bundle folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import MienError
from mien.model import golden
from mien.model.runtime import Model
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.task import Task


def predict(
    files: Sequence[Path], name: str | None, bundle: Path | None, workspace: Workspace
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each file with its prediction as JSON values, or with an `error`.

    Raises:
        RegistryError: there is no champion.
        BundleError: the bundle is damaged, or answers differently on this machine.
    """
    if bundle is None:
        bundle = workspace.version(
            *workspace.champion([tasks.load(name).name] if name else tasks.names())
        )
    with golden.load(bundle) as model:
        manifest = model.bundle.manifest
        task = tasks.load(manifest.task)
        origin = manifest.lineage.trained_on or "unknown"
        console.info(f"{task.name}: {manifest.candidate}, trained on: {origin}")
        for path in files:
            yield path, _predict_file(path, task, model)


def _predict_file(path: Path, task: Task[Any], model: Model) -> dict[str, Any]:
    try:
        return task.inference.predict(task.inference.open(path), model).as_json(task.name)
    except MienError as error:
        return {"error": str(error)}
