"""Runs the commands of the items: what a command prints decides whether an item is done."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evidence.items import Item

ROOT = Path(__file__).resolve().parents[1]
State = Literal["done", "failed", "not done", "not checked"]
TIMEOUT_S = 600
_SECONDS = re.compile(r" in \d+\.\d+s.*")


@dataclass(frozen=True)
class Result:
    """What became of an item, and the line of output that says so."""

    item: Item
    state: State
    line: str = ""


def check(item: Item, root: Path = ROOT) -> Result:
    """Run an item's command in a clone.

    A command that fails, or prints no line of the expected form, is a failure, unless the item
    gives a reason for not being done.
    """
    if not item.command:
        return Result(item, "not checked")
    status, output = _run(item.command, root)
    lines = [_without_place(line, root) for line in output.splitlines() or [""]]
    matching = [line for line in lines if re.search(item.expected, line)]
    if status == 0 and matching:
        return Result(item, "done", matching[-1])
    if item.optional:
        return Result(item, "not done", f"exit status {status}")
    last = next((line for line in reversed(lines) if line.strip()), "no output")
    return Result(item, "failed", f"exit status {status}: {last}")


def _run(command: str, root: Path) -> tuple[int, str]:
    """Exit status and output of a command, as in an activated environment of the clone."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", "")])
    variables = {**outer, "PATH": path, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            shlex.split(command),
            cwd=root,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        return 127, f"no program {error.filename}"
    except subprocess.TimeoutExpired:
        return 124, f"no end within {TIMEOUT_S} s"
    return done.returncode, done.stdout


def _without_place(line: str, root: Path) -> str:
    """Neither the clone's folder nor seconds: the same state gives the same page everywhere."""
    return _SECONDS.sub("", line.replace(f"{root}/", "").replace(str(root), ".")).rstrip()
