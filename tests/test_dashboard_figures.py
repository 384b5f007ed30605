"""Promises about the picture of a dashboard: it asks what Grafana would ask, and shows gaps."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import ROOT

from bench import dashboard_figures as picture
from bench import dashboard_tiles as tiles
from bench import dashboards as dashboards_bench
from bench.dashboard_tiles import Series, Spot, Tile
from mien.stages.monitor import dashboards
from mien.stages.monitor.panels import DASHBOARDS

LABELS = {
    **{"task": "shape", "version": "2", "label": "round", "candidate": "net", "split": "val"},
    **{"le": "0.5", "stage": "infer", "route": "/predict", "status": "200", "stat": "size"},
    **{"quantity": "size", "check": "whole", "outcome": "ok", "instance": "api:8000"},
}
END = 1_800_000_000.0
NOT_DRAWN = frozenset(
    {
        "Accuracy, estimated without labels",
        "Predictions that wait for the database of the log",
        "Time since the registry's champion was confirmed",
    }
)
"""Panels that are newer than the pictures, until `python3 tasks.py bench dashboards` draws them."""


class RecordingPrometheus:
    """A Prometheus that answers every question with one series, and keeps the questions."""

    def __init__(self, empty: bool = False) -> None:
        self.questions: list[str] = []
        self.empty = empty

    def __call__(self, what: str, parameters: Mapping[str, str]) -> Any:
        if what == "label/stat/values":
            return [] if self.empty else ["light", "size", "sharpness", "width"]
        self.questions.append(parameters["query"])
        points = [[END - 600 + 60 * step, str(0.1 * step)] for step in range(11)]
        values = {"values": points} if what == "query_range" else {"value": points[-1]}
        return {"result": [] if self.empty else [{"metric": LABELS, **values}]}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Tile]:
    """The tiles that are handed to the drawing, which happens all the same."""
    seen: list[Tile] = []
    real = tiles.draw

    def draw(title: str, words: str, shown: list[Tile], path: Path) -> None:
        seen.extend(shown)
        real(title, words, shown, path)

    monkeypatch.setattr(tiles, "draw", draw)
    return seen


@pytest.mark.long
@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_every_panel_is_drawn_with_its_numbers(
    board: dashboards.Dashboard, drawn: list[Tile], tmp_path: Path
) -> None:
    """A picture 1600 pixels wide; each panel at its place, none without data, no variable left."""
    prometheus, document = RecordingPrometheus(), dashboards.as_json(board)
    picture.draw(document, prometheus, tmp_path / "new" / "page.png", end=END)
    with Image.open(tmp_path / "new" / "page.png") as image:
        assert image.width == pytest.approx(1600, abs=1)
    assert not [tile.title for tile in drawn if tile.kind != "row" and tile.empty]
    assert tiles.numbers(tmp_path / "new" / "page.png")["marks"] == [
        *("Alerts: ", "Deployment: shape: version 2")
    ]
    assert not [question for question in prometheus.questions if "$" in question]
    spots = [tile.spot for tile in drawn]
    for panel in document["panels"]:
        assert "repeat" in panel or Spot(**panel["gridPos"]) in spots


def test_a_repeated_panel_is_drawn_for_each_value(drawn: list[Tile], tmp_path: Path) -> None:
    """Three beside each other and the fourth below, each asked for its own value."""
    prometheus = RecordingPrometheus()
    (data,) = [board for board in DASHBOARDS if board.name == "data"]
    picture.draw(dashboards.as_json(data), prometheus, tmp_path / "page.png", end=END)
    repeated = [tile for tile in drawn if tile.title in ("light", "size", "sharpness", "width")]
    first = repeated[0].spot
    assert [tile.spot.x for tile in repeated] == [0, 8, 16, 0]
    assert [tile.spot.y - first.y for tile in repeated] == [0, 0, 0, first.h]
    assert [question for question in prometheus.questions if 'stat=~"sharpness"' in question]


def test_what_a_query_is_for_and_its_words_are_kept(drawn: list[Tile], tmp_path: Path) -> None:
    """Legends are filled in, limits stay limits, numbers with a word become words."""
    (model,) = [board for board in DASHBOARDS if board.name == "model"]
    picture.draw(dashboards.as_json(model), RecordingPrometheus(), tmp_path / "page.png", end=END)
    by_title = {tile.title: tile for tile in drawn}
    names = [(series.name, series.role) for series in by_title["Live accuracy"].series]
    assert names[0] == ("shape v2", "value")
    assert names[-1] == ("shape v2 floor", "limit")
    assert by_title["Model"].words == {"0": "not loaded", "1": "loaded"}
    table = by_title["Scores of every candidate"]
    assert list(table.header) == [
        *("task", "version", "candidate", "split"),
        *("accuracy", "macro-F1", "mAP50", "mAP50-95"),
    ]
    assert list(table.rows) == [["shape", "2", "net", "val", *["100 %"] * 4]]


def test_a_panel_without_data_says_so(drawn: list[Tile], tmp_path: Path) -> None:
    """Red words stand in an empty panel, and no red is in one with data."""
    full = Tile("stat", "full", Spot(0, 0, 4, 4), series=[Series("a", np.zeros(1), np.ones(1))])
    empty = Tile("stat", "empty", Spot(0, 0, 4, 4))
    for name, tile in {"empty": empty, "full": full}.items():
        tiles.draw("", "", [tile], tmp_path / f"{name}.png")
    tiles.draw("", "", [replace(empty, nothing="none")], tmp_path / "well.png")
    red = {name: reds(tmp_path / f"{name}.png") for name in ("empty", "full", "well")}
    assert red["empty"] > 50
    assert red["full"] == red["well"] == 0, "no alert is no missing number"
    picture.draw(
        dashboards.as_json(DASHBOARDS[1]), RecordingPrometheus(empty=True), tmp_path / "page.png"
    )
    assert all(tile.empty for tile in drawn if tile.spot.h > 4)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_the_committed_picture_shows_every_panel(board: dashboards.Dashboard) -> None:
    """A panel that is added is drawn, or named above; where no data may be missing, none are."""
    shown = committed(board.name)["panels"]
    panels = [panel for own in board.rows.values() for panel in own]
    missing = {each.title for each in panels if not each.repeat} - set(shown)
    assert missing <= NOT_DRAWN
    may_be_empty = {each.title for each in panels if each.empty or each.hides_zero}
    empty = {title for title, numbers in shown.items() if not (numbers.get("rows", numbers))}
    assert empty <= may_be_empty


def test_the_committed_pictures_show_one_story() -> None:
    """Clean traffic of the demo's two champions, then darkened faces: drift, and its alert."""
    overview, model, data = (committed(name) for name in ("overview", "model", "data"))
    alerts = {row["alertname"] for row in overview["panels"]["Alerts and their runbooks"]["rows"]}
    assert "MienDrift" in alerts
    for each in (overview, model, data):
        assert {"Alerts: MienDrift", "Deployment: gesture: version 1"} <= set(each["marks"])
    drifted = {
        row["quantity"]
        for row in data["panels"]["Drift now"]["rows"]
        if row["task"] == "emotion" and float(row["score"]) > float(row["threshold"])
    }
    assert "brightness" in drifted
    scored = {row["candidate"] for row in model["panels"]["Scores of every candidate"]["rows"]}
    served = {row["candidate"] for row in overview["panels"]["Served models"]["rows"]}
    assert served < scored


def test_the_readme_says_what_the_overview_shows() -> None:
    """Its caption has the minutes of darkened faces and the number of alerts; each tile agrees
    with the table or the other picture that has the same number in full."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    overview, model, data = (committed(name)["panels"] for name in ("overview", "model", "data"))
    alerts = overview["Alerts and their runbooks"]["rows"]
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    minutes = words[round(dashboards_bench.DARK / 60)]
    count = words[len(alerts)]
    assert f"after {minutes} minutes of darkened faces: drift, and {count} alerts](" in readme
    assert overview["Firing alerts"] == {"alerts": str(len(alerts))}
    assert overview["Served models"] == model["Served models"]
    for name, share in overview["Drift, as part of its threshold"].items():
        own = [row for row in data["Drift now"]["rows"] if row["task"] == name.partition(" ")[0]]
        worst = max(percent(row["score / threshold"]) for row in own)
        assert percent(share) == pytest.approx(worst, rel=0.05, abs=2)
    for name, accuracy in overview["Live accuracy"].items():
        assert percent(accuracy) == pytest.approx(percent(model["Live accuracy"][name]), abs=1)


def percent(words: str) -> float:
    return float(words.removesuffix(" %").replace(",", ""))


def committed(name: str) -> dict[str, Any]:
    """The numbers in a picture of reports/figures/."""
    return tiles.numbers(ROOT / "reports" / "figures" / f"dashboard_{name}.png")


def reds(path: Path) -> int:
    """How many pixels are clearly red."""
    with Image.open(path) as image:
        colours = np.asarray(image.convert("RGB")).astype(int)
    return int(((colours[..., 0] > 150) & (colours[..., 1:].max(axis=2) < 80)).sum())


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        *((0.1234, "percentunit", "12.3 %"), (1.0, "percentunit", "100 %")),
        *(
            (0.0123, "s", "12.3 ms"),
            (0.0, "s", "0 s"),
            (7200.0, "s", "2 h"),
            (90.0, "s", "1.5 min"),
        ),
        *((300e6, "decbytes", "300 MB"), (12.0, "decbytes", "12 B"), (0.0, "decbytes", "0 B")),
        *((4000.0, "short", "4,000"), (2.5e6, "short", "2.5 M"), (0.5, "cps", "0.5 /s")),
        *((0.163, "none", "0.163"), (float("nan"), "s", "no number")),
    ],
)
def test_numbers_are_short(value: float, unit: str, words: str) -> None:
    """Three digits and the unit that makes them few."""
    assert tiles.say(value, unit) == words
