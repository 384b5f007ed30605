"""`mien` as a function, for tests of what a command says and does; a plugin of pytest."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from project import ROOT

from mien import cli
from mien.reporting import console


class CommandLine(Protocol):
    """Runs one command."""

    def __call__(
        self, *arguments: str, home: Path, folder: Path = ROOT, **environment: str
    ) -> "subprocess.CompletedProcess[str]": ...


@pytest.fixture
def command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """As `project.mien`, but in the process of the test, where most of a short command's time, its
    imports, is spent once."""

    def run(
        *arguments: str, home: Path, folder: Path = ROOT, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        capsys.readouterr()
        variables = {"MIEN_HOME": str(home), "COLUMNS": "120", **environment}
        with monkeypatch.context() as patch, _as_a_new_process():
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["mien", *arguments])
            patch.setattr(logging.root, "handlers", [])
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                cli.main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out, err)

    return run


@contextmanager
def _as_a_new_process() -> Iterator[None]:
    """Consoles read their width again, and the handler of SIGTERM is put back afterwards."""
    handler = signal.getsignal(signal.SIGTERM)
    consoles = (console._out, console._err)
    for each in consoles:
        each.cache_clear()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        for each in consoles:
            each.cache_clear()
