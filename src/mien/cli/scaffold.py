"""Commands that write what a user starts from."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .options import app


@app.command(rich_help_panel="Start")
def init(
    folder: Annotated[
        Path, typer.Argument(help="The folder of the project. Default: the current one.")
    ] = Path(),
) -> None:
    """Write a project of your own: configs, README, .gitignore, CI workflow."""
    from mien.stages import scaffold

    for path in scaffold.write_project(folder):
        console.result(f"written: {path}")
    console.result("next: mien run gesture --source sample")


@app.command("new-task", rich_help_panel="Start")
def new_task(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")],
) -> None:
    """Write a small working task into mien's clone, to be changed into your own."""
    from mien.stages import scaffold

    console.result(f"written: {scaffold.write_task(name)}")
    console.result(f"next: mien run {name} --source sample")
    console.result(f"      pytest tests/tasks/test_contract.py -k {name}")
