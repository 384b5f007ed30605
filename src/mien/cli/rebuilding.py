"""Commands that rebuild a registered version from its own record."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, Json, app, workspace_at

Model = Annotated[str, typer.Argument(help="TASK, TASK@ALIAS or TASK:VERSION; default @champion.")]
Build = Annotated[
    bool, typer.Option("--build", help="Install the recorded packages if others are present.")
]


@app.command(rich_help_panel="Rebuilding")
def reproduce(
    model: Model,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the scratch workspace in this new folder.")
    ] = None,
    build: Build = False,
    present: Annotated[
        bool, typer.Option("--present", help="Use the present code and packages.")
    ] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Rebuild a version from its record; print the first stage that differs."""
    with console.bar("start"):
        from mien.stages import rebuild as stage

    options = stage.RebuildOptions(keep, build, present)
    outcome = stage.reproduce(model, workspace_at(home), options)
    name = f"{outcome.model} version {outcome.version} ({outcome.candidate})"
    if as_json:
        console.document(outcome.as_json())
    else:
        console.result(f"{name}: {outcome.verdict}")
    if not outcome.passed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Rebuilding")
def certify(model: Model, build: Build = False, as_json: Json = False, home: Home = None) -> None:
    """Rebuild a version twice and write the result to its card."""
    with console.bar("start"):
        from mien.stages import rebuild as stage

    outcome, written = stage.certify(model, workspace_at(home), build)
    name = f"{outcome.model} version {outcome.version} ({outcome.candidate})"
    note = "written to its card" if written else "not written: it could not be rebuilt"
    if as_json:
        console.document({**outcome.as_json(), "written": written})
    else:
        console.result(f"{name}: {outcome.verdict}; {note}")
    if not outcome.passed:
        raise typer.Exit(1)
