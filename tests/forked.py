"""Processes that find their libraries loaded: each is a fork of one process that loaded them.

A start of Python with the libraries of a server takes a second of processor time, and tests need
about a hundred. What is forked is a process of its own, with its own memory, signals, files and
environment. Run as a program, this file is the process that forks: a line on its standard input is
a JSON list, ["start", script, arguments, environment, log] or ["poll", pid], and its answer a line.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

_LOADED = (
    "mien.cli", "mien.stages.serve.app", "numpy.random", "onnxruntime", "PIL.ImageDraw",
    "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.WebPImagePlugin", "uvicorn.loops.auto",
    "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl",
)  # fmt: skip


class Forked:
    """A process, with what tests use of `subprocess.Popen`.

    Args:
        script: Python code; `sys.argv[1:]` are the arguments.
        arguments: of the script.
        environment: all of it.
        log: a file to which standard output and standard error are added.
    """

    def __init__(
        self, script: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.returncode: int | None = None
        self.log = log
        self.pid = int(_ask("start", script, list(arguments), dict(environment), str(log)))

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_lock = Lock()
_forking: "subprocess.Popen[str] | None" = None


def _ask(*request: Any) -> Any:
    """Send a request to the process that forks; the first one starts it."""
    global _forking
    with _lock:
        if _forking is None:
            _forking = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[1],
            )
            atexit.register(_end)
        assert _forking.stdin is not None
        assert _forking.stdout is not None
        print(json.dumps(request), file=_forking.stdin, flush=True)
        return json.loads(_forking.stdout.readline())


def _end() -> None:
    if _forking is not None and _forking.stdin is not None:
        _forking.stdin.close()
        _forking.wait()


def _run(script: str, arguments: list[str], environment: dict[str, str], log: str) -> None:
    """The forked process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(script, {"__name__": "__main__"})


def main() -> None:
    """Load the libraries, then answer line after line."""
    for name in _LOADED:
        import_module(name)
    children = set()
    for line in sys.stdin:
        kind, *request = json.loads(line)
        if kind == "start":
            answer: int | None = os.fork()
            if not answer:
                _run(*request)
                sys.exit(0)
            children.add(answer)
        else:
            ended, status = os.waitpid(request[0], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
            children -= {ended}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer
    for child in children:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
