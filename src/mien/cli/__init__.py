"""The command line: one command for each stage, thin. It parses, calls one function, prints.

An error that the user can mend ends in one message and exit status 1, without a traceback.
"""

import logging
import sys
from typing import Annotated

import typer

from mien import __version__
from mien.errors import MienError
from mien.reporting import console

from . import answers, data, monitoring, rebuilding, registry, stages  # noqa: F401 - in the order of the help
from .options import app


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        console.result(__version__)
        raise typer.Exit()


def main() -> None:
    """Run the command line; end with a message where the user can mend what went wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()  # ends the program itself where all went well
    except MienError as error:
        console.failure("\n".join([str(error), *_notes(error)]))
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename or 'no file named'}"
        console.failure("\n".join([text, *_notes(error)]))
    sys.exit(1)


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way, such as how to resume a run."""
    return getattr(error, "__notes__", [])
