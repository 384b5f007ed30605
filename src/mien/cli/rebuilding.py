"""Commands that make a registered version again from its own record."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, app, workspace_at

Model = Annotated[str, typer.Argument(help="TASK, TASK@ALIAS or TASK:VERSION; default @champion.")]
Build = Annotated[
    bool, typer.Option("--build", help="Install the recorded packages where others are here.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@app.command(rich_help_panel="Rebuilding")
def reproduce(
    model: Model,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the scratch workspace in this new folder.")
    ] = None,
    build: Build = False,
    present: Annotated[
        bool, typer.Option("--present", help="Use the present code and packages, whatever differs.")
    ] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a version again from its record: the same bytes, or the first stage that differs."""
    from mien.stages import rebuild as stage

    done = stage.reproduce(model, workspace_at(home), stage.RebuildOptions(keep, build, present))
    named = f"{done.model} version {done.version} ({done.candidate})"
    console.result(json.dumps(done.as_json()) if as_json else f"{named}: {done.verdict}")
    if not done.passed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Rebuilding")
def certify(model: Model, build: Build = False, as_json: Json = False, home: Home = None) -> None:
    """Make a version again twice, and write the result to its card."""
    from mien.stages import rebuild as stage

    done, written = stage.certify(model, workspace_at(home), build)
    told = "written to its card" if written else "nothing was written: it could not be rebuilt"
    words = f"{done.model} version {done.version} ({done.candidate}): {done.verdict}; {told}"
    console.result(json.dumps({**done.as_json(), "written": written}) if as_json else words)
    if not done.passed:
        raise typer.Exit(1)
