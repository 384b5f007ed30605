"""What tests share: where the project and the real data lie."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from mien import tasks
from mien.workspace import Workspace

# Deadlines measure the machine, not the code; the same examples every time keep CI calm.
settings.register_profile("mien", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("mien")

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data beside the project; absent on most machines."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: {REAL.name}/ is not beside the project")
    return REAL


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
        timeout=900,
        check=False,
    )


def free_port() -> int:
    """A port on the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The real demo, once; tests that use it carry the mark `xdist_group("demo")`."""
    home = tmp_path_factory.mktemp("demo")
    done = mien("demo", "--exit", home=home, PORT=str(free_port()))
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(home, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def champions(demo: Demo) -> dict[str, Path]:
    """The bundle of each task's champion, as the demo registered it."""
    workspace = Workspace(demo.home)
    numbers = {name: workspace.aliases(name).get("champion") for name in tasks.names()}
    return {name: workspace.version(name, number) for name, number in numbers.items() if number}
