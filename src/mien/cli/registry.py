"""Commands about tasks, versions and who serves."""

from typing import Annotated

import typer

from mien import tasks
from mien.reporting import console

from .options import Force, Home, Why, app, workspace_at


@app.command("tasks", rich_help_panel="Registry")
def list_tasks() -> None:
    """List what mien can learn."""
    found = [tasks.load(name) for name in tasks.names()]
    rows = [[task.name, str(len(task.labels)), task.summary] for task in found]
    console.table("Tasks", ["task", "labels", "summary"], rows)


@app.command(rich_help_panel="Registry")
def models(
    task: Annotated[str | None, typer.Argument(help="Default: all tasks.")] = None,
    home: Home = None,
) -> None:
    """List registered versions, and who moved the aliases when."""
    from mien.stages.register import show

    for name in [tasks.load(task).name] if task else tasks.names():
        show(name, workspace_at(home))


@app.command(rich_help_panel="Registry")
def promote(
    task: str, version: int, why: Why = "by hand", force: Force = None, home: Home = None
) -> None:
    """Make a registered version the champion."""
    from mien.stages.register import promote as stage

    name, workspace = tasks.load(task).name, workspace_at(home)
    with workspace.locked(name):
        stage(name, version, why, workspace, force)
    console.result(f"mien-{task} version {version} is champion")


@app.command(rich_help_panel="Registry")
def rollback(task: str, why: Why = "by hand", force: Force = None, home: Home = None) -> None:
    """Make the champion before the present one champion again."""
    from mien.stages.register import rollback as stage

    name, workspace = tasks.load(task).name, workspace_at(home)
    with workspace.locked(name):
        number = stage(name, why, workspace, force)
    console.result(f"mien-{task} version {number} is champion")
