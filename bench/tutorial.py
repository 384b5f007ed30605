"""Pictures of the tutorial: what its commands print, and the pages that they open.

    python3 tasks.py bench tutorial

Takes minutes: the commands of docs/source/tutorial.md run as printed, in a temporary folder, and a
Chromium draws what a terminal and a browser would show.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser

from bench import ui
from bench.page import ROOT
from mien.reporting import console

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the browser
import browser
from project import free_port

FIGURES = ROOT / "reports" / "figures"
PAGE = ROOT / "docs" / "source" / "tutorial.md"
ADDRESS = "localhost:8000"
SERVE = "mien serve"
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0 }}
pre {{ box-sizing: border-box; margin: 0; padding: 16px; width: 960px;
  white-space: pre-wrap; overflow-wrap: anywhere;
  background: #1b2428; color: #dfe6e9; font: 14px/1.4 "DejaVu Sans Mono", monospace }}
b {{ color: #8fd3a8 }}
</style><pre>{text}</pre>"""


def main() -> None:
    """Run the steps in order, and draw tutorial_*.png."""
    steps = read_steps()
    with tempfile.TemporaryDirectory() as name, browser.running() as chromium:
        shell = Shell(Path(name) / "work", f"localhost:{free_port()}")
        pictures = Path(name) / "pictures"
        shell.folder.mkdir()
        pictures.mkdir()
        for step in ("folder", "train", "ask"):
            draw_terminal(chromium, pictures / f"tutorial_{step}.png", shell.run(steps[step]))
        with serving(shell):
            shell.run(steps["serve"])
            draw_page(chromium, pictures / "tutorial_page.png", shell)
            draw_terminal(chromium, pictures / "tutorial_own.png", shell.run(steps["own"]))
            draw_status(chromium, pictures / "tutorial_status.png", shell)
        # At the end: no model of a tree with changes is trusted.
        for picture in sorted(pictures.iterdir()):
            shutil.copy(picture, FIGURES)
            console.result(f"drawn: {(FIGURES / picture.name).relative_to(ROOT)}")


def read_steps() -> dict[str, list[str]]:
    """The commands below each heading with a number, but for that of the server itself."""
    names = {1: "folder", 2: "train", 4: "ask", 5: "serve", 6: "own"}
    parts = re.split(r"^## (\d)\. .*$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    steps = {}
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines() if line != SERVE]
        if lines:
            steps[names[int(number)]] = lines
    return steps


class Shell:
    """A terminal in a folder; it stays where `cd` has gone."""

    def __init__(self, folder: Path, site: str) -> None:
        self.folder, self.site = folder, site
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = {**os.environ, "PATH": path, "COLUMNS": "104", "PORT": site.partition(":")[2]}
        self.env.pop("MIEN_HOME", None)

    def run(self, lines: list[str]) -> str:
        """HTML of the lines and of what they print; ends the program where one fails."""
        shown = []
        for line in lines:
            done = subprocess.run(
                ["bash", "-c", f"exec 2>&1; {line.replace(ADDRESS, self.site)}"],
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{line}\n{done.stdout}")
            if line.startswith("cd "):
                self.folder /= line.removeprefix("cd ")
            output = done.stdout.replace(self.site, ADDRESS).rstrip("\n")
            shown.append(f"<b>$ {html.escape(line)}</b>\n{html.escape(output)}".rstrip("\n"))
        return "\n".join(shown)


@contextmanager
def serving(shell: Shell) -> Iterator[None]:
    """The server of the tutorial while the block runs."""
    command = [sys.executable, "-m", "mien.cli", "serve"]
    with subprocess.Popen(command, cwd=shell.folder, env=shell.env) as process:
        try:
            ui.wait(f"http://{shell.site}/readyz")
            yield
        finally:
            process.terminate()


def draw_terminal(chromium: Browser, picture: Path, text: str) -> None:
    """Commands in bold, with what they printed."""
    page = chromium.new_page(viewport={"width": 960, "height": 600})
    page.set_content(TERMINAL.format(text=text))
    page.locator("pre").screenshot(path=picture)
    page.close()


def draw_page(chromium: Browser, picture: Path, shell: Shell) -> None:
    """The web page that answers the drawn hand."""
    with browser.visiting(chromium, f"http://{shell.site}/", width=960) as visit:
        visit.page.set_input_files("#file", [shell.folder / "hand.jpg"])
        visit.page.locator(".result[aria-busy=false]").wait_for()
        visit.page.screenshot(path=picture, full_page=True)


def draw_status(chromium: Browser, picture: Path, shell: Shell) -> None:
    """The state of the models, after the second version was promoted."""
    with browser.visiting(chromium, f"http://{shell.site}/status", width=960) as visit:
        visit.page.locator("#tasks .card").get_by_text("version 2").wait_for()
        visit.page.locator("#tasks").screenshot(path=picture)


if __name__ == "__main__":
    main()
