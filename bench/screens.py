"""Pictures of a run's report, of its candidates in MLflow, and of these docs.

    python3 tasks.py bench screens

Takes minutes: gestures are trained on drawn hands in a temporary workspace, and a Chromium opens
what a reader would open then.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page

from bench import ui
from bench.page import ROOT
from mien.reporting import console
from mien.tracking import Tracker

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the browser
import browser
from project import free_port, mien

FIGURES = ROOT / "reports" / "figures"
RUN = ("run", "gesture", "--source", "sample", "--force", "for a picture")
"""Forced, so that it also works in a clone with uncommitted changes."""
QUERY = "HEIC"
"""What the reader of docs.png searches."""
_FILLED = """() => [...document.querySelectorAll(".js-plotly-plot")].every(
    e => Math.abs(e.querySelector(".main-svg").clientWidth - e.clientWidth) < 2)"""
"""Whether every chart is as wide as its frame, also after the assistant has closed."""


def main() -> None:
    """Train, then draw report.png, report_mistakes.png, mlflow.png and docs.png."""
    with tempfile.TemporaryDirectory() as name, browser.running() as chromium:
        home = Path(name)
        done = mien(*RUN, home=home)
        if done.returncode:
            sys.exit(done.stderr)
        draw_report(chromium, home / "reports" / "gesture" / "gesture" / "index.html")
        draw_comparison(chromium, home)
        draw_docs(chromium, home / "site")


def draw_report(chromium: Browser, page: Path) -> None:
    """From the verdict to the confusion, and the worst mistakes."""
    with browser.visiting(chromium, page.as_uri(), width=1060) as visit:
        save(visit.page, "report", "Training run", "Scores of each class")
        save(visit.page, "report_mistakes", "The worst mistakes", "Card")


def draw_comparison(chromium: Browser, home: Path) -> None:
    """What `mien ui` opens."""
    with comparison(home) as address, browser.visiting(chromium, address, 1680) as visit:
        # MLflow opens an assistant beside the charts, which then are too small to read.
        close = visit.page.get_by_role("button", name="Close", exact=True)
        close.click()
        close.wait_for(state="hidden")
        visit.page.set_viewport_size({"width": 1600, "height": 1420})
        visit.page.locator(".js-plotly-plot").nth(7).wait_for()
        visit.page.wait_for_function(_FILLED)
        save(visit.page, "mlflow")


@contextmanager
def comparison(home: Path) -> Iterator[str]:
    """`mien ui` while the block runs; the address that it prints."""
    port = free_port()
    command = ["ui", "--no-open", "--port", str(port), "--home", str(home)]
    with subprocess.Popen([sys.executable, "-m", "mien.cli", *command], cwd=ROOT) as process:
        try:
            ui.wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/{Tracker(home).comparison(None)}"
        finally:
            process.terminate()


def draw_docs(chromium: Browser, site: Path) -> None:
    """The built docs while a reader searches in them; the search needs a server, not files."""
    build = ["-m", "mkdocs", "build", "--quiet", "--strict", "-f", "docs/mkdocs.yml", "-d"]
    subprocess.run([sys.executable, *build, str(site)], cwd=ROOT, check=True)
    with (
        browser.serving(site) as address,
        browser.visiting(chromium, f"{address}/tutorial/") as visit,
    ):
        visit.page.set_viewport_size({"width": 1280, "height": 1200})
        # Typed, as a person does: the theme searches when a key is released.
        visit.page.locator("input[name=query]").press_sequentially(QUERY)
        visit.page.locator(".md-search-result__link").first.wait_for()
        save(visit.page, "docs")


def save(page: Page, name: str, first: str = "", end: str = "") -> None:
    """The window; or the whole width of the page, from one heading to another."""
    target = FIGURES / f"{name}.png"
    clip = None
    if first:
        tops = [
            page.get_by_role("heading", name=each).first.evaluate(
                "e => e.getBoundingClientRect().top"
            )
            for each in (first, end)
        ]
        width = page.evaluate("innerWidth")
        clip = FloatRect(x=0, y=tops[0] - 16, width=width, height=tops[1] - tops[0])
    page.screenshot(path=target, full_page=bool(first), clip=clip)
    console.result(f"drawn: {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
