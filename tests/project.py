"""Where the project and the real data lie, and how a user starts it; shared by all tests."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from waiting import TRAINING_PATIENCE

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Demo:
    """A finished `mien demo`: its workspace and what it printed."""

    home: Path
    out: str
    err: str


def mien(*arguments: str, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user would, in the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", "mien.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "MIEN_HOME": str(home), "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=TRAINING_PATIENCE,
        check=False,
    )


def free_port() -> int:
    """A port on the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
