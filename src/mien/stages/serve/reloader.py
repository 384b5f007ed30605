"""Polls for new bundles while a server runs, and swaps their models in.

A task's champion is found by the aliases of the workspace, a bundle folder by its content. An
unreadable or invalid bundle changes nothing: it is logged and counted, and the next change is
tried again.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.stages.serve.loading import BundleSource, LoadedModel, run_with_timeout
from mien.stages.serve.models import Models, ModelSlot
from mien.storage.workspace import CHAMPION, Workspace

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, inode, time stamp and size of each file of a folder."""
_log = logging.getLogger("mien.serve")


class ModelReloader:
    """Polls every `interval_s` seconds; never, where that is 0."""

    def __init__(
        self,
        models: Models,
        workspace: Workspace,
        interval_s: float,
        on_ready: Callable[[LoadedModel], None],
        on_reload: Callable[[str, bool], None],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_ready` is called with a model before its first request, `on_reload` with the name of
        a task and whether its new model was swapped in, `on_poll` after each poll."""
        self._models = models
        self._workspace = workspace
        self._interval_s = interval_s
        self._on_ready = on_ready
        self._on_reload = on_reload
        self._on_poll = on_poll
        self._unreadable: set[str] = set()
        # The sources that are about to be loaded; the aliases may change meanwhile.
        self._last = {id(slot): _present(slot) for slot in models.slots}

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop` is set; a failed poll does not end the polling."""
        while self._interval_s and not stop.wait(self._interval_s):
            try:
                self.poll()
            except Exception:  # noqa: BLE001 - it is logged, and the next poll may succeed
                _log.exception("polling for new models failed")

    def poll(self) -> None:
        """Load every model that changed since the last poll."""
        for slot in self._models.slots:
            current = self._current(slot)
            if current is not None and current != self._last[id(slot)]:
                self._last[id(slot)] = current
                self._reload(slot, current[0])
        self._on_poll()

    def _reload(self, slot: ModelSlot, source: BundleSource) -> None:
        before = slot.model
        same_name = before is not None and source.version in (None, before.version)
        if before and same_name and _digest(source.folder) == before.digest:
            slot.reload_error = None
            return  # written again, or the alias is back: the same model as before
        loaded = self._models.swap_in(slot, source, run_with_timeout, self._on_ready)
        self._on_reload(slot.name, loaded)
        if loaded and slot.model is not None:
            replaced = f" in place of {before.version}" if before else ""
            _log.info("mien serves %s version %s%s", slot.name, slot.model.version, replaced)
        elif before:
            _log.error("%s stays at version %s: %s", slot.name, before.version, slot.reload_error)

    def _current(self, slot: ModelSlot) -> tuple[BundleSource, Signature] | None:
        """What the slot should serve now; None where that cannot be read."""
        if not isinstance(slot.source, BundleSource) or slot.source.is_missing:
            return None
        try:
            source = self._champion(slot.source)
            current = source, _signature(source.folder)
        except (OSError, RegistryError, ValueError, OverflowError, RecursionError) as error:
            if slot.name not in self._unreadable:
                _log.warning("%s is not polled for new models: %s", slot.name, error)
            self._unreadable.add(slot.name)
            if slot.model is not None:
                slot.reload_error = str(error)
            return None
        if slot.name in self._unreadable:
            self._unreadable.discard(slot.name)
            slot.reload_error = None
        return current

    def _champion(self, source: BundleSource) -> BundleSource:
        if source.version is None:
            return source  # a folder outside of the registry
        name = source.task.name
        number = self._workspace.aliases(name).get(CHAMPION)
        if number is None:
            raise RegistryError(
                f"mien-{name} no longer has a champion; `mien models {name}` says why"
            )
        folder = self._workspace.version(name, number)
        if not folder.is_dir():
            raise RegistryError(f"the bundle of version {number} of mien-{name} is missing")
        return replace(source, folder=folder, version=str(number))


def _present(slot: ModelSlot) -> tuple[BundleSource, Signature] | None:
    if not isinstance(slot.source, BundleSource):
        return None
    try:
        return slot.source, _signature(slot.source.folder)
    except OSError:
        return None


def _signature(folder: Path) -> Signature:
    """Raises OSError where there is no such folder."""
    files = []
    for root, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            stat = os.lstat(os.path.join(root, name))  # noqa: PTH118 - a second of many polls
            files.append((f"{root}/{name}", stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(files))


def _raise(error: OSError) -> None:
    raise error


def _digest(folder: Path) -> str | None:
    try:
        return bundle.read(folder).digest
    except (BundleError, OSError, RecursionError):
        return None
