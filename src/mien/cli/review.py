"""Inputs that a server keeps for review."""

from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, app, workspace_at


@app.command(rich_help_panel="Predictions")
def forget(
    trace_id: Annotated[str, typer.Argument(help="From the response of the server.")],
    home: Home = None,
) -> None:
    """Delete the input of an answer that is kept for review, and its labels."""
    from mien.stages import review as stage

    deleted = stage.forget(trace_id, workspace_at(home))
    console.result(f"deleted: {', '.join(deleted)}" if deleted else "nothing was kept of it")
