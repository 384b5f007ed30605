"""Promises of the page: one file that opens anywhere, shows what is wrong, and runs nothing."""

import re
from pathlib import Path

import pytest
from html_page import Page, require_readable_without_seeing, require_self_contained

from mien.config import CheckConfig
from mien.stages import Run
from mien.stages import check as stage
from mien.stages.check import page, report, results
from mien.task import IssueExample, Sample, Skeleton

from . import sets

OFF = {name: CheckConfig(level="off") for name in ("no_subject", "multiple_subjects")}
EVIL = '<img src=x onerror="alert(1)">&quot;.png'


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a set with a leak whose file name is markup, made of the real stage."""
    folder = tmp_path_factory.mktemp("page")
    drawn = sets.distinct(1)
    drawn["test"].append(("<b onload=alert(1)>&.png", "anger", drawn["train"][0][2]))
    run, workspace, version = sets.fetched(
        sets.yolo(folder / "set", drawn), folder / "home", checks=OFF
    )
    done = stage.check(Run.resolve(run, workspace), version)
    return (done.folder / report.PAGE).read_text(encoding="utf-8")


def test_nothing_is_fetched_and_nothing_runs(html: str) -> None:
    """It is one file."""
    require_self_contained(html)


def test_names_from_the_data_are_text(html: str) -> None:
    """A file name cannot become markup."""
    assert "<b onload" not in html
    assert "test/<b onload=alert(1)>&.png" in Page(html).text


def test_everything_can_be_read_without_seeing(html: str) -> None:
    """Headings, a language, a text for every picture, and states in words beside their colour."""
    require_readable_without_seeing(html)
    found = Page(html)
    assert "split_leakage: failed" in found.text
    anchors = {each.get("id") for _, each in found.tags}
    assert all(str(each["href"])[1:] in anchors for each in found.all("a"))


def test_the_pair_stands_side_by_side(html: str) -> None:
    """Both pictures as small JPEGs, each with name, label and split."""
    section = re.search(r'aria-labelledby="split-leakage">(.*?)</section>', html, re.S)
    assert section
    found = Page(section[1])
    shown = [str(each["src"]) for each in found.all("img")]
    assert len(shown) == 2
    assert all(each.startswith("data:image/jpeg;base64,") for each in shown)
    assert len({*shown}) == 1, "the two are the same picture"
    assert "anger in test" in found.text
    assert "anger in train" in found.text
    assert "1 of 17 (5.88%, limit 0.00%)" in found.text


def rendered(example: IssueExample, *samples: Sample, skeleton: Skeleton = ()) -> Page:
    """The one example of a report, as a browser sees it."""
    check = results.DataCheckResult(
        slug="test", level="warn", limit=0.0, count=1, total=1, share=1.0, state="warned",
        description="A test.", examples=(example,), names=example.names,
    )  # fmt: skip
    empty = report.CheckReport(
        task="gesture", version="0" * 64, number=1, source="a source", repaired=False, samples=1,
        splits={}, metadata_baseline=None, checks=(check,),
    )  # fmt: skip
    text = re.search(r'<li class="example">(.*)</li>', page.render(empty, samples, skeleton), re.S)
    assert text
    return Page(text[1])


def drawn(values: tuple[float, ...], skeleton: Skeleton = ()) -> Page:
    """The figure of a row."""
    sample = Sample(EVIL, (EVIL,), "1", "train", values=values)
    return rendered(IssueExample((EVIL,), ""), sample, skeleton=skeleton)


def test_rows_are_drawn_as_points_or_as_a_line() -> None:
    """Numbers in threes are points in a plane; whatever else there is, is a line."""
    points = drawn((0, 0, 5, 1, 0, 5, 1, 2, 5))
    assert [(each["cx"], each["cy"]) for each in points.all("circle")] == [
        ("4.0", "4.0"), ("50.0", "4.0"), ("50.0", "96.0"),
    ]  # fmt: skip
    assert points.all("svg")[0]["aria-label"] == f"{EVIL}: {EVIL} in train"
    assert points.all("line") == []
    joined = drawn((0, 0, 5, 1, 0, 5, 1, 2, 5), skeleton=((0, 1), (1, 7))).all("line")
    assert [(each["x1"], each["x2"]) for each in joined] == [("4.0", "50.0")], "7 is no point"
    assert len(drawn((1, 2, 3, 4)).all("polyline")) == 1
    assert drawn((2, 2, 2, 2, 2, 2)).all("svg"), "all in one place divides by nothing"


def test_a_picture_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    """And a name that is no sample is shown as a name."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    sample = Sample("broken.png", (), "1", "val", broken)
    found = rendered(IssueExample(("broken.png", "data.yaml"), "cut off"), sample)
    assert found.all("img") == []
    assert "cannot be decoded" in found.text
    assert "no label in val" in found.text
    assert "data.yaml" in found.text
    assert "cut off" in found.text
