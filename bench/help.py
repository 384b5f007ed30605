"""What the help of each command costs in CPU time, beside the import of typer and rich."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.main import get_command

from bench import page
from mien.cli import app

ROUNDS = 7
TARGET = 1.5
REFERENCE = [sys.executable, "-c", "import typer, rich"]
MIEN = str(Path(sys.executable).with_name("mien"))


def main() -> None:
    """Measure all commands in turns and write the page."""
    commands = {shown: [MIEN, *shown.split()[1:]] for shown in _helps(get_command(app), ["mien"])}
    least: dict[str, float] = {}
    for _ in range(ROUNDS):
        for shown, command in {"": REFERENCE, **commands}.items():
            least[shown] = min(_cpu_s(command), least.get(shown, 1e9))
    reference = least.pop("")
    rows = [
        {
            "command": f"`{shown}`",
            "CPU ms": f"{1000 * seconds:.0f}",
            "ratio": f"{seconds / reference:.2f}",
        }
        for shown, seconds in sorted(least.items(), key=lambda each: -each[1])
    ]
    worst = max(least.values()) / reference
    parts = [
        "User and system time of each process, `OMP_NUM_THREADS=1`, the least of "
        f'{ROUNDS} rounds in which all take turns. `python -c "import typer, rich"` takes '
        f"{1000 * reference:.0f} ms.",
        f"The largest ratio is {worst:.2f}; at most {TARGET} is the target: "
        f"{'reached' if worst <= TARGET else 'MISSED'}.",
        page.table(rows),
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
