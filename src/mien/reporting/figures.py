"""Pictures of numbers, drawn by matplotlib and written as PNG; its only importer.

Figures are made without pyplot: no global state, no window, nothing left open.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mien.task import DataReport, Example, Prediction, Skeleton

from .details import ReliabilityBin
from .drawings import points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure

ACCENT, QUIET, WARN = "#2a6f97", "#c9d6df", "#c8553d"
DPI = 90


def data_report(report: DataReport, path: Path) -> None:
    """Counts per class and split as bars."""
    figure = sheet(7, 4.2)
    axes = figure.subplots()
    labels = list(dict.fromkeys(name for split in report.counts.values() for name in split))
    start = np.zeros(len(labels))
    for (split, by_label), shade in zip(
        report.counts.items(), (ACCENT, "#89b0ae", "#e9c46a", QUIET), strict=False
    ):
        values = np.array([by_label.get(label, 0) for label in labels], dtype=float)
        axes.bar(labels, values, bottom=start, color=shade, label=split)
        start += values
    axes.tick_params(axis="x", rotation=90)
    skipped = sum(report.skipped.values())
    axes.set_title(f"Items per class and split ({skipped:,} left out)", pad=22)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, path)


def confusion(matrix: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Confusion matrix in shares of each true class; the last column is 'nothing found'."""
    size = 2.4 + 0.36 * len(labels)
    figure = sheet(size + 0.6, size)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if matrix[row, column]:
            ink = "white" if share > 0.6 else "black"
            text = axes.text(
                column, row, f"{share:.0%}"[:-1], ha="center", va="center", color=ink, fontsize=7
            )
            text.set_in_layout(False)  # it lies within the axes; to measure hundreds takes seconds
    axes.set_xticks(range(len(labels) + 1), [*labels, "nothing"], rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer", ylabel="truth", title="Confusion, % of each true class")
    save(figure, path)


def classes(f1: NDArray[np.float64], labels: Sequence[str], path: Path) -> None:
    """F1 of each class as bars."""
    figure = sheet(5, 1.2 + 0.25 * len(labels))
    axes = figure.subplots()
    axes.barh(labels, f1, color=ACCENT)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title="F1 of each class")
    axes.axvline(float(f1.mean()), color=WARN, linewidth=1, label=f"mean {f1.mean():.3f}")
    axes.legend(frameon=False, loc="lower left")
    save(figure, path)


def reliability(
    before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin], path: Path
) -> None:
    """Accuracy against confidence, before and after calibration; calibrated confidence follows the
    diagonal. Lines up and down are 95 % intervals."""
    figure = sheet(8, 4)
    for axes, bins, title in zip(
        figure.subplots(1, 2), (before, after), ("before", "after"), strict=True
    ):
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
        confidences = [each.confidence for each in bins]
        lows, highs = ([getattr(each, end) for each in bins] for end in ("low", "high"))
        axes.vlines(confidences, lows, highs, color=QUIET, linewidth=2)
        axes.plot(confidences, [each.accuracy for each in bins], "o", color=ACCENT)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), title=f"Reliability {title} calibration")
        axes.set(xlabel="confidence", ylabel="accuracy")
    save(figure, path)


def history(steps: Sequence[Mapping[str, float]], path: Path) -> None:
    """Every metric of a training: epochs as lines, losses left and scores in 0..1 right; folds,
    which have no losses and no order, as points."""
    names = dict.fromkeys(name for step in steps for name in step)
    losses = [name for name in names if "loss" in name or max(_column(steps, name)) > 1]
    panels = [
        (title, members)
        for title, members in (
            ("losses and others", losses),
            ("scores", [name for name in names if name not in losses]),
        )
        if members
    ]
    figure = sheet(4 * max(len(panels), 1), 3.2)
    style, unit = ("o-", "epoch") if losses else ("o", "fold")
    for axes, (title, members) in zip(
        figure.subplots(1, max(len(panels), 1), squeeze=False).flat, panels, strict=False
    ):
        for name in members:
            steps_with = [place + 1 for place, step in enumerate(steps) if name in step]
            axes.plot(steps_with, _column(steps, name), style, ms=3, linewidth=1, label=name)
        axes.set(xlabel=unit, title=title)
        axes.legend(frameon=False, fontsize=7)
    save(figure, path)


def _column(steps: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [step[name] for step in steps if name in step]


def samples(
    shown: Sequence[tuple[Example, Prediction]],
    names: Sequence[str],
    path: Path,
    skeleton: Skeleton = (),
) -> None:
    """A sheet of examples with what the model found in them: box, points with bones, and label."""
    columns = 6
    rows = max(1, -(-len(shown) // columns))
    figure = sheet(2 * columns, 2.2 * rows + 0.4, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: many take seconds
    for index, (example, prediction) in enumerate(shown):
        row, column = divmod(index, columns)
        _sample(axes, (column + 0.5, row + 0.55), example, prediction, skeleton)
    axes.set(xlim=(0, columns), ylim=(rows, -0.4 / 2.2), aspect="auto")
    axes.set_axis_off()
    figure.suptitle(", ".join(names), fontsize=9)
    save(figure, path)


def sheet(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> "Figure":
    """An empty figure of so many inches; without a layout, axes stay where they are put."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def save(figure: "Figure", path: Path, texts: Mapping[str, str] | None = None) -> None:
    """Write it with `DPI` pixels an inch, and texts that stand in the file beside the picture; the
    same numbers give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # `savefig` lays out and draws twice
    stored = PngInfo()
    for name, text in (texts or {}).items():
        stored.add_text(name, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(
        path, "PNG", pnginfo=stored
    )


def _sample(
    axes: Any,
    centre: tuple[float, float],
    example: Example,
    prediction: Prediction,
    skeleton: Skeleton,
) -> None:
    """Draw one example around a point, 0.8 wide and high at most."""
    best, image = prediction.best, example.request.image
    right = (best.label if best else None) == example.label
    hands = [points[:, :2] for points in points_of(example, best)]
    if image is not None:
        extent = np.array([[0, 0], example.request.size])  # the picture may have been read reduced
    else:
        extent = np.concatenate(hands or [np.eye(2)])
    low, high = extent.min(axis=0), extent.max(axis=0)
    scale = 0.8 / max(float((high - low).max()), 1e-9)

    def at(points: Any) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = (np.asarray(points) - (low + high) / 2) * scale + centre
        return placed

    if image is not None:
        (left, top), (end, bottom) = at(low - 0.5), at(high - 0.5)
        axes.imshow(image, extent=(left, end, bottom, top))
    if best and best.box:
        x1, y1, x2, y2 = best.box
        corners = at([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
        axes.plot(*corners.T, color=ACCENT, linewidth=1)
    for points in map(at, hands):
        if skeleton:  # one line with gaps
            bones = np.insert(points[np.array(skeleton)], 2, np.nan, axis=1)
            axes.plot(*bones.reshape(-1, 2).T, color=QUIET, linewidth=1)
        axes.plot(*points.T, ".", color=ACCENT, markersize=3)
    answer = f"{best.label} {best.confidence:.2f}" if best else prediction.outcome
    text = answer if right else f"{answer}\nis {example.label}"
    ink = "black" if right else WARN
    x, y = centre
    axes.text(x, y - 0.42, text, fontsize=7, color=ink, ha="center", va="bottom")
