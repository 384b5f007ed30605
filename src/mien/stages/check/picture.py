"""The report of a check as one picture: what there is, what was found, what gives labels away.

Knows the numbers of a report and nothing of the data.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.reporting.figures import ACCENT, QUIET, WARN, save, sheet

from .gates import Outcome
from .report import LOUD, Report

if TYPE_CHECKING:
    from mien.reporting.figures import Axes

_SHADES = {"train": ACCENT, "val": "#89b0ae", "test": "#e9c46a"}
_INK = {"failed": "#9b2226", "warned": WARN, "noted": "#e9c46a"}


def draw(report: Report, path: Path) -> None:
    """Write `report.png`: classes by split, what gates found, and labels guessed without a look."""
    labels = list(dict.fromkeys(name for split in report.splits.values() for name in split))
    loud = report.those(*LOUD)
    figure = sheet(13, 1.8 + 0.27 * max(len(loud), len(labels), 8))
    classes, shares, guesses = figure.subplots(1, 3, width_ratios=(4, 5, 3))
    _classes(classes, report, labels)
    _gates(shares, loud, len(report.those("passed")))
    _guesses(guesses, report)
    figure.suptitle(f"Check of {report.title}: {report.samples:,} samples")
    save(figure, path)


def _classes(axes: "Axes", report: Report, labels: list[str]) -> None:
    start = np.zeros(len(labels))
    for split, by_label in report.splits.items():
        values = np.array([by_label.get(label, 0) for label in labels], dtype=float)
        axes.barh(labels, values, left=start, color=_SHADES.get(split, QUIET), label=split)
        start += values
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.set_title("Subjects per class and split")


def _gates(axes: "Axes", loud: Sequence[Outcome], silent: int) -> None:
    values = [100 * min(each.share, 1) for each in loud]
    names = [each.name for each in loud]
    axes.barh(names, values, color=[_INK[each.state] for each in loud])
    for place, each in enumerate(loud):
        limit = 100 * each.limit
        axes.plot([limit, limit], [place - 0.4, place + 0.4], color="black", linewidth=1)
        words = f" {each.found:,} of {each.total:,}: {each.state}"
        axes.annotate(words, (max(values[place], limit), place), va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 175)  # room for the words beside the longest bar
    axes.set_xticks(range(0, 101, 25))
    axes.set_title(f"Found, % (line: limit); {silent} gates found nothing")


def _guesses(axes: "Axes", report: Report) -> None:
    if report.shortcut is None:
        axes.set_axis_off()
        return
    found = {"all together": report.shortcut["accuracy"], **dict(report.shortcut["by_fact"])}
    majority = report.shortcut["majority"]
    over = [value > majority + 0.05 for value in found.values()]
    shown = [100 * value for value in found.values()]
    axes.barh(list(found), shown, color=[WARN if each else QUIET for each in over])
    axes.axvline(100 * majority, color="black", linewidth=1, label="commonest label")
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.06))
    axes.set_title("Labels guessed unseen, %")
