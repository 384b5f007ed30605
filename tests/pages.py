"""The blocks of the README and the docs, and a shell in which a user would run them."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from command_line import CommandLine
from project import ROOT, free_port
from waiting import TRAINING_PATIENCE

SOURCE = ROOT / "docs" / "source"
COMMANDS = ("bash", "console", "python", "sh", "shell")
"""Languages of blocks that a reader runs."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which it is named."""
        return self.text.partition("\n")[0]


def pages() -> list[str]:
    """The README, and every page of the docs, relative to their folder."""
    return ["README.md", *sorted(p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.md"))]


def text(page: str) -> str:
    folder = ROOT if page == "README.md" else SOURCE
    return (folder / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in their order; of all languages where none is named."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(page), flags=re.DOTALL | re.MULTILINE)
    return [Block(page, name, inner) for name, inner in found if name in (languages or (name,))]


def script(page: str, *firsts: str) -> str:
    """The commands of a page, one after the other: of the blocks that begin so, or of all."""
    chosen = [each for each in blocks(page, "bash") if not firsts or each.first.startswith(firsts)]
    assert len(chosen) == (len(firsts) or len(chosen)) > 0, (page, firsts)
    return "".join(each.text for each in chosen)


def serving(command: str) -> str:
    """A server in the background that is ready, and ends with the shell."""
    return f"""{command} > server.log 2>&1 &
trap "kill $! 2>/dev/null || true" EXIT
curl -sS -o ready.json --retry 600 --retry-delay 1 --retry-all-errors http://localhost:8000/readyz
"""


def served(commands: str, serve: str) -> str:
    """The same commands with the one that serves, which stands there once, in the background."""
    assert f"{commands}\n".count(f"{serve}\n") == 1, serve
    return commands.replace(f"{serve}\n", serving(serve))


def run(commands: str, folder: Path, **environment: str) -> str:
    """What commands print in a folder, as where mien is installed, outside of any repository.

    Servers listen on a port that is free, and addresses of the page lead there.
    """
    port = str(free_port())
    commands = re.sub(r"(localhost|127\.0\.0\.1):8000", rf"\1:{port}", commands)
    bins = [folder / "bin", Path(sys.executable).parent]
    bins[0].mkdir(exist_ok=True)
    (bins[0] / "git").write_text("#!/bin/sh\nexit 1\n")
    (bins[0] / "git").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([*map(str, bins), os.environ["PATH"]]),
            "PORT": port,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=TRAINING_PATIENCE,
        check=False,
    )
    output = done.stdout + done.stderr
    log = folder / "server.log"
    assert done.returncode == 0, output + (log.read_text() if log.is_file() else "")
    return output


def run_here(
    commands: str, command_line: CommandLine, folder: Path, home: Path | None = None
) -> str:
    """The same for lines of `mien` alone, in the process of the test, where they take less."""
    output = ""
    for line in commands.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "mien", line
        done = command_line(*words, home=home or folder, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        output += done.stdout + done.stderr
    return output
