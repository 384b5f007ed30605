"""The served models, and the state of each: loading, ready or failed.

Knows the workspace and the contract of tasks; knows nothing of HTTP. `loading.py` makes a model
of a bundle, `reloader.py` notices new bundles.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mien import tasks
from mien.errors import BundleError, ConfigError, MienError, RegistryError, UnknownTaskError
from mien.model import bundle
from mien.stages.serve import loading
from mien.stages.serve.errors import NotReadyError
from mien.stages.serve.loading import BundleSource, LoadedModel
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Task

State = Literal["loading", "ready", "failed"]
RunOnAllThreads = Callable[[Callable[[], object]], object]
"""Runs a function once in every worker thread."""
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class InvalidBundle:
    """A bundle folder whose task cannot be read."""

    folder: Path
    reason: str


def resolve_sources(
    workspace: Workspace, names: Sequence[str], folders: Sequence[Path]
) -> list[BundleSource | InvalidBundle]:
    """Find the bundles to serve: champions of tasks and bundle folders, or else all champions.

    Raises:
        UnknownTaskError: there is no task of that name.
        RegistryError: a task has no champion, or no task has one.
        ConfigError: a task is named twice.
    """
    if not names and not folders:
        names = [name for name in tasks.names() if CHAMPION in workspace.aliases(name)]
        if not names:
            raise RegistryError(
                f"There is no champion in {workspace.home.resolve()} to serve. "
                "Train one with `mien run`, or name a bundle with `--bundle FOLDER`."
            )
    sources = [_champion(workspace, name) for name in names] + [_read(path) for path in folders]
    served = [source.task.name for source in sources if isinstance(source, BundleSource)]
    duplicates = sorted({name for name in served if served.count(name) > 1})
    if duplicates:
        raise ConfigError(
            f"{', '.join(duplicates)}: expected one model for each task, found two. Name it once."
        )
    return sources


def _champion(workspace: Workspace, name: str) -> BundleSource:
    task = tasks.load(name)
    number = workspace.aliases(name).get(CHAMPION)
    if number is None:
        raise RegistryError(
            f"The task {name!r} has no champion in {workspace.home.resolve()}. Train one with "
            f"`mien run`, or choose one with `mien promote {name} VERSION`."
        )
    return BundleSource(task, workspace.version(name, number), str(number))


def _read(folder: Path) -> BundleSource | InvalidBundle:
    try:
        return BundleSource(tasks.load(bundle.read(folder).manifest.task), folder)
    except (BundleError, UnknownTaskError) as error:
        return InvalidBundle(folder, str(error))


@dataclass
class ModelSlot:
    """The place of one task's model."""

    source: BundleSource | InvalidBundle
    state: State = "loading"
    reason: str | None = None
    """Why no model is served."""
    model: LoadedModel | None = None
    reload_error: str | None = None
    """Why the newest bundle is refused, while an older model is still served."""

    @property
    def alias(self) -> str:
        """The registry's alias of the model; `none` for a bundle folder."""
        return CHAMPION if isinstance(self.source, BundleSource) and self.source.version else "none"

    @property
    def name(self) -> str:
        """The task's name, or the folder's where the task cannot be read."""
        if isinstance(self.source, BundleSource):
            return self.source.task.name
        return self.source.folder.name

    @property
    def task(self) -> Task[Any] | None:
        """None where it cannot be read."""
        return self.source.task if isinstance(self.source, BundleSource) else None

    def notice(self, own: str) -> str | None:
        """What people must read before a camera shows them to the task; `own` replaces its text."""
        task = self.task
        return (own or task.notice) if task and task.notice and own != "off" else None

    def as_json(self, notice: str = "") -> dict[str, Any]:
        """One entry of the health report; `notice` is the operator's own, see `notice`."""
        model, task = self.model, self.task
        return {
            "task": self.name,
            "name": f"mien-{self.name}",
            "version": model.version if model else None,
            "candidate": model.candidate if model else None,
            "digest": model.digest if model else None,
            "model_sha256": model.model.bundle.model_sha256 if model else None,
            "labels": list(model.labels) if model else [],
            "trained_on": model.trained_on if model else None,
            "intended_use": task.intended_use if task else None,
            "forbidden_use": task.forbidden_use if task else None,
            "notice": self.notice(notice),
            "state": self.state,
            "reason": self.reason,
            "reload_error": self.reload_error,
            "golden": asdict(model.golden) if model else None,
        }


@dataclass
class Models:
    """All served models. One thread loads, others read."""

    sources: Sequence[BundleSource | InvalidBundle]
    max_batch_size: int = 1
    slots: list[ModelSlot] = field(init=False)
    draining: bool = False
    """Whether the server shuts down: it still answers, and asks for no more requests."""

    def __post_init__(self) -> None:
        self.slots = [
            ModelSlot(source, "failed", source.reason)
            if isinstance(source, InvalidBundle)
            else ModelSlot(source)
            for source in self.sources
        ]

    @property
    def tasks(self) -> list[Task[Any]]:
        """The tasks in the order in which they were given at the start."""
        return [slot.source.task for slot in self.slots if isinstance(slot.source, BundleSource)]

    @property
    def ready(self) -> list[str]:
        """Names of the tasks whose model is ready."""
        return [slot.name for slot in self.slots if slot.state == "ready"]

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """What each model that is ready predicts, by task."""
        return {slot.name: slot.model.labels for slot in self.slots if slot.model is not None}

    @property
    def origins(self) -> dict[str, str]:
        """What each model that is ready was trained on, by task."""
        models = {slot.name: slot.model for slot in self.slots if slot.model is not None}
        return {name: model.trained_on or "unknown" for name, model in models.items()}

    @property
    def loading(self) -> bool:
        return any(slot.state == "loading" for slot in self.slots)

    @property
    def reason(self) -> str | None:
        """Why not every model is ready; None when all are."""
        missing = [slot for slot in self.slots if slot.state != "ready"]
        return "; ".join(f"{each.name}: {each.reason or each.state}" for each in missing) or None

    def find(self, task_name: str) -> LoadedModel:
        """Return the model of a task.

        Raises:
            UnknownTaskError: the task is not served.
            NotReadyError: the model is still being loaded, or could not be loaded.
        """
        for slot in self.slots:
            if isinstance(slot.source, BundleSource) and slot.name == task_name:
                if slot.model is not None:
                    return slot.model
                fault = "could not be loaded; GET /health has the reason"
                state = fault if slot.state == "failed" else "is still being loaded"
                raise NotReadyError(f"The model of {task_name} {state}.")
        served = ", ".join(task.name for task in self.tasks) or "none"
        raise UnknownTaskError(f"This server serves these tasks: {served}.")

    def load(
        self,
        run_on_all_threads: RunOnAllThreads,
        on_ready: Callable[[LoadedModel], None],
        is_stopped: Callable[[], bool],
    ) -> None:
        """Load one model after the other; a failure is stored in its slot, not raised.

        `on_ready` is called with each model before its first request.
        """
        for slot in self.slots:
            if is_stopped():
                return
            if isinstance(slot.source, BundleSource) and slot.source.is_missing:
                slot.state, slot.reason = "failed", "there is no model yet"
            elif isinstance(slot.source, BundleSource):
                self.swap_in(slot, slot.source, run_on_all_threads, on_ready)

    def swap_in(
        self,
        slot: ModelSlot,
        source: BundleSource,
        run_on_all_threads: RunOnAllThreads,
        on_ready: Callable[[LoadedModel], None],
    ) -> bool:
        """Load a model and replace the slot's present one, if the new one is valid.

        No request waits: a running one keeps its model, which is freed after its last request. A
        refused bundle changes nothing.
        """
        error_text = None
        try:
            model = loading.load(source, run_on_all_threads, self.max_batch_size)
            on_ready(model)
        except MienError as error:
            error_text = str(error).replace(str(source.folder), source.folder.name)
        except Exception as error:  # noqa: BLE001 - a task's own code may fail in any way
            error_text = (
                f"the warm-up failed with {type(error).__name__}; the log has the traceback"
            )
            _log.error("%s failed its warm-up", source.folder, exc_info=error)
        if error_text is None:
            slot.source, slot.model, slot.state = source, model, "ready"
            slot.reason = slot.reload_error = None
        elif slot.model is None:
            slot.state, slot.reason = "failed", error_text
            _log.error("%s is not served: %s", slot.name, error_text)
        else:
            slot.reload_error = error_text
        return error_text is None

    def close(self) -> None:
        """Close every model; none may be used afterwards."""
        for slot in self.slots:
            if slot.model is not None:
                slot.model.model.close()


def log_loaded(loaded: Models, address: str) -> None:
    """Print what is served, and what law forbids to do with it where a task has a notice."""
    if loaded.ready:
        _log.info("mien serves %s on %s", ", ".join(loaded.ready), address)
    else:
        _log.error("mien serves no model on %s: %s", address, loaded.reason)
    for task in loaded.tasks:
        if task.notice:
            _log.warning("%s: forbidden use: %s", task.name, task.forbidden_use or task.notice)
