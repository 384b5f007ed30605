"""Promises of the report of a run: one file that says what came of it, why, and what to do next."""

import re
import shutil
from pathlib import Path

import browser
import pytest
import yaml
from command_line import CommandLine
from html_page import Page, require_readable_without_seeing, require_self_contained
from small import GESTURE

from mien import pipeline
from mien.config import Policy
from mien.errors import PolicyError
from mien.reporting.details import CandidateDetails
from mien.storage.workspace import DETAILS, Workspace, read_latest


@pytest.fixture(scope="module")
def html(small_gesture: Workspace) -> str:
    """The report of a real run."""
    return (small_gesture.reports("gesture") / "small" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def details(small_gesture: Workspace) -> CandidateDetails:
    """What the evaluation of that run stored."""
    evaluated = read_latest(small_gesture.evaluated("gesture"), "small", "")
    path = evaluated / DETAILS / "logistic_regression.json"
    return CandidateDetails.model_validate_json(path.read_text(encoding="utf-8"))


def test_the_page_is_one_file(html: str, small_gesture: Workspace) -> None:
    """It opens anywhere; the check of the data is beside it."""
    require_self_contained(html, links=("../check.html",))
    require_readable_without_seeing(html)
    assert (small_gesture.reports("gesture") / "check.html").is_file()


def test_the_verdict_and_the_next_command_come_first(html: str) -> None:
    """Before any table."""
    head = Page(html[: html.index("<table")] + "</section></main></body></html>").text
    assert "mien-gesture version 1 is champion" in head
    assert "Next: mien serve gesture" in head
    assert "accuracy on test" in head


def test_the_page_fits_a_phone(small_gesture: Workspace, html: str) -> None:
    """390 pixels: tables scroll inside of the page, not the page; the heading says a name once."""
    assert "<h1>Training run small of gesture</h1>" in html
    browser.require()
    page = small_gesture.reports("gesture") / "small" / "index.html"
    with browser.running() as chromium, browser.visiting(chromium, page.as_uri(), 390) as visit:
        visit.page.evaluate(
            "for (const each of document.querySelectorAll('details')) each.open = true"
        )
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_part_of_a_run_is_there(html: str) -> None:
    """From the candidates to the card."""
    text = Page(html).text
    for part in (
        "Candidates", "Confusion on test", "Scores of each class", "Precision (up) against recall",
        "Calibration: accuracy", "Slices of test", "The worst mistakes", "Card", "Data",
        "Where it comes from", "passes its checks", "train: ", "macro-F1 on test",
    ):  # fmt: skip
        assert part in text, part


def test_mistakes_are_drawn_with_their_bones(html: str, details: CandidateDetails) -> None:
    """Each of the worst has truth, answer, and the 20 bones of a hand."""
    assert details.mistakes, "a small model is wrong somewhere"
    shown = re.findall(r'<li class="example">.*?</li>', html, re.S)
    assert len(shown) == len(details.mistakes)
    for text, mistake in zip(shown, details.mistakes, strict=True):
        figure = Page(text)
        assert len(figure.all("line")) == 20
        assert len(figure.all("circle")) == 21
        assert f"is {mistake.truth}" in figure.text
        assert f"answer {mistake.answer}" in figure.text


def test_the_confusion_counts_the_test_split(html: str, details: CandidateDetails) -> None:
    """A cell for each pair of labels, and one for nothing detected."""
    labels = len(details.labels)
    cells = re.findall(r'<td style="--share: ([\d.]+)"', html)
    assert len(cells) == labels * (labels + 1)
    rows = [
        sum(map(float, cells[start : start + labels + 1]))
        for start in range(0, len(cells), labels + 1)
    ]
    assert rows == pytest.approx([1.0] * labels, abs=0.01)


def test_a_run_of_which_nothing_is_chosen_has_a_report(
    small_gesture: Workspace, tmp_path: Path
) -> None:
    """The error names it, and it says why."""
    shutil.copytree(small_gesture.home, tmp_path, dirs_exist_ok=True)
    tiny = Policy(max_bundle_mb=1e-6, max_cpu_cost=1e9)
    run = GESTURE.model_copy(update={"policy": tiny, "source": "@"})
    with pytest.raises(PolicyError) as refused:
        pipeline.run(run, Workspace(tmp_path))
    page = tmp_path / "reports" / "gesture" / "small" / "index.html"
    assert f"Report: {page}" in refused.value.__notes__
    text = Page(page.read_text(encoding="utf-8")).text
    assert "Next: mien run small --set policy.KEY=VALUE" in text
    assert "is not chosen" in text


def test_the_report_is_the_last_line_of_a_run(
    small_gesture: Workspace, tmp_path: Path, command_line: CommandLine
) -> None:
    """On standard output, where a script finds it."""
    shutil.copytree(small_gesture.home, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(GESTURE.model_dump(mode="json", exclude={"name"})))
    done = command_line("run", str(config), "--source", "@", home=tmp_path)
    page = tmp_path / "reports" / "gesture" / "small" / "index.html"
    assert done.stdout.splitlines()[-1] == f"Report: {page}"


def test_an_unchanged_run_leaves_its_report_as_it_is(
    small_gesture: Workspace, tmp_path: Path
) -> None:
    """It names the page; a page that was deleted is written again."""
    shutil.copytree(small_gesture.home, tmp_path, dirs_exist_ok=True)
    run = GESTURE.model_copy(update={"source": "@"})
    page = pipeline.run(run, Workspace(tmp_path)).page
    before = page.stat().st_mtime_ns
    assert pipeline.run(run, Workspace(tmp_path)).page.stat().st_mtime_ns == before
    page.unlink()
    assert pipeline.run(run, Workspace(tmp_path)).page.is_file()
