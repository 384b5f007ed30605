"""A process that runs one function for this one, call by call, from a clean start.

It imports the module of the function and nothing of the program that started it, so that a
notebook, a script without a main guard and a parent with threads may use it.
"""

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Generic, ParamSpec, TypeVar

from mien.errors import ProcessError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    f"from {__name__} import main; main()"
)


class WorkerProcess(Generic[Parameters, Result]):
    """A process that runs a function of a module.

    Args:
        function: a function at the top of its module.
    """

    def __init__(self, function: Callable[Parameters, Result]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send(sys.path)
        self._send((function.__module__, function.__name__))

    def __call__(self, *arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        """Run the function.

        Raises:
            ProcessError: the process ended, for example because the system ran out of memory.
        """
        self._send((arguments, named))
        assert self._process.stdout is not None
        with suppress(EOFError, pickle.UnpicklingError):
            result: Result = pickle.load(self._process.stdout)
            return result
        raise self._exit_error()

    def kill(self) -> None:
        """End the process at once: a call in another thread then raises."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and free what belongs to it; not during a call."""
        self.kill()
        with suppress(OSError):  # the last request, which it did not read
            self._process.communicate()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError:
            raise self._exit_error() from None

    def _exit_error(self) -> ProcessError:
        return ProcessError(
            f"A process that did a part of the work ended (exit code {self._process.wait()}). A "
            "negative code means that it was killed, perhaps for lack of memory. Make the largest "
            "images smaller, or use fewer cores (taskset -c 0)."
        )


def main() -> None:
    """Answer requests on standard input until it ends; the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may write between the answers
    with suppress(EOFError):
        module, name = pickle.load(sys.stdin.buffer)
        function = getattr(import_module(module), name)
        while True:
            arguments, named = pickle.load(sys.stdin.buffer)
            pickle.dump(function(*arguments, **named), out, protocol=pickle.HIGHEST_PROTOCOL)
            out.flush()
