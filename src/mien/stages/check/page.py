"""The report of a check as one HTML file: every check, with images of its issues.

It needs no network, no script and no other file. Everything that comes from the data is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mien import images
from mien.errors import ImageError, TooLargeError
from mien.reporting import html
from mien.task import IssueExample, Sample, Skeleton

from .examples import describe_sample
from .report import PAGE, WITH_ISSUES, CheckReport, verdict

_SIDE = 112
"""Pixels of the longer side of a thumbnail."""
_MAX_NAMES = 200
"""Names that the page lists for each check; the others are in report.json."""
_AXES = 3
"""Rows of a multiple of three numbers are drawn as points x, y; z is not shown."""


def write(report: CheckReport, samples: Sequence[Sample], folder: Path, skeleton: Skeleton) -> None:
    """Write `report.html`, while the images of the samples can be read."""
    (folder / PAGE).write_text(render(report, samples, skeleton), encoding="utf-8")


def render(report: CheckReport, samples: Sequence[Sample], skeleton: Skeleton = ()) -> str:
    """The page of a report as HTML."""
    order = (*WITH_ISSUES, "passed", "off")
    values = {
        "report": report,
        "verdict": verdict(report),
        "checks": sorted(report.checks, key=lambda check: order.index(check.state)),
        "states": WITH_ISSUES,
        "samples": {sample.name: sample for sample in samples},
        "skeleton": skeleton,
        "largest": max((sum(each) for each in _class_sizes(report)), default=0) or 1,
        "max_names": _MAX_NAMES,
    }
    functions = (describe_sample, is_shape, plot, remark, thumbnail)
    return html.render(
        Path(__file__).with_name("page.html"),
        values | {each.__name__: each for each in functions},
    )


def _class_sizes(report: CheckReport) -> Iterator[list[int]]:
    """The subjects of each class, split by split."""
    for label in report.labels:
        yield [labels.get(label, 0) for labels in report.splits.values()]


def remark(example: IssueExample, samples: Mapping[str, Sample]) -> str:
    """What the captions of an example's samples do not say already."""
    captions = [describe_sample(samples[name]) for name in example.names if name in samples]
    return example.description.removeprefix("; ".join(captions)).strip()


def thumbnail(path: Path) -> str | None:
    """A small JPEG of an image in base64; None where it cannot be decoded."""
    try:
        pixels = images.read(path.read_bytes(), min_side=_SIDE).pixels
    except (ImageError, TooLargeError):
        return None
    return html.thumbnail(pixels, _SIDE)


def is_shape(values: Sequence[float]) -> bool:
    """Whether a row of numbers is drawn as points in a plane; otherwise as a line."""
    return len(values) >= 2 * _AXES and not len(values) % _AXES


def plot(values: Sequence[float]) -> list[tuple[str, str]]:
    """Points x, y, or a line through the numbers, in a square of 100 x 100."""
    shape = is_shape(values)
    xs = list(values[::_AXES]) if shape else [float(index) for index in range(len(values))]
    ys = list(values[1::_AXES]) if shape else [-value for value in values]
    wide, tall = (max(max(axis) - min(axis), 1e-9) for axis in (xs, ys))
    if shape:
        wide = tall = max(wide, tall)  # a shape keeps its proportions
    return [
        (f"{4 + 92 * (x - min(xs)) / wide:.1f}", f"{4 + 92 * (y - min(ys)) / tall:.1f}")
        for x, y in zip(xs, ys, strict=True)
    ]
