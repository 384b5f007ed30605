"""`mien pull`: a model of others, a public one or the team's, without a training."""

from typing import Annotated

import typer

from mien.errors import ConfigError
from mien.reporting import console

from .options import Force, Home, app, workspace_at


@app.command(rich_help_panel="Registry")
def pull(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK[@ALIAS]", help="The task; of a team's registry, also an alias of it."
        ),
    ],
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="The team's MLflow server, http://HOST:PORT: bring the bundle of the alias "
            "(default: champion) here, verified. Needs no MLflow.",
        ),
    ] = None,
    force: Force = None,
    home: Home = None,
) -> None:
    """Register a model without data of yours: a public one or one of drawings; or fetch a team's.

    With --registry nothing is registered: the folder can be served, and the server has the truth.
    """
    name, _, alias = task.partition("@")
    if registry is not None:
        _pull_from(registry, name, alias, home)
        return
    if alias:
        raise ConfigError(f"TASK: expected a task, found {task!r}. An alias needs --registry.")
    with console.bar("start"):
        from mien import pipeline, tasks

    registration = pipeline.pull(tasks.load(task), workspace_at(home), force)
    console.result(f"mien-{task} {registration.summary}")


def _pull_from(address: str, task: str, alias: str, home: Home) -> None:
    from mien import config, tasks
    from mien.model.pulling import pull_alias
    from mien.storage.registry_server import RegistryServer
    from mien.storage.workspace import CHAMPION

    settings = config.settings()
    server = RegistryServer.at(address, settings, "--registry")
    name, workspace = tasks.load(task).name, workspace_at(home, settings)
    with console.bar(f"{name}: pull"), workspace.locked(name):
        pulled = pull_alias(name, alias or CHAMPION, server, workspace)
    state = "was fetched" if pulled.fresh else "is here already"
    console.result(
        f"mien-{name} version {pulled.number}, {alias or CHAMPION} of {server.address}, {state}: "
        f"{pulled.folder}, digest {pulled.digest[:12]}"
    )
