"""Figures of dashboards: runs the queries of their JSON in a Prometheus, and draws the results.

The queries are those of Grafana, so an empty panel here is an empty panel there.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import dashboard_tiles as tiles
from bench.dashboard_tiles import Mark, Series, Spot, Tile
from mien.stages.monitor import dashboards, promql
from mien.stages.monitor.dashboards import Dashboard
from mien.stages.monitor.grafana import Json

Ask = Callable[[str, Mapping[str, str]], Any]
"""Asks Prometheus' HTTP API: a path below /api/v1 and its parameters, to the field `data`."""
POINTS = 240
"""Steps over the width of a panel."""
_LABEL = re.compile(r"{{\s*(\w+)\s*}}")


def write(boards: Iterable[Dashboard], ask: Ask, folder: Path, minutes: float = 30) -> list[Path]:
    """Draw each dashboard as NAME.png, from what a Prometheus holds."""
    paths = []
    for board in boards:
        path = folder / f"{board.name}.png"
        draw(dashboards.as_json(board), ask, path, minutes)
        paths.append(path)
    return paths


def draw(board: Json, ask: Ask, path: Path, minutes: float = 30, end: float | None = None) -> None:
    """Draw a dashboard over the last minutes before `end` (seconds since 1970; now)."""
    window = _Window(ask, end or time.time(), 60 * minutes)
    marks = list(window.marks(board["annotations"]["list"]))
    shown = [
        replace(tile, marks=marks) if tile.kind == "timeseries" else tile
        for panel in board["panels"]
        for tile in _tiles(panel, window)
    ]
    tiles.draw(board["title"], board["description"], shown, path)


class _Window:
    """A Prometheus, asked about one stretch of time."""

    def __init__(self, ask: Ask, end: float, seconds: float) -> None:
        self.ask, self.end, self.seconds = ask, end, seconds
        self.step = max(1, round(seconds / POINTS))

    def values(self, label: str) -> list[str]:
        found: list[str] = self.ask(f"label/{label}/values", {})
        return found

    def matrix(self, expr: str) -> list[Json]:
        span = {"start": self.end - self.seconds, "end": self.end, "step": self.step}
        asked = {"query": expr, **{name: f"{value}" for name, value in span.items()}}
        found: list[Json] = self.ask("query_range", asked)["result"]
        return found

    def vector(self, expr: str) -> list[Json]:
        asked = {"query": expr, "time": f"{self.end}"}
        found: list[Json] = self.ask("query", asked)["result"]
        return [{**one, "values": [one["value"]]} for one in found]

    def series(self, target: Json, role: str, **values: str) -> Iterator[Series]:
        expr = promql.fill(target["expr"], **values)
        for one in self.vector(expr) if target["instant"] else self.matrix(expr):
            points = np.array([(float(at), float(value)) for at, value in one["values"]])
            name = _named(target["legendFormat"], one["metric"])
            yield Series(name, points[:, 0] - self.end, points[:, 1], role)

    def marks(self, annotations: Iterable[Json]) -> Iterator[Mark]:
        """The starts of what Prometheus annotates; what lies in Grafana itself is left out."""
        for each in annotations:
            for one in self.matrix(promql.fill(each["expr"])) if "expr" in each else ():
                name = f"{each['name']}: {_named(each['titleFormat'], one['metric'])}"
                yield Mark(name, float(one["values"][0][0]) - self.end, each["iconColor"])


def _named(form: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda match: labels.get(match[1], ""), form)


def _tiles(panel: Json, window: _Window) -> Iterator[Tile]:
    """The panel's tile, or one tile for each value of the variable that it is repeated for."""
    spot, repeat = panel["gridPos"], panel.get("repeat")
    if not repeat:
        yield _tile(panel, spot, window, {})
        return
    values = window.values(repeat)
    wide = tiles.COLUMNS // max(1, min(panel["maxPerRow"], len(values)))
    for place, value in enumerate(values):
        down, across = divmod(place, panel["maxPerRow"])
        here = {**spot, "w": wide, "x": across * wide, "y": spot["y"] + down * spot["h"]}
        yield _tile({**panel, "title": value}, here, window, {repeat: value})
    if not values:
        yield _tile(panel, spot, window, {})


def _tile(panel: Json, spot: Json, window: _Window, values: Mapping[str, str]) -> Tile:
    kind = panel["type"]
    place = Spot(spot["x"], spot["y"], spot["w"], spot["h"])
    if kind == "row":
        return Tile(kind, panel["title"], place)
    form = panel["fieldConfig"]["defaults"]
    if kind == "table":
        header, rows = _table(panel, window)
        nothing = form["noValue"]
        return Tile(kind, panel["title"], place, header=header, rows=rows, nothing=nothing)
    roles = _roles(panel)
    series = [
        one
        for target in panel["targets"]
        for one in window.series(target, roles.get(target["refId"], "value"), **values)
    ]
    above, below = _limits(form)
    return Tile(
        kind,
        panel["title"],
        place,
        # The values of a heatmap are counts; what its axis shows has a unit of its own.
        unit=panel["options"]["yAxis"]["unit"] if kind == "heatmap" else form["unit"],
        series=series,
        above=above,
        below=below,
        top=form.get("max"),
        span=window.seconds,
        nothing=form["noValue"],
        words={
            number: shown["text"]
            for mapping in form["mappings"]
            for number, shown in mapping["options"].items()
        },
    )


def _roles(panel: Json) -> dict[str, str]:
    """Whether a query is a limit or a bound, by how its lines are to look."""
    fills = {"dash": "limit", "dot": "bound"}
    return {
        override["matcher"]["options"]: fills[change["value"]["fill"]]
        for override in panel["fieldConfig"]["overrides"]
        for change in override["properties"]
        if change["id"] == "custom.lineStyle"
    }


def _limits(form: Json) -> tuple[float | None, float | None]:
    steps = form["thresholds"]["steps"]
    if len(steps) < 2:
        return None, None
    value = float(steps[1]["value"])
    return (value, None) if steps[1]["color"] == "red" else (None, value)


def _table(panel: Json, window: _Window) -> tuple[list[str], list[list[str]]]:
    """The header and the lines: answers with the same shared labels stand in one line."""
    answers = {
        target["refId"]: window.vector(promql.fill(target["expr"])) for target in panel["targets"]
    }
    keys = _shared([one["metric"] for found in answers.values() for one in found])
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    units = _units(panel)
    titles = panel["transformations"][1]["options"]["renameByName"]
    for ref, found in answers.items():
        title = titles.get(f"Value #{ref}", "")
        unit = units.get(title, panel["fieldConfig"]["defaults"]["unit"])
        for one in found:
            line = lines.setdefault(tuple(one["metric"][key] for key in keys), {})
            line.update(one["metric"])
            if title:
                line[title] = tiles.say(float(one["values"][-1][1]), unit)
    order = panel["transformations"][1]["options"]["indexByName"]
    header = [*order, *(title for title in titles.values() if title)]
    return header, sorted([line.get(name, "") for name in header] for line in lines.values())


def _shared(labels: Sequence[Mapping[str, str]]) -> list[str]:
    return [name for name in (labels[0] if labels else ()) if all(name in one for one in labels)]


def _units(panel: Json) -> dict[str, str]:
    return {
        override["matcher"]["options"]: override["properties"][0]["value"]
        for override in panel["fieldConfig"]["overrides"]
    }
