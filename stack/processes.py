"""Programs that end with the test: by SIGTERM, so that they take down what they have started."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds for a program to end after SIGTERM; an engine stops its containers in that time."""


def finish(
    command: Sequence[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: int | None = subprocess.PIPE,
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, and keep what it writes, or show it where `output` is None.

    `subprocess.run` would kill it when a signal ends this process: containers would stay.
    """
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdout=output, stderr=output, text=True
    ) as process:
        try:
            out, errors = process.communicate()
        except BaseException:
            end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def end(process: "subprocess.Popen[Any]") -> None:
    """Let a program end, or kill it; signals do not interrupt that."""
    with undisturbed():
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)  # read on: a full pipe would hold it
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Neither Ctrl-C nor SIGTERM ends what the block does, here or in programs that it starts."""
    kept = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
