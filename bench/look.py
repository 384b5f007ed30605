"""Megabytes and seconds of `python3 tasks.py try` beside those of the full demo, in one run.

In a fresh clone of the committed tree, with packages in the cache of uv. It takes 7 GB of disk.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import page, servers

PYTHON = getattr(sys, "_base_executable", sys.executable)
RECIPES = {"try": ".venv-try", "demo": ".venv"}


def main() -> None:
    """Run both, and write the page."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", page.ROOT, clone], check=True)
        for recipe, venv in RECIPES.items():
            home = {"MIEN_HOME": f"{folder}/{recipe}", "PORT": str(servers.free_port())}
            start = time.monotonic()
            command = [PYTHON, "tasks.py", recipe, "--exit"]
            subprocess.run(command, cwd=clone, env={**os.environ, **home}, check=True)
            seconds = time.monotonic() - start
            rows.append((recipe, _megabytes(clone / venv), seconds))
    (_, small, short), (_, whole, long) = rows
    table = [
        {"command": f"`python3 tasks.py {name} --exit`", "MB": mb, "s": f"{seconds:.0f}"}
        for name, mb, seconds in rows
    ]
    shares = f"{small / whole:.1%} of the bytes and {short / long:.2f} of the seconds."
    page.write("look", "A look without torch", [_INTRODUCTION, page.table(table), shares])


def _megabytes(folder: Path) -> int:
    """The files of an environment, in 10**6 bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) // 1_000_000


_INTRODUCTION = (
    "From a fresh clone to the answers, installation included, with packages in the cache of uv. "
    "Wall time."
)

if __name__ == "__main__":
    main()
