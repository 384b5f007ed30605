"""Programs that start a Ray of this machine, for tests; skips them where Ray is not installed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from project import ROOT

MARK = "MIEN_TEST_OF_RAY"


class RayProgram:
    """Starts a program, and ends what it leaves: agents of Ray outlive a killed driver."""

    def __init__(self, folder: Path, text: str) -> None:
        self._text = text
        self._mark = uuid4().hex
        self._log = folder / "log.txt"
        self._environment = {
            **os.environ, MARK: self._mark, "HOME": str(folder), "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip

    def start(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", self._text, *arguments],
                cwd=ROOT, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """By their ids, which their environment tells apart from others."""
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"{MARK}={self._mark}".encode() in environment.read_bytes().split(b"\0"):
                    os.kill(int(environment.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended


@contextmanager
def running(folder: Path, text: str) -> Iterator[RayProgram]:
    """A program that logs to the folder, and whose processes end with the block."""
    if find_spec("ray") is None:
        pytest.skip("NO RAY, work on a cluster is not tested: run `python3 tasks.py ray`")
    program = RayProgram(folder, text)
    try:
        yield program
    finally:
        program.end()
