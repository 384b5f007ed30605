"""Promises about the recipes of tasks.py."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from project import ROOT
from waiting import PATIENCE

_RECIPE = """
import sys
from invoke import Context
import tasks
tasks._run(Context(), sys.argv[1])
"""
_COMMAND = f"""{sys.executable} -c 'import signal; print("started", flush=True); signal.pause()'"""


@pytest.mark.skipif(
    Path(sys.prefix).resolve() != ROOT / ".venv", reason="the recipes need .venv of this project"
)
def test_sigterm_ends_the_command_of_a_recipe() -> None:
    """The pipe ends only when both have ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RECIPE, _COMMAND],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout
        while process.stdout.readline() != "started\n":  # after the command itself
            assert process.poll() is None
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode
    assert f"Exit code: {-signal.SIGTERM}" in errors
