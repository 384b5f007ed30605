"""Draws the panels of a dashboard on its grid, in a simple form of Grafana's look.

Takes numbers and texts; knows neither Prometheus nor the JSON of Grafana.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.reporting import figures

WIDTH, CELL, GAP = 1600, 36, 4
"""Pixels: the picture's width, the height of a grid row, and the space around a tile."""
COLUMNS = 24
COLOURS = (
    *("#2a6f97", "#e07a2f", "#3a8f5c", "#b23a48", "#7b5ea7", "#8c6d46", "#c9609b", "#6b7280"),
    *("#a3a847", "#2fa3ad", "#1d3d63", "#f0b429", "#7fbf7f", "#e08e8e", "#b3a2d1", "#4b4b4b"),
)
RED, GREEN, INK, QUIET, EDGE = "#c4162a", "#37872d", "#24292e", "#6e7781", "#d8dee4"
SMALL, LEGENDS = 7, 12


class Spot(NamedTuple):
    """Where a tile stands: its left upper corner, width and height in cells of the grid."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Series:
    """A line. Times are seconds before the end (0 is now), both arrays of one length."""

    name: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    role: str = "value"


@dataclass(frozen=True)
class Mark:
    """An annotation: a deployment, or an alert that begins to fire; drawn as a line upwards."""

    name: str
    time: float
    """Seconds before the end, as those of a series."""
    colour: str


@dataclass(frozen=True)
class Tile:
    """One panel with its numbers."""

    kind: str
    title: str
    spot: Spot
    unit: str = "none"
    series: Sequence[Series] = ()
    """Of a bar or a number, the last value counts."""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    above: float | None = None
    below: float | None = None
    top: float | None = None
    span: float = 1800
    """Seconds that the axis of time shows."""
    words: Mapping[str, str] = field(default_factory=dict)
    nothing: str = "no data"
    """What stands in an empty tile; in red where data are missing."""
    marks: Sequence[Mark] = ()

    @property
    def empty(self) -> bool:
        return not (self.rows if self.kind == "table" else self.series)

    @property
    def numbers(self) -> dict[str, Any]:
        """The last value of each series, or the lines of the table by their header; as drawn."""
        if self.kind == "table":
            return {"rows": [dict(zip(self.header, row, strict=True)) for row in self.rows]}
        last = {each.name: float(each.values[-1]) for each in self.series}
        return {
            name: self.words.get(f"{value:g}", say(value, self.unit))
            for name, value in last.items()
        }


def draw(title: str, words: str, tiles: Sequence[Tile], path: Path) -> None:
    """Write one picture, `WIDTH` pixels wide and as high as the tiles need.

    Its numbers are in the file too, for `numbers`.
    """
    cells = max(tile.spot.y + tile.spot.h for tile in tiles) + 1
    size = (WIDTH / figures.DPI, cells * CELL / figures.DPI)
    sheet = figures.sheet(*size, layout=None)
    sheet.set_facecolor("#f4f5f7")
    middle = 1 - 0.5 / cells
    sheet.text(8 / WIDTH, middle, title, fontsize=14, weight="bold", va="center", color=INK)
    sheet.text(180 / WIDTH, middle, words, fontsize=10, va="center", color=QUIET)
    for tile in tiles:
        _tile(sheet, tile, cells)
    shown = {tile.title: tile.numbers for tile in tiles if tile.kind != "row"}
    marks = sorted({mark.name for tile in tiles for mark in tile.marks})
    figures.save(sheet, path, {"Description": json.dumps({"panels": shown, "marks": marks})})


def numbers(path: Path) -> dict[str, Any]:
    """What a picture shows: `panels`, numbers by title, and `marks`, the names of annotations."""
    with Image.open(path) as picture:
        document: dict[str, Any] = json.loads(picture.info["Description"])
    return document


def say(value: float, unit: str) -> str:
    """A number with its unit, as short as it can be read."""
    if not np.isfinite(value):
        return "no number"
    if unit == "percentunit":
        return f"{100 * value:.3g} %" if abs(value) < 10 else f"{100 * value:,.0f} %"
    if unit == "s":
        return _scaled(value, _TIMES)
    if unit == "decbytes":
        return _scaled(value, _BYTES)
    ends = {"cps": " /s", "reqps": " req/s"}
    return (_scaled(value, _COUNTS) if abs(value) >= 1 else f"{value:.3g}") + ends.get(unit, "")


_TIMES = ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs"))
_BYTES = ((1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1, " B"))
_COUNTS = ((1e9, " G"), (1e6, " M"), (1, ""))


def _scaled(value: float, steps: Sequence[tuple[float, str]]) -> str:
    """In the largest unit of which there is at least one; 0 in the plain one."""
    fits = [step for step in steps if abs(value) >= step[0]] if value else [(1.0, dict(steps)[1])]
    size, name = fits[0] if fits else steps[-1]
    number = value / size
    return f"{number:.3g}{name}" if abs(number) < 1000 else f"{number:,.0f}{name}"


def _tile(sheet: Any, tile: Tile, cells: int) -> None:
    """The frame, the title, and inside of it what its kind draws."""
    wide, high = WIDTH, cells * CELL
    left, width = tile.spot.x * WIDTH / COLUMNS + GAP, tile.spot.w * WIDTH / COLUMNS - 2 * GAP
    top, height = (tile.spot.y + 1) * CELL + GAP, tile.spot.h * CELL - 2 * GAP

    def axes(inset: tuple[float, float, float, float]) -> Any:
        """Axes that leave so many pixels free: left, top, right, bottom."""
        l, t, r, b = inset  # noqa: E741 - the four sides
        x, y = (left + l) / wide, 1 - (top + height - b) / high
        return sheet.add_axes((x, y, (width - l - r) / wide, (height - t - b) / high))

    if tile.kind == "row":
        sheet.text(
            left / wide,
            1 - (top + height / 2) / high,
            tile.title,
            fontsize=11,
            va="center",
            weight="bold",
            color=QUIET,
        )
        return
    frame = axes((0, 0, 0, 0))
    frame.set(xticks=[], yticks=[], facecolor="white")
    for side in frame.spines.values():
        side.set_color(EDGE)
    sheet.text(
        (left + 8) / wide,
        1 - (top + 12) / high,
        tile.title,
        fontsize=8.5,
        weight="bold",
        color=INK,
        va="center",
    )
    if tile.empty:
        colour = RED if tile.nothing == "no data" else QUIET
        frame.text(0.5, 0.45, tile.nothing, color=colour, fontsize=12, ha="center", va="center")
        return
    _KINDS[tile.kind](tile, axes, width, height)


Axes = Callable[[tuple[float, float, float, float]], Any]


def _timeseries(tile: Tile, axes: Axes, width: float, height: float) -> None:
    columns, lines = _legend_shape(tile, width)
    plot = axes((58, 28, 14, 30 + 13 * lines))
    _time_axis(plot, tile)
    colours = iter(COLOURS * (1 + len(tile.series) // len(COLOURS)))
    by_name: dict[str, str] = {}
    for series in tile.series:
        colour = RED if series.role == "limit" else _colour(series, by_name, colours)
        style = {"value": "-", "bound": ":", "limit": "--"}[series.role]
        thick = 1.4 if series.role == "value" else 1.0
        x, y = series.times / 60, series.values
        alone = "o" if np.isfinite(y).sum() < 3 else None
        plot.plot(x, y, style, color=colour, linewidth=thick, marker=alone, ms=3, label=series.name)
    _scale(plot, tile)
    for mark in tile.marks:
        plot.axvline(mark.time / 60, color=mark.colour, linewidth=0.8, linestyle=":")
        plot.plot(mark.time / 60, 0, "^", color=mark.colour, ms=5, clip_on=False)
    for limit in (tile.above, tile.below):
        if limit is not None:
            plot.axhline(limit, color=RED, linewidth=1, linestyle="--")
    _legend(plot, tile, columns, lines)


def _colour(series: Series, by_name: dict[str, str], colours: Any) -> str:
    """A bound has the colour of the line whose name it continues."""
    if series.role == "bound":
        found = [colour for name, colour in by_name.items() if series.name.startswith(name)]
        if found:
            return found[0]
    by_name[series.name] = next(colours)
    return by_name[series.name]


def _time_axis(plot: Any, tile: Tile) -> None:
    plot.set_xlim(-tile.span / 60, 0)
    plot.xaxis.set_major_formatter(lambda minute, _: "now" if minute == 0 else f"{minute:g} min")
    plot.yaxis.set_major_formatter(lambda value, _: say(value, tile.unit))
    plot.locator_params(axis="x", nbins=max(3, tile.spot.w // 2))
    plot.locator_params(axis="y", nbins=5)
    plot.tick_params(labelsize=SMALL, length=2, color=EDGE, labelcolor=QUIET)
    plot.grid(color="#eceff2", linewidth=0.7)
    for name, side in plot.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(EDGE)


def _scale(plot: Any, tile: Tile) -> None:
    """From 0 to the highest value and limit, with some room above."""
    limits = [limit for limit in (tile.above, tile.below) if limit is not None]
    highest = max([*limits, *(float(np.nanmax(series.values)) for series in tile.series)])
    plot.set_ylim(0, tile.top * 1.04 if tile.top is not None else 1.12 * (highest or 1))


def _legend_shape(tile: Tile, width: float) -> tuple[int, int]:
    """How many names stand beside each other, and how many lines that takes."""
    longest = max(len(series.name) for series in tile.series)
    columns = max(1, int((width - 20) // (26 + 5.4 * longest)))
    return columns, min(4, -(-min(len(tile.series), LEGENDS) // columns))


def _legend(plot: Any, tile: Tile, columns: int, lines: int) -> None:
    lines_drawn, names = plot.get_legend_handles_labels()
    kept = min(len(names), columns * lines)
    if kept < len(names):
        names = [*names[: kept - 1], f"and {len(names) - kept + 1} more"]
    box = plot.get_window_extent()
    plot.legend(
        # Matplotlib fills columns from above; this order reads line by line.
        *(
            [item for start in range(columns) for item in part[start::columns]]
            for part in (lines_drawn[: len(names)], names)
        ),
        ncols=columns,
        loc="upper left",
        bbox_to_anchor=(-50 / box.width, -20 / box.height),
        fontsize=SMALL,
        frameon=False,
        borderpad=0,
        handlelength=1.2,
        labelspacing=0.25,
        columnspacing=1.2,
        labelcolor=INK,
    )


def _stat(tile: Tile, axes: Axes, width: float, height: float) -> None:
    plot = axes((8, 26, 8, 6))
    plot.set_axis_off()
    count = len(tile.series)
    stacked = width / count < 110
    for place, series in enumerate(tile.series):
        value = float(series.values[-1])
        shown = tile.words.get(f"{value:g}", say(value, tile.unit))
        middle = (place + 0.5) / count
        spot = (0.5, 1 - middle) if stacked else (middle, 0.5)
        room = min(width / (1 if stacked else count), 7 * (height - 32) / (count if stacked else 1))
        size = float(np.clip(room / (1.1 * max(len(shown), 5)), 9, 30))
        plot.text(
            *spot, shown, fontsize=size, weight="bold", color=_judged(tile, value),
            ha="center", va="center" if count == 1 else "bottom", transform=plot.transAxes,
        )  # fmt: skip
        if count > 1:
            plot.text(
                *spot, series.name, fontsize=8, color=QUIET, ha="center", va="top",
                transform=plot.transAxes,
            )  # fmt: skip


def _judged(tile: Tile, value: float) -> str:
    """Red beyond a limit, green within, and dark where none is stated."""
    if tile.above is None and tile.below is None:
        return INK
    over = tile.above is not None and value >= tile.above
    under = tile.below is not None and value < tile.below
    return RED if over or under else GREEN


def _bargauge(tile: Tile, axes: Axes, width: float, height: float) -> None:
    longest = max(len(series.name) for series in tile.series)
    plot = axes((16 + min(4.9 * longest, width / 2), 28, 62, 8))
    values = [float(series.values[-1]) for series in tile.series]
    limited = tile.above is not None or tile.below is not None
    colours = [_judged(tile, value) if limited else COLOURS[0] for value in values]
    end = tile.top or max([*values, 1e-9])
    places = np.arange(len(values))
    plot.barh(places, end, color="#f0f2f4", height=0.7)
    plot.barh(places, np.minimum(values, end), color=colours, height=0.7)
    size = float(np.clip((height - 36) / len(values) / 1.9, 4, 8))
    plot.set_yticks(places, [series.name for series in tile.series], fontsize=size, color=INK)
    for spot, value in zip(places, values, strict=True):
        plot.text(end * 1.01, spot, say(value, tile.unit), fontsize=size, va="center", color=INK)
    plot.set(xlim=(0, end), ylim=(len(values) - 0.5, -0.5), xticks=[])
    plot.tick_params(length=0)
    plot.set_frame_on(False)


def _table(tile: Tile, axes: Axes, width: float, height: float) -> None:
    plot = axes((12, 26, 8, 6))
    plot.set_axis_off()
    room = int((height - 32) // 17) - 1
    rows = list(tile.rows)
    if len(rows) > room:
        more = f"and {len(rows) - room + 1} more"
        rows = [*rows[: room - 1], [more, *[""] * (len(tile.header) - 1)]]
    lengths = [
        max(len(column), *(len(row[place]) for row in rows)) + 3
        for place, column in enumerate(tile.header)
    ]
    starts = np.cumsum([0, *lengths[:-1]]) / sum(lengths)
    for line, cells in enumerate([tile.header, *rows]):
        y = 1 - (line + 0.5) * 17 / (height - 32)
        for x, cell in zip(starts, cells, strict=True):
            plot.text(
                x, y, cell, fontsize=7.5, va="center", color=INK if line else QUIET,
                weight="normal" if line else "bold", transform=plot.transAxes,
            )  # fmt: skip


def _heatmap(tile: Tile, axes: Axes, width: float, height: float) -> None:
    """Counts between neighbouring bucket ends; the series are the cumulative buckets."""
    plot = axes((58, 28, 14, 30))
    _time_axis(plot, tile)
    ends = sorted(tile.series, key=lambda series: float(series.name))
    times = np.unique(np.concatenate([series.times for series in ends]))
    counts = np.zeros((len(ends), len(times)))
    for place, series in enumerate(ends):
        counts[place, np.searchsorted(times, series.times)] = series.values
    counts[1:] -= counts[:-1].copy()
    known = [float(series.name) for series in ends if np.isfinite(float(series.name))]
    plot.imshow(
        np.ma.masked_less_equal(counts[: len(known)], 1e-9),
        origin="lower",
        aspect="auto",
        cmap="Blues",
        interpolation="nearest",
        vmin=0,
        extent=(times[0] / 60, times[-1] / 60, 0, known[-1]),
    )


_KINDS: Mapping[str, Callable[[Tile, Axes, float, float], None]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "bargauge": _bargauge,
    "table": _table,
    "heatmap": _heatmap,
}
