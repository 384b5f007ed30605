"""Which bundles are served, and the state of each: loading, ready or failed.

Knows the workspace and the contract of tasks; knows nothing of HTTP. How a bundle becomes a model
is in `loading.py`, when another one takes its place in `watch.py`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mien import tasks
from mien.errors import BundleError, ConfigError, MienError, RegistryError, UnknownTaskError
from mien.model import bundle
from mien.stages.serve import loading
from mien.stages.serve.errors import NotReadyError
from mien.stages.serve.loading import Served, Wanted
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Task

State = Literal["loading", "ready", "failed"]
Everywhere = Callable[[Callable[[], object]], None]
"""Runs a function once in every thread that will answer requests."""
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class Broken:
    """A bundle folder of which not even the task can be told."""

    folder: Path
    reason: str


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
        names = [name for name in tasks.names() if CHAMPION in workspace.aliases(name)]
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
    number = workspace.aliases(name).get(CHAMPION)
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
    refused: str | None = None
    """Why the newest bundle is not served, where an older one goes on in its place."""

    @property
    def alias(self) -> str:
        """The registry's alias under which it is served."""
        return CHAMPION if isinstance(self.wanted, Wanted) and self.wanted.version else "none"

    @property
    def name(self) -> str:
        """The task's name, or the folder's where no task can be told."""
        return self.wanted.task.name if isinstance(self.wanted, Wanted) else self.wanted.folder.name


@dataclass
class Models:
    """Everything that is to be served. One thread loads, others read."""

    wanted: Sequence[Wanted | Broken]
    most: int = 1
    """How many questions a model may answer together."""
    entries: list[Entry] = field(init=False)
    leaving: bool = False
    """Whether the server was told to end: it answers, and wants no more to be sent."""

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
        self, everywhere: Everywhere, begin: Callable[[Served], None], stop: Callable[[], bool]
    ) -> None:
        """Load one model after the other, until told to `stop`; a failure is kept, not raised.

        `begin` is called with each model before the first question can reach it.
        """
        for entry in self.entries:
            if stop():
                return
            if isinstance(entry.wanted, Wanted):
                self.take(entry, entry.wanted, everywhere, begin)

    def take(
        self,
        entry: Entry,
        wanted: Wanted,
        everywhere: Everywhere,
        begin: Callable[[Served], None],
    ) -> bool:
        """Load a model and let it answer in place of the entry's present one, if it is sound.

        Nobody waits: a question that is being answered keeps its model, which is freed when the
        last one is done. A refused bundle leaves everything as it is.
        """
        fault = None
        try:
            served = loading.load(wanted, everywhere, self.most)
            begin(served)
        except MienError as error:
            fault = str(error).replace(str(wanted.folder), wanted.folder.name)
        except Exception as error:  # noqa: BLE001 - a task's own code may fail in any way
            fault = f"the warm-up failed with {type(error).__name__}; the log has the traceback"
            _log.error("%s failed its warm-up", wanted.folder, exc_info=error)
        if fault is None:
            entry.wanted, entry.served, entry.state = wanted, served, "ready"
            entry.reason = entry.refused = None
        elif entry.served is None:
            entry.state, entry.reason = "failed", fault
            _log.error("%s is not served: %s", entry.name, fault)
        else:
            entry.refused = fault
        return fault is None

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
