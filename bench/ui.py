"""Processes and memory of MLflow's page: as `mien ui` starts it, and as `mlflow server` does.

Each is started on an empty workspace and measured when it answers. Memory is the proportional set
size of all its processes (Linux).
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

_LIMIT_S = 900
_SETTLE_S = 20
"""MLflow's job runners start after its page."""


def main() -> None:
    """Print the table."""
    print("| started by | processes | memory, MB |\n| --- | --- | --- |")
    for name, command in (
        ("`mien ui`", ["-m", "mien.cli", "ui", "--no-open"]),
        ("`mlflow server`", ["-m", "mlflow", "server", "--backend-store-uri", "sqlite:///m.db"]),
    ):
        processes, megabytes = _measure(command)
        print(f"| {name} | {processes} | {megabytes:.0f} |", flush=True)


def _measure(command: list[str]) -> tuple[int, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as home:
        started = subprocess.Popen(
            [sys.executable, *command, "--port", str(port)],
            cwd=home,
            env={**os.environ, "MIEN_HOME": home, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait(f"http://127.0.0.1:{port}/health")
            time.sleep(_SETTLE_S)
            members = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
            sizes = [_pss_mb(each) for each in members if _session(each) == started.pid]
            return len(sizes), sum(sizes)
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            started.wait(_LIMIT_S)


def wait(address: str) -> None:
    """Wait until a page answers; end the program if it never does."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    sys.exit(f"{address} did not answer within {_LIMIT_S} s")


def _session(process: int) -> int:
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return 0


def _pss_mb(process: int) -> float:
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    return int(text.partition("\nPss:")[2].split()[0]) / 1000


if __name__ == "__main__":
    main()
