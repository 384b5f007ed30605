"""The report of a check as one chart: class sizes, shares of issues, labels from metadata.

Knows the numbers of a report and nothing of the data.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.reporting.figures import ACCENT, QUIET, WARN, save, sheet

from .report import WITH_ISSUES, CheckReport
from .results import DataCheckResult

if TYPE_CHECKING:
    from mien.reporting.figures import Axes

_SPLIT_COLOURS = {"train": ACCENT, "val": "#89b0ae", "test": "#e9c46a"}
_STATE_COLOURS = {"failed": "#9b2226", "warned": WARN, "noted": "#e9c46a"}


def draw(report: CheckReport, path: Path) -> None:
    """Write `report.png`: classes by split, issues by check, and labels predicted from metadata."""
    labels = list(dict.fromkeys(name for split in report.splits.values() for name in split))
    results = report.in_state(*WITH_ISSUES)
    figure = sheet(13, 1.8 + 0.27 * max(len(results), len(labels), 8))
    classes, issues, baseline = figure.subplots(1, 3, width_ratios=(4, 5, 3))
    _draw_classes(classes, report, labels)
    _draw_issues(issues, results, len(report.in_state("passed")))
    _draw_baseline(baseline, report)
    figure.suptitle(f"Check of {report.title}: {report.samples:,} samples")
    save(figure, path)


def _draw_classes(axes: "Axes", report: CheckReport, labels: list[str]) -> None:
    start = np.zeros(len(labels))
    for split, by_label in report.splits.items():
        values = np.array([by_label.get(label, 0) for label in labels], dtype=float)
        colour = _SPLIT_COLOURS.get(split, QUIET)
        axes.barh(labels, values, left=start, color=colour, label=split)
        start += values
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.set_title("Subjects per class and split")


def _draw_issues(axes: "Axes", results: Sequence[DataCheckResult], passed: int) -> None:
    values = [100 * min(each.share, 1) for each in results]
    slugs = [each.slug for each in results]
    axes.barh(slugs, values, color=[_STATE_COLOURS[each.state] for each in results])
    for row, each in enumerate(results):
        limit = 100 * each.limit
        axes.plot([limit, limit], [row - 0.4, row + 0.4], color="black", linewidth=1)
        text = f" {each.count:,} of {each.total:,}: {each.state}"
        axes.annotate(text, (max(values[row], limit), row), va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 175)  # room for the text beside the longest bar
    axes.set_xticks(range(0, 101, 25))
    axes.set_title(f"Issues, % (line: limit); {passed} checks without issues")


def _draw_baseline(axes: "Axes", report: CheckReport) -> None:
    baseline = report.metadata_baseline
    if baseline is None:
        axes.set_axis_off()
        return
    accuracy = {"all together": baseline.accuracy, **dict(baseline.by_feature)}
    majority = baseline.majority
    colours = [WARN if value > majority + 0.05 else QUIET for value in accuracy.values()]
    axes.barh(list(accuracy), [100 * value for value in accuracy.values()], color=colours)
    axes.axvline(100 * majority, color="black", linewidth=1, label="most common label")
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.set_title("Labels predicted from metadata, %")
