"""The tutorial and the guides after it run as printed, one after the other, in one folder."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT, free_port
from typer.main import get_command
from waiting import TRAINING_PATIENCE

from mien.cli import app

SOURCE = ROOT / "docs" / "source"
PAGES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.md"))
GUIDES = ("tutorial.md", "operation.md", "shadow.md")
_SERVE = """mien serve > server.log 2>&1 &
trap "kill $!" EXIT
curl -sS -o ready.json --retry 600 --retry-delay 1 --retry-all-errors http://localhost:8000/readyz
"""


def blocks(page: str) -> list[str]:
    """The commands of a page, one block after the other."""
    text = (SOURCE / page).read_text(encoding="utf-8")
    return re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.long
def test_every_command_of_the_guides_runs(tmp_path: Path) -> None:
    """From an empty folder to a second version that is promoted, served and undone."""
    commands = "".join(block for page in GUIDES for block in blocks(page))
    output = run(commands, "mien serve\n", tmp_path)
    assert "version 1 is champion" in output
    assert "version 2 is challenger. It does not know 15 of the 18 labels" in output
    assert re.search(r"hand\.jpg: gesture like 0\.\d+", output)
    assert '"gesture":"like"' in output.replace(" ", ""), "what curl printed"
    assert (tmp_path / "my_project/reports/gesture/gesture/index.html").is_file()


@pytest.mark.long
def test_every_command_of_the_loop_runs(tmp_path: Path) -> None:
    """The retrained version is promoted, and names more of the changed world right."""
    output = run("".join(blocks("loop.md")), "mien serve gesture\n", tmp_path)
    assert "mien-gesture version 2 is challenger. " in output
    assert "mien-gesture version 2 is champion" in output
    before, *_, after = (float(each) for each in re.findall(r"^(0\.\d+) right$", output, re.M))
    assert after > before + 0.1
    assert (tmp_path / "loop" / "reports" / "gesture" / "retrain_2.md").is_file()


def run(commands: str, serve: str, folder: Path) -> str:
    """Run the commands of pages as where mien is installed, with the server in the background;
    returns what they print."""
    port = str(free_port())
    assert commands.count(serve) == 1
    script = commands.replace(serve, _SERVE.replace("mien serve", serve.strip()))
    script = script.replace("localhost:8000", f"localhost:{port}")
    bins = [folder / "bin", Path(sys.executable).parent]
    bins[0].mkdir()
    (bins[0] / "git").write_text("#!/bin/sh\nexit 1\n")
    (bins[0] / "git").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([*map(str, bins), os.environ["PATH"]]),
            "PORT": port,
        },
        capture_output=True,
        text=True,
        timeout=TRAINING_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_command_and_option_on_a_page_exists() -> None:
    """Also those inside sentences."""
    root = get_command(app)
    for page in PAGES:
        for words in commands(page):
            found, rest = root, list(words)
            while rest and rest[0] in getattr(found, "commands", {}):
                found = found.commands[rest.pop(0)]  # type: ignore[attr-defined]
            assert rest != words or rest[0] in _NO_COMMAND, f"{page}: {words}"
            # A group has a command that may be omitted.
            below = getattr(found, "commands", {}).values()
            params = [each for one in (found, *below) for each in one.params]
            known = {name for each in params for name in (*each.opts, *each.secondary_opts)}
            options = {each.partition("=")[0] for each in rest if each.startswith("--")}
            assert options - known - {"--help"} == set(), f"{page}: {words}"


_NO_COMMAND = ("COMMAND", "--help", "--version", "serves")
"""The last one begins a line that a server prints."""


def commands(page: str) -> Iterator[list[str]]:
    """Every `mien` command of a page, in a block or in a sentence, as a shell splits it."""
    text = (SOURCE / page).read_text(encoding="utf-8")
    lines = [line for block in blocks(page) for line in block.splitlines()]
    for line in [*lines, *re.findall(r"`(mien [^`]+)`", text)]:
        if line.startswith("mien "):
            yield shlex.split(line, comments=True)[1:]


def test_the_diagram_shows_the_stages() -> None:
    """Every stage of a run and the service are in it, in their order."""
    page = (SOURCE / "concepts.md").read_text(encoding="utf-8")
    first_line = page.partition("```text\n")[2].partition("\n")[0]
    steps = [each.strip() for each in first_line.split("-->")]
    stages = {path.stem for path in (ROOT / "src" / "mien" / "stages").iterdir()}
    assert set(steps) - stages == {"source", "prepare", "answer"}
    training = (SOURCE / "training.md").read_text(encoding="utf-8")
    assert training.partition("```text\n")[2].startswith(" -> ".join(steps[:7]))
