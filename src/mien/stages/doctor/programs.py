"""Asks outside programs (docker, gcloud), bounded in time, without a prompt."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress

from mien.errors import ProgramError

LIMIT_S = 3.0
"""Seconds for one call that needs no network."""
_ENVIRONMENT = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
_MAX_ERROR = 200
"""Characters of an error that are shown."""


def is_installed(program: str) -> bool:
    return shutil.which(program) is not None


def output(*command: str, limit_s: float = LIMIT_S) -> str:
    """What a program prints.

    Raises:
        ProgramError: it cannot be started, ends with an error, or does not end in time.
    """
    name = " ".join(command[:3])
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramError(f"`{name}` cannot be started: {error.strerror}.") from None
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        # The whole group: a child of the program would keep the pipes open. Windows has none.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.communicate()
        raise ProgramError(f"`{name}` did not end within {limit_s:g} s.") from None
    if process.returncode:
        lines = [line for line in (err or out).splitlines() if line.strip()] or ["no message"]
        raise ProgramError(f"`{name}` ended with {process.returncode}: {lines[0][:_MAX_ERROR]}")
    return out
