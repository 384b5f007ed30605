"""The README is true: its blocks run as printed, its file tree is the project's."""

import contextlib
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import browser
import pages
import pytest
from command_line import CommandLine
from project import ROOT, free_port
from waiting import PATIENCE

from mien import config, tasks
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace

README = (ROOT / "README.md").read_text(encoding="utf-8")
PORT = 8000


def block(marker: str) -> str:
    """The first fenced block that holds the marker."""
    blocks = re.findall(r"```(?:bash|python|text)\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in blocks if marker in text)


@contextlib.contextmanager
def served(home: Path, prediction_log: Path) -> Iterator[str]:
    """A server on the README's port, or on another one where that is taken."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", PORT)) == 0
    changes = {"port": free_port() if taken else PORT, "prediction_log": prediction_log}
    settings = config.settings().model_copy(update=changes)
    with serve.running(Workspace(home), ["gesture", "emotion"], [], settings) as address:
        yield address


def test_the_examples_answer_as_printed(
    served_home: Path, tmp_path: Path, command_line: CommandLine
) -> None:
    """curl and requests, as they stand in the README, give a gesture and an emotion of the pictures
    that `mien picture` draws."""
    pages.run_here(pages.script("README.md", "mien picture"), command_line, tmp_path)
    labels = tasks.load("emotion").default_labels
    with served(served_home, tmp_path / "predictions.db") as address:
        shell = block("curl -X POST").replace(f"http://localhost:{PORT}", address)
        script = block("import requests").replace(f"http://localhost:{PORT}", address)
        for command in (["bash", "-euc", shell], [sys.executable, "-c", script]):
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "like" in done.stdout
            assert any(label in done.stdout for label in labels)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built strictly: every link and every anchor leads somewhere."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml"]
    done = subprocess.run(
        [*command, "-d", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_documentation_has_every_page(site: Path) -> None:
    """Each page is built, each entry of the navigation is a page; no gap is left."""
    source = ROOT / "docs" / "source"
    text = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r": ([\w/]+\.md)$", text, re.MULTILINE))
    pages = {path.relative_to(source).as_posix() for path in source.rglob("*.md")}
    assert listed <= pages
    assert {page for page in pages - listed if not page.startswith("decisions/")} == set()
    for page in pages:
        name = page.removesuffix(".md").removesuffix("index")
        assert (site / name / "index.html").is_file(), page
    assert "@@" not in README


def test_the_documentation_loads_nothing_from_elsewhere(site: Path) -> None:
    """No script, style sheet, font or picture of another server, so that it works offline; what the
    theme would fetch for diagrams and for statistics of a repository is not used."""
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        loads = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?([^\s\">]+)", html)
        assert [each for each in loads if re.match(r"(https?:)?//", each)] == [], path
        assert "mermaid" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL), path
    assert "fonts.googleapis" not in "".join(
        path.read_text(encoding="utf-8") for path in site.rglob("*.css")
    )


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the built documentation is served."""
    with browser.serving(site) as served:
        yield served


def test_a_browser_asks_no_other_server(address: str) -> None:
    """On a page with pictures, on one with tables, and in a search; nothing fails either."""
    browser.require()
    with browser.running() as chromium:
        for page in ("", "/tutorial/", "/commands/", "/decisions/"):
            with browser.visiting(chromium, f"{address}{page}") as visit:
                visit.page.wait_for_load_state("networkidle")
                if page == "":
                    # Typed, as a person does: the theme searches when a key is released.
                    visit.page.locator("input[name=query]").press_sequentially("drift")
                    visit.page.locator(".md-search-result__link").first.wait_for()
                assert visit.foreign == []
                assert visit.errors == []
                assert visit.page.locator(".md-content h1").is_visible()


def test_the_commands_exist() -> None:
    """Every `mien` command and recipe that the README names is there."""
    from typer.main import get_command

    from mien.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    names = set(re.findall(r"(?:^|`)(?:\.venv/bin/)?mien ([a-z-]+)", README, flags=re.MULTILINE))
    assert len(names) >= 15
    assert names <= set(commands)
    recipes = (ROOT / "tasks.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"tasks\.py ([a-z][a-z-]+)", README)):
        assert f"def {name.replace('-', '_')}(" in recipes or f'name="{name}"' in recipes, name


def test_the_file_tree_is_the_projects() -> None:
    """Each line of the tree exists, and each tracked folder and module of the package is in it."""
    listed = _tree(block("src/mien/"))
    missing = [path for path in listed if not (ROOT / path).exists()]
    assert missing == []
    package = ROOT / "src" / "mien"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in [*package.glob("*.py"), *package.glob("*/*")]
        if not path.name.startswith("__")
        and path.parent.name not in ("cli", "sweep", "__pycache__")
    }
    assert wanted - set(listed) == set()


def _tree(text: str) -> list[str]:
    """Paths of an indented tree; a line may name several files of one folder."""
    folders: list[tuple[int, str]] = []
    paths = []
    for line in textwrap.dedent(text).splitlines():
        names, _, _ = line.strip().partition("  ")
        depth = len(line) - len(line.lstrip())
        folders = [entry for entry in folders if entry[0] < depth]
        above = "".join(entry[1] for entry in folders)
        for name in names.split():
            paths.append((above + name).rstrip("/"))
        if names.endswith("/"):
            folders.append((depth, names))
    return paths
