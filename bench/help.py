"""What the help of each command costs in CPU time, compared with the import of typer and rich."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from typer.main import get_command

from bench import page
from mien.cli import app

ROUNDS = 11
TARGET = 1.5
REFERENCE = [sys.executable, "-c", "import typer, rich"]
MIEN = str(Path(sys.executable).with_name("mien"))


def main() -> None:
    """Measure every command and the reference in turn, and write the page."""
    rows: list[tuple[float, str, float]] = []
    for shown in _helps(get_command(app), ["mien"]):
        pairs = [(_cpu_s(REFERENCE), _cpu_s([MIEN, *shown.split()[1:]])) for _ in range(ROUNDS)]
        ratio = median(seconds / reference for reference, seconds in pairs)
        rows.append((ratio, shown, median(seconds for _, seconds in pairs)))
    rows.sort(reverse=True)
    worst = rows[0][0]
    table = [
        {"command": f"`{shown}`", "CPU ms": f"{1000 * seconds:.0f}", "ratio": f"{ratio:.2f}"}
        for ratio, shown, seconds in rows
    ]
    parts = [
        "User and system time of each process, `OMP_NUM_THREADS=1`, and its ratio to `python -c "
        f'"import typer, rich"` just before it: medians of {ROUNDS}.',
        f"The largest ratio is {worst:.2f}; at most {TARGET} is the target: "
        f"{'reached' if worst <= TARGET else 'MISSED'}.",
        page.table(table),
    ]
    page.write("help", "CPU time of the help", parts)


def _helps(command: Any, words: Sequence[str]) -> Iterator[str]:
    """The help of a command and of all below it, as people type them."""
    yield " ".join([*words, "--help"])
    for name, child in getattr(command, "commands", {}).items():
        yield from _helps(child, [*words, name])


def _cpu_s(command: Sequence[str]) -> float:
    """User and system seconds of a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
