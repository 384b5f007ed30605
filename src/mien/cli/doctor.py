"""The commands that check an installation, and the repository."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, Json, app


@app.command(rich_help_panel="Deployment")
def doctor(
    target: Annotated[
        str, typer.Option("--for", help="What it is for: local, compose or cloud-run.")
    ] = "local",
    image: Annotated[
        str | None, typer.Option(help="A container image of this machine to check, too.")
    ] = None,
    project: Annotated[Path, typer.Option(help="The folder of docker-compose.yml.")] = Path(),
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Name what this installation lacks for its use; exit status 1 if a check fails."""
    from mien.stages import doctor as stage

    results = stage.examine(stage.installation(project, home, stage.target(target), image))
    if as_json:
        console.document([each.model_dump() for each in results], indent=1)
    else:
        stage.show(results)
    if not stage.is_healthy(results):
        raise typer.Exit(1)


@app.command(rich_help_panel="Deployment")
def evidence() -> None:
    """Run the checklist of a course on mien's clone, and write reports/README.md."""
    from mien.stages import evidence as stage

    raise typer.Exit(stage.collect())
