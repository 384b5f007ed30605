"""What is tried on single containers: CPU limits and Cloud Run's contract."""

import json
import sys
from pathlib import Path
from typing import Any

from mien.model import cpus
from stack import PromiseError, say
from stack.engine import Engine
from stack.images import MODEL

ROUNDS = 2
"""Emulations of each kind, in turns; each has two cold starts, and the best one counts."""
MAX_RATIO = 1.3
"""CPU time of a cold start in a container of one CPU, in units of the process's on one core."""
_COUNT = "from mien.model import cpus; print(cpus.available_cpus())"


def cpu_limits(docker: Engine) -> None:
    """The count that all pools are made by follows `--cpus`.

    Raises:
        PromiseError: it does not.
    """
    machine = cpus.available_cpus()
    for limit, expected in (("0.5", 1), ("1", 1), (str(machine), machine)):
        run = ["docker", "run", "--rm", "--network=none", f"--cpus={limit}", MODEL]
        counted = docker.ask(*run, "python", "-c", _COUNT).stdout.strip()
        if counted != str(expected):
            raise PromiseError(f"--cpus={limit}: expected {expected} CPUs, counted {counted!r}")
    say(f"--cpus of 0.5, 1 and {machine} count as 1, 1 and {machine} CPUs.")


def cloud_run(docker: Engine, home: Path) -> None:
    """Cloud Run's contract holds; a container of one CPU starts about as fast as a process.

    Raises:
        PromiseError: a request is lost, a limit is broken, or the start takes longer.
    """
    with docker.network() as network:
        container = ["--image", MODEL, "--network", network]
        kinds = {"container": container, "process": ["--home", str(home)]}
        rounds = [
            {name: _emulated(docker, *options) for name, options in kinds.items()}
            for _ in range(ROUNDS)
        ]
        half = _emulated(docker, *container, "--cpu", "0.5")
    best = {
        key: {name: min(_starts([each[name] for each in rounds], key)) for name in kinds}
        for key in ("cpu_s", "answer_s")
    }
    ratio = {key: times["container"] / times["process"] for key, times in best.items()}
    for key, text in (("cpu_s", "CPU time"), ("answer_s", "time")):
        times = best[key]
        say(
            f"Cold start, {text}: container {times['container']:.2f} s, process "
            f"{times['process']:.2f} s, ratio {ratio[key]:.2f}; half a CPU "
            f"{min(_starts([half], key)):.2f} s."
        )
    if ratio["cpu_s"] > MAX_RATIO:
        raise PromiseError(f"a cold start takes {ratio['cpu_s']:.2f} times that of a process")


def _emulated(docker: Engine, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "mien.cli", "emulate", "cloud-run", "--json", *options]
    done = docker.ask(*command)
    if done.returncode or not done.stdout:
        raise PromiseError(
            f"`mien emulate cloud-run {' '.join(options)}`: {done.stdout}{done.stderr}"
        )
    report: dict[str, Any] = json.loads(done.stdout)
    say(
        f"mien emulate cloud-run {' '.join(options)}: {report['requests']} requests, "
        f"{report['lost']} lost, peak {report['peak_memory_mb']:.0f} MB, "
        f"SIGTERM under load {report['stop_s']:.1f} s."
    )
    return report


def _starts(reports: list[dict[str, Any]], key: str) -> list[float]:
    return [report[start][key] for report in reports for start in ("cold_start", "next_cold_start")]
