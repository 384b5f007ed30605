"""Which bundles are served, and the state of each: loading, ready or failed.

Knows the workspace, bundles and the contract of tasks; knows nothing of HTTP.
"""

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from mien import bundle, drift, runtime, tasks
from mien.errors import (
    BundleError,
    ConfigError,
    MienError,
    RegistryError,
    RequestError,
    UnknownTaskError,
)
from mien.images import Pixels
from mien.runtime import Model
from mien.stages.serve.errors import NotReadyError
from mien.task import Request, Task
from mien.workspace import Workspace

State = Literal["loading", "ready", "failed"]
REFERENCE = "reference.json"
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class Wanted:
    """A bundle that shall be served. `version` is None where only its digest can tell."""

    task: Task[Any]
    folder: Path
    version: str | None = None


@dataclass(frozen=True)
class Broken:
    """A bundle folder of which not even the task can be told."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Served:
    """A model that has answered its warm-up."""

    task: Task[Any]
    model: Model
    version: str
    picture: bytes
    """The task's own drawn picture, as a PNG file."""
    reference: Mapping[str, Any] | None
    """Distributions of the validation data; None for a bundle without any."""
    load_seconds: float
    created: float
    """When the bundle was written, in seconds since 1970."""

    @property
    def name(self) -> str:
        """The model's name in the registry."""
        return f"mien-{self.task.name}"

    @property
    def candidate(self) -> str:
        return self.model.bundle.manifest.candidate

    @property
    def digest(self) -> str:
        return self.model.bundle.digest


def choose(
    workspace: Workspace, names: Sequence[str], folders: Sequence[Path]
) -> list[Wanted | Broken]:
    """Resolve what was asked for: champions of tasks, bundle folders, or all champions.

    Raises:
        UnknownTaskError: a task was asked for by a name that no task has.
        RegistryError: a task has no champion, or no task has one.
        ConfigError: one task is asked for twice.
    """
    if not names and not folders:
        names = [name for name in tasks.names() if "champion" in workspace.aliases(name)]
        if not names:
            raise RegistryError(
                f"There is no champion in {workspace.home.resolve()} to serve. "
                "Train one with `mien run`, or name a bundle with `--bundle FOLDER`."
            )
    wanted = [_champion(workspace, name) for name in names] + [_folder(path) for path in folders]
    found = [item.task.name for item in wanted if isinstance(item, Wanted)]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ConfigError(f"{', '.join(twice)} is to be served twice; one model a task is served.")
    return wanted


def _champion(workspace: Workspace, name: str) -> Wanted:
    task = tasks.load(name)
    number = workspace.aliases(name).get("champion")
    if number is None:
        raise RegistryError(
            f"The task {name!r} has no champion in {workspace.home.resolve()}. Train one with "
            f"`mien run`, or choose one with `mien promote {name} VERSION`."
        )
    return Wanted(task, workspace.version(name, number), str(number))


def _folder(folder: Path) -> Wanted | Broken:
    try:
        return Wanted(tasks.load(bundle.read(folder).manifest.task), folder)
    except (BundleError, UnknownTaskError) as error:
        return Broken(folder, str(error))


@dataclass
class Entry:
    """One line of the health report."""

    wanted: Wanted | Broken
    state: State = "loading"
    reason: str | None = None
    served: Served | None = None

    @property
    def alias(self) -> str:
        """The registry's alias under which it is served."""
        return "champion" if isinstance(self.wanted, Wanted) and self.wanted.version else "none"

    @property
    def name(self) -> str:
        """The task's name, or the folder's where no task can be told."""
        return self.wanted.task.name if isinstance(self.wanted, Wanted) else self.wanted.folder.name


@dataclass
class Models:
    """Everything that is to be served. One thread loads, others read."""

    wanted: Sequence[Wanted | Broken]
    entries: list[Entry] = field(init=False)
    _stopped: bool = False

    def __post_init__(self) -> None:
        self.entries = [
            Entry(item, "failed", item.reason) if isinstance(item, Broken) else Entry(item)
            for item in self.wanted
        ]

    @property
    def tasks(self) -> list[Task[Any]]:
        """The tasks in the order in which the server was started with them."""
        return [entry.wanted.task for entry in self.entries if isinstance(entry.wanted, Wanted)]

    @property
    def ready(self) -> list[str]:
        """Names of the tasks that are answered."""
        return [entry.name for entry in self.entries if entry.state == "ready"]

    @property
    def loading(self) -> bool:
        return any(entry.state == "loading" for entry in self.entries)

    @property
    def reason(self) -> str | None:
        """Why not every model is ready; None when all are."""
        faults = [entry for entry in self.entries if entry.state != "ready"]
        return "; ".join(f"{e.name}: {e.reason or e.state}" for e in faults) or None

    def find(self, name: str) -> Served:
        """Return the model of a task.

        Raises:
            UnknownTaskError: this server was not started with the task.
            NotReadyError: the model is still being loaded, or could not be.
        """
        for entry in self.entries:
            if isinstance(entry.wanted, Wanted) and entry.name == name:
                if entry.served is not None:
                    return entry.served
                raise NotReadyError(f"The model of {name} is {_WORDS[entry.state]}.")
        known = ", ".join(task.name for task in self.tasks) or "none"
        raise UnknownTaskError(f"This server answers for these tasks: {known}.")

    def load(
        self,
        everywhere: Callable[[Callable[[], object]], None],
        ready: Callable[[Served], None] = lambda _: None,
    ) -> None:
        """Open and warm up one model after the other; a failure is kept, not raised.

        `everywhere` runs a function once in every thread that will answer requests; `ready` is
        called with each model before the first question can reach it.
        """
        for entry in self.entries:
            if isinstance(entry.wanted, Broken) or self._stopped:
                continue
            try:
                served = _open(entry.wanted, everywhere)
                ready(served)
                entry.served = served
                entry.state = "ready"
            except MienError as error:
                entry.state, entry.reason = "failed", str(error)
            except Exception:  # noqa: BLE001  # a task's own code may fail in any way
                entry.state = "failed"
                entry.reason = "the warm-up failed; the log has the traceback"
                _log.exception("the model of %s failed its warm-up", entry.name)
            if entry.reason:
                _log.error("%s is not served: %s", entry.name, entry.reason)

    def stop(self) -> None:
        """Tell `load` to begin no further model."""
        self._stopped = True

    def close(self) -> None:
        """Close every model; none is to be used afterwards."""
        for entry in self.entries:
            if entry.served is not None:
                entry.served.model.close()


_WORDS: dict[State, str] = {
    "loading": "still being loaded",
    "ready": "ready",
    "failed": "not there, because it could not be loaded; GET /health has the reason",
}


def _open(wanted: Wanted, everywhere: Callable[[Callable[[], object]], None]) -> Served:
    start = perf_counter()
    task, model = wanted.task, runtime.load(wanted.folder)
    manifest = model.bundle.manifest
    if manifest.task != task.name:
        raise BundleError(f"{wanted.folder} holds a model of {manifest.task!r}, not {task.name!r}.")
    if manifest.labels != task.labels:
        raise BundleError(
            f"{wanted.folder} was trained for the labels {', '.join(manifest.labels)}; "
            f"{task.name} has {', '.join(task.labels)}. Train it again."
        )
    picture = task.picture().convert("RGB")
    pixels = np.asarray(picture, dtype=np.uint8)
    everywhere(lambda: _warm_up(task, model, pixels))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Served(
        task=task,
        model=model,
        version=wanted.version or model.bundle.digest[:12],
        picture=file.getvalue(),
        reference=_reference(model),
        load_seconds=perf_counter() - start,
        created=(wanted.folder / bundle.MANIFEST).stat().st_mtime,
    )


def _reference(model: Model) -> Mapping[str, Any] | None:
    path = model.path(REFERENCE)
    if path is None:
        _log.warning("%s has no %s: no drift is told of it", model.bundle.folder, REFERENCE)
        return None
    try:
        return drift.read(json.loads(path.read_text(encoding="utf-8")))
    except BundleError as error:  # a model that cannot be watched answers as well as before
        _log.warning("%s: no drift is told of it: %s", model.bundle.folder, error)
        return None


def _warm_up(task: Task[Any], model: Model, pixels: Pixels) -> None:
    try:
        task.predict(Request(image=pixels), model)
    except RequestError as refusal:
        # A model may be trained for JSON requests alone; that it refuses pictures is an answer.
        if task.Body is None:
            raise
        _log.warning("the model of %s refuses pictures: %s", task.name, refusal)
