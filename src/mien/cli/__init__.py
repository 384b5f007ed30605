"""The command line: each command parses its arguments, calls one function and prints the result.

A user-fixable error ends with one message and exit status 1, without a traceback.
"""

import errno
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from mien import __version__
from mien.errors import MienError
from mien.model import cpus
from mien.reporting import console

from .options import app

# The order of the imports is the order of the help.
from . import scaffold, stages, predictions, review, registry, pull, rebuilding, monitoring  # noqa: F401  # isort: skip
from . import data, doctor, shadow, retraining, deployment, emulation  # noqa: F401  # isort: skip


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        console.result(__version__)
        raise typer.Exit()


def main() -> None:
    """Run the command line; print one message for a user-fixable error."""
    signal.signal(signal.SIGTERM, _end)
    cpus.limit_native_threads()  # before numpy is imported
    try:
        app()  # exits the program itself on success
    except MienError as error:
        console.failure("\n".join([str(error), *_notes(error)]))
    except ModuleNotFoundError as error:
        if (error.name or "mien").partition(".")[0] == "mien":
            raise
        console.failure(
            f"Packages: expected {error.name}, found no such package. Install all that mien can "
            "use: `pip install 'mien[train]'`, or `python3 tasks.py lint` in its repository."
        )
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename or 'no file named'}."
        advice = [_ADVICE[error.errno]] if error.errno in _ADVICE else []
        console.failure("\n".join([" ".join([text, *advice]), *_notes(error)]))
    sys.exit(1)


_OTHER_FOLDER = "Name a folder that you may write to; --home or MIEN_HOME name a workspace."
_ADVICE = {
    errno.EROFS: _OTHER_FOLDER,
    errno.EACCES: _OTHER_FOLDER,
    errno.EPERM: _OTHER_FOLDER,
    errno.ENOSPC: "Free some space on this disk, or name a folder on another one.",
}


def _end(number: int, frame: FrameType | None) -> None:
    """Remove temporary folders and end; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)


def _notes(error: BaseException) -> list[str]:
    """Notes that callers added to an error, such as how to resume a run."""
    return getattr(error, "__notes__", [])
