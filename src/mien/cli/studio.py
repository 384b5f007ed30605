"""`mien studio`: wires the stage studio to the service and to the pipeline."""

import secrets
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from pydantic import SecretStr

from mien import pipeline, tasks
from mien.config import RunConfig, Settings
from mien.errors import ConfigError
from mien.reporting import console
from mien.stages.serve import app
from mien.stages.serve.extension import Extension
from mien.stages.serve.loading import BundleSource
from mien.stages.studio.studio import Studio
from mien.storage.files import locked
from mien.storage.workspace import CHAMPION, Workspace

NAME = "studio"
"""Of the client whose key is printed, of the page and of the runs."""
REASON = "kept in the studio"
"""The reason in the registry's history where there was no champion."""
_RELOAD_INTERVAL_S = 0.5


def serve_studio(workspace: Workspace, settings: Settings) -> None:
    """Serve the page of the studio until SIGTERM or SIGINT, and print its address with the key.

    Raises:
        MienError: there is no task to record, or the address cannot be used.
    """
    settings, key = with_key(settings)

    studio = open_studio(workspace)

    def on_ready(address: str) -> None:
        Thread(target=studio.warm_up, name="mien-warm-up", daemon=True).start()
        console.result(f"open {address}/{NAME}#key={key}")
        console.info("Who has this address can use the studio. Serving until Ctrl-C")

    lock = workspace.home / "data" / NAME / "lock"
    with locked(lock, "Another studio is open in this workspace; waiting for its end."):
        app.run_extended(workspace, extension(studio), settings, on_ready)


def with_key(settings: Settings) -> tuple[Settings, str]:
    """The settings with a generated key beside those of the user, and that key."""
    key = secrets.token_urlsafe(24)
    own = settings.api_keys.get_secret_value()
    keys = ",".join(filter(None, [own, f"{NAME}:{key}"]))
    update = {"api_keys": SecretStr(keys), "reload_interval_s": _RELOAD_INTERVAL_S}
    return settings.model_copy(update=update), key


def extension(studio: Studio) -> Extension:
    """What the service serves of a studio."""
    source = BundleSource(studio.task, studio.served, awaited=True)
    return Extension((source,), f"/{NAME}", studio.calls)


def open_studio(workspace: Workspace) -> Studio:
    """The studio of the first task whose samples people can record.

    Raises:
        ConfigError: there is none.
    """
    every = map(tasks.load, tasks.names())
    task = next((each for each in every if each.recordable), None)
    if task is None or task.recordable is None:
        raise ConfigError("The studio: expected a task that can be recorded, found none.")
    name = task.name

    def config(source: Path, max_risk: float) -> RunConfig:
        is_shipped = name in tasks.configs()
        run = tasks.run_config(name) if is_shipped else RunConfig(name=NAME, task=name)
        policy = run.policy.model_copy(update={"max_risk": max(run.policy.max_risk, max_risk)})
        return run.model_copy(update={"name": NAME, "source": str(source), "policy": policy})

    def train(source: Path, max_risk: float, adopt: Callable[[Path], None]) -> None:
        pipeline.try_out(config(source, max_risk), workspace, adopt)

    def keep(source: Path) -> str:
        first = CHAMPION not in workspace.aliases(name)
        force = REASON if first else None  # a champion is replaced by the policy alone
        return pipeline.register_choice(config(source, 0.0), workspace, force)[0].summary

    return Studio(task, task.recordable, workspace, train, keep)
