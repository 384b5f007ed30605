"""Follows the champions of a team's registry: polls it, and brings new bundles into the workspace.

From there `reloader.py` swaps them in as always. While the registry is away, or hands out a bundle
that is not the one it names, nothing changes: the last good bundle is served, and /health and the
metrics say so.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mien import tasks
from mien.config import Settings
from mien.errors import MienError, RegistryError
from mien.model.pulling import pull_alias
from mien.storage.registry_server import RegistryServer
from mien.storage.workspace import CHAMPION, Workspace

PULL_LIMIT_S = 120.0
"""Of the files of one bundle; the next poll tries again."""
_log = logging.getLogger("mien.serve")


@dataclass
class FollowedTask:
    """What the last poll for one task came to."""

    error: str | None = None
    """Why the registry's champion is not known or not here; None if it is."""
    confirmed_at: float = field(default_factory=time.monotonic)
    """When it was known and here last, or when the polls began."""

    @property
    def age_s(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self.confirmed_at


class RegistryFollower:
    """Polls one registry for the champions of some tasks."""

    def __init__(
        self, server: RegistryServer, workspace: Workspace, names: Sequence[str], interval_s: float
    ) -> None:
        self._server = server
        self._workspace = workspace
        self._interval_s = interval_s
        self.tasks = {name: FollowedTask() for name in names}

    @classmethod
    def started(
        cls, workspace: Workspace, names: Sequence[str], settings: Settings
    ) -> "RegistryFollower | None":
        """A follower that has polled once; None where the settings name no registry.

        Without names it follows every task that has a champion in the registry or here.

        Raises:
            ConfigError: the address cannot be used.
            RegistryError: no champion is here afterwards.
        """
        if not settings.registry:
            return None
        server = RegistryServer.at(settings.registry, settings, "--registry (MIEN_REGISTRY)")
        every = [tasks.load(name).name for name in names] or list(tasks.names())
        follower = cls(server, workspace, every, settings.registry_interval_s)
        follower.poll()
        champions = [name for name in every if CHAMPION in workspace.aliases(name)]
        if not champions:
            reasons = " ".join(str(each.error) for each in follower.tasks.values())
            raise RegistryError(f"There is no champion to serve. {reasons}")
        if not names:
            follower.tasks = {name: follower.tasks[name] for name in champions}
        return follower

    def thread(self, stop: threading.Event) -> threading.Thread:
        """A thread that runs it; the registry may hang, and the process need not wait for it."""
        return threading.Thread(target=self.run, args=(stop,), name="mien-registry", daemon=True)

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop` is set; a failed poll does not end the polling."""
        while not stop.wait(self._interval_s):
            try:
                self.poll()
            except Exception:  # noqa: BLE001 - it is logged, and the next poll may succeed
                _log.exception("polling the registry failed")

    def poll(self) -> None:
        """Bring every champion here that changed; note what cannot be."""
        for name, task in self.tasks.items():
            try:
                pulled = pull_alias(name, CHAMPION, self._server, self._workspace, PULL_LIMIT_S)
            except (MienError, OSError) as error:
                if task.error is None:
                    _log.warning("%s does not follow the registry: %s", name, error)
                task.error = str(error)
                continue
            if task.error is not None:
                _log.info("%s follows the registry again", name)
            task.error, task.confirmed_at = None, time.monotonic()
            if pulled.fresh:
                _log.info("%s version %s was pulled", name, pulled.number)

    def as_json(self) -> dict[str, Any]:
        """What /health says: everybody may read it, so the registry's address stays in the log."""
        address = self._server.address
        return {
            "tasks": {
                name: {
                    "followed": task.error is None,
                    "reason": task.error and task.error.replace(address, "the registry"),
                    "age_s": task.age_s,
                }
                for name, task in self.tasks.items()
            },
        }
