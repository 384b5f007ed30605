"""The tutorial and the guides after it run as printed, one after the other, in one folder."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
from project import ROOT
from typer.main import get_command

from mien.cli import app

BACK = '"model":{"name":"mien-gesture","version":"1"}'
"""How an answer of the first version ends."""


@pytest.mark.long
def test_every_command_of_the_guides_runs(tmp_path: Path) -> None:
    """From an empty folder to a second version that is promoted, served and undone."""
    shadow = pages.script("shadow.md", "mien shadow gesture 2 --share 0.2")
    operation = pages.script("operation.md")
    proof = pages.script("operation.md", "curl")
    follows = f"until {proof.strip()} | grep '{BACK}'; do sleep 1; done\n"
    assert BACK in pages.text("operation.md")
    commands = pages.script("tutorial.md") + operation.replace(proof, follows) + shadow
    output = pages.run(pages.served(commands, "mien serve"), tmp_path)
    assert "version 1 is champion" in output
    assert "version 1 is champion again, instead of 2" in output
    assert output.count(BACK) == 2, "the tutorial's answer, and the one after the rollback"
    assert "version 2 is challenger. It does not know 15 of the 18 labels" in output
    assert re.search(r"hand\.jpg: gesture like 0\.\d+", output)
    assert '"gesture":"like"' in output.replace(" ", ""), "what curl printed"
    assert (tmp_path / "my_project/reports/gesture/gesture/index.html").is_file()


def test_every_step_of_the_tutorial_has_a_picture() -> None:
    """Each heading with a number is followed by a figure that is there, before the next one."""
    text = pages.text("tutorial.md")
    steps = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    pictures = [
        re.findall(r"!\[.+\]\((figures/\w+\.png)\)", each) for each in steps if each[0].isdigit()
    ]
    assert len(pictures) >= 6
    assert all(pictures)
    assert all((ROOT / "docs" / "source" / path).is_file() for step in pictures for path in step)


@pytest.mark.long
def test_every_command_of_the_loop_runs(tmp_path: Path) -> None:
    """The retrained version is promoted, and names more of the changed world right."""
    loop = pages.served(pages.script("loop.md"), "mien serve gesture")
    promote, canary = (
        pages.script("shadow.md", first)
        for first in ("mien shadow gesture --promote", "mien serve gesture --canary")
    )
    assert promote in loop
    # Version 2 answers a share of the requests again, after the champion was taken back.
    canary = pages.serving(canary.strip()).replace("server.log", "canary.log")
    loop += f"mien rollback gesture\nkill $!; wait $! || true\n{canary}python show.py 7 wrong\n"
    output = pages.run(loop, tmp_path)
    assert "mien-gesture version 2 is challenger. " in output
    assert "mien-gesture version 2 is champion" in output
    before, *_, after, _ = (float(each) for each in re.findall(r"^(0\.\d+) right$", output, re.M))
    assert after > before + 0.1
    assert (tmp_path / "loop" / "reports" / "gesture" / "retrain_2.md").is_file()


def test_every_command_and_option_on_a_page_exists() -> None:
    """Also those inside sentences."""
    root = get_command(app)
    for page in pages.pages():
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
    lines = [line for block in pages.blocks(page, "bash") for line in block.text.splitlines()]
    for line in [*lines, *re.findall(r"`(mien [^`]+)`", pages.text(page))]:
        if line.startswith("mien "):
            yield shlex.split(line, comments=True)[1:]


def test_the_diagram_shows_the_stages() -> None:
    """Every stage of a run and the service are in it, in their order."""
    page = pages.text("concepts.md")
    first_line = page.partition("```text\n")[2].partition("\n")[0]
    steps = [each.strip() for each in first_line.split("-->")]
    stages = {path.stem for path in (ROOT / "src" / "mien" / "stages").iterdir()}
    assert set(steps) - stages == {"source", "prepare", "answer"}
    training = pages.text("training.md")
    assert training.partition("```text\n")[2].startswith(" -> ".join(steps[:7]))
