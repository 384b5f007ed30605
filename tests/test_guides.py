"""The tutorial and the guides after it run as printed, one after the other, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, free_port
from waiting import TRAINING_PATIENCE

SOURCE = ROOT / "docs" / "source"
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
    port = str(free_port())
    commands = "".join(block for page in GUIDES for block in blocks(page))
    assert commands.count("mien serve\n") == 1
    script = commands.replace("mien serve\n", _SERVE).replace("localhost:8000", f"localhost:{port}")
    bins = [tmp_path / "bin", Path(sys.executable).parent]
    bins[0].mkdir()
    (bins[0] / "git").write_text("#!/bin/sh\nexit 1\n")  # as where mien is installed
    (bins[0] / "git").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
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
    output = done.stdout + done.stderr
    assert "version 1 is champion" in output
    assert "version 2 is challenger. It does not know 15 of the 18 labels" in output
    assert re.search(r"hand\.jpg: gesture like 0\.\d+", output)
    assert '"gesture":"like"' in output.replace(" ", ""), "what curl printed"
    assert (tmp_path / "my_project/reports/gesture/gesture/index.html").is_file()


def test_the_guides_name_commands_that_exist() -> None:
    """Also those inside sentences."""
    from typer.main import get_command

    from mien.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    for page in (*GUIDES, "concepts.md", "faq.md"):
        text = (SOURCE / page).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)mien ([a-z-]+)", text, re.MULTILINE)) <= known, page


def test_the_diagram_shows_the_stages() -> None:
    """Every stage of a run and the service are in it, in their order."""
    page = (SOURCE / "concepts.md").read_text(encoding="utf-8")
    first_line = page.partition("```text\n")[2].partition("\n")[0]
    steps = [each.strip() for each in first_line.split("-->")]
    stages = {path.stem for path in (ROOT / "src" / "mien" / "stages").iterdir()}
    assert set(steps) - stages == {"source", "prepare", "answer"}
    training = (SOURCE / "training.md").read_text(encoding="utf-8")
    assert training.partition("```text\n")[2].startswith(" -> ".join(steps[:7]))
