"""Looks for other models while a server runs, and has them take the place of the present ones.

A task's champion is followed by the workspace's aliases, a bundle folder by what lies in it. What
cannot be read, or is no sound model, changes nothing: the log and a metric tell, and the next look
after a change tries again.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.stages.serve.loading import Served, Wanted, apart
from mien.stages.serve.models import Entry, Models
from mien.storage.workspace import CHAMPION, Workspace

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, inode, time stamp and size of each file of a folder."""
_log = logging.getLogger("mien.serve")


class Watch:
    """One thread that looks every `seconds`; never, where they are 0."""

    def __init__(
        self,
        models: Models,
        workspace: Workspace,
        seconds: float,
        begin: Callable[[Served], None],
        told: Callable[[str, bool], None],
    ) -> None:
        """`begin` is called with a model before its first question, `told` with the name of a task
        and whether a new model of it was taken."""
        self._models = models
        self._workspace = workspace
        self._seconds = seconds
        self._begin = begin
        self._told = told
        self._blind: set[str] = set()
        # What is about to be loaded, which the aliases may no longer name.
        self._seen = {id(entry): _present(entry) for entry in models.entries}

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop; whatever it finds, it goes on looking."""
        while self._seconds and not stop.wait(self._seconds):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - it is logged, and the next look may be better
                _log.exception("the look for other models failed")

    def look(self) -> None:
        """Take every model that is another one than at the last look."""
        for entry in self._models.entries:
            found = self._look_at(entry)
            if found is not None and found != self._seen[id(entry)]:
                self._seen[id(entry)] = found
                self._take(entry, found[0])

    def _take(self, entry: Entry, wanted: Wanted) -> None:
        before = entry.served
        named = before is not None and wanted.version in (None, before.version)
        if before and named and _digest(wanted.folder) == before.digest:
            entry.refused = None
            return  # touched, written again, or the alias is back: the same as is served
        taken = self._models.take(entry, wanted, apart, self._begin)
        self._told(entry.name, taken)
        if taken and entry.served is not None:
            instead = f" in place of {before.version}" if before else ""
            _log.info("mien serves %s version %s%s", entry.name, entry.served.version, instead)
        elif before:
            _log.error("%s stays at version %s: %s", entry.name, before.version, entry.refused)

    def _look_at(self, entry: Entry) -> tuple[Wanted, Signature] | None:
        """What the entry should serve now; None where that cannot be told."""
        if not isinstance(entry.wanted, Wanted):
            return None
        try:
            wanted = self._now(entry.wanted)
            found = wanted, _signature(wanted.folder)
        except (OSError, RegistryError, ValueError, OverflowError, RecursionError) as error:
            if entry.name not in self._blind:
                _log.warning("%s is not watched for other models: %s", entry.name, error)
            self._blind.add(entry.name)
            return None
        self._blind.discard(entry.name)
        return found

    def _now(self, wanted: Wanted) -> Wanted:
        if wanted.version is None:
            return wanted  # a folder of its own
        name = wanted.task.name
        number = self._workspace.aliases(name).get(CHAMPION)
        if number is None:
            raise RegistryError(f"mien-{name} has no champion any more")
        return replace(wanted, folder=self._workspace.version(name, number), version=str(number))


def _present(entry: Entry) -> tuple[Wanted, Signature] | None:
    if not isinstance(entry.wanted, Wanted):
        return None
    try:
        return entry.wanted, _signature(entry.wanted.folder)
    except OSError:
        return None


def _signature(folder: Path) -> Signature:
    """Raises OSError where there is no such folder."""
    files = []
    for root, _, names in os.walk(folder, onerror=_fail):
        for name in names:
            facts = os.lstat(os.path.join(root, name))  # noqa: PTH118 - a second of many looks
            files.append((f"{root}/{name}", facts.st_ino, facts.st_mtime_ns, facts.st_size))
    return tuple(sorted(files))


def _fail(error: OSError) -> None:
    raise error


def _digest(folder: Path) -> str | None:
    try:
        return bundle.read(folder).digest
    except (BundleError, OSError, RecursionError):
        return None
