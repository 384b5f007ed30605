"""The report of a check as one HTML file: every check, with images of its issues.

It needs no network, no script and no other file. Everything that comes from the data is escaped.
"""

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from mien import images
from mien.errors import ImageError, TooLargeError
from mien.task import IssueExample, Sample

from .examples import describe_sample
from .report import CHART, PAGE, WITH_ISSUES, CheckReport, verdict
from .results import DataCheckResult

_SIDE = 112
"""Pixels of the longer side of a thumbnail."""
_QUALITY = 75
_MAX_NAMES = 200
"""Names that the page lists for each check; the others are in report.json."""
_AXES = 3
"""Rows of a multiple of three numbers are drawn as points x, y; z is not shown."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2b33; --paper: #fff; --line: #c9d6df; --soft: #f2f6f8;
  --failed: #9b2226; --warned: #8a4b00; --noted: #4a5a00; --passed: #1f6f43; --off: #566; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf1; --paper: #14191d; --line: #3b4a54;
  --soft: #1d252b; --failed: #ff8f8f; --warned: #ffbf69; --noted: #d6d97a; --passed: #7fd6a4;
  --off: #9ab; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 0 0 .25rem; }
a { color: inherit; } p { margin: .25rem 0 .75rem; }
code { background: var(--soft); padding: 0 .2em; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.number { text-align: right; white-space: nowrap; } td:last-child { min-width: 16rem; }
section { border-top: 1px solid var(--line); padding: 1rem 0; }
.failed, .warned, .noted, .passed, .off { font-weight: 600; }
.failed { color: var(--failed); } .warned { color: var(--warned); } .noted { color: var(--noted); }
.passed { color: var(--passed); } .off { color: var(--off); }
.examples { display: flex; flex-wrap: wrap; gap: .75rem; list-style: none; padding: 0; }
.example { display: flex; gap: .5rem; background: var(--soft); border: 1px solid var(--line);
  border-radius: .4rem; padding: .5rem; }
figure { margin: 0; width: 7.5rem; font-size: .8rem; line-height: 1.3; }
figure img, figure svg { display: block; width: 112px; height: 112px; object-fit: contain;
  background: var(--paper); }
figcaption, .names { overflow-wrap: anywhere; } .names { font-size: .85rem; }
.chart { max-width: 100%; height: auto; background: #fff; }
circle { fill: var(--ink); } polyline { fill: none; stroke: var(--ink); }
"""


def write(report: CheckReport, samples: Sequence[Sample], folder: Path) -> None:
    """Write `report.html` beside `report.png`, while the images of the samples can be read."""
    by_name = {sample.name: sample for sample in samples}
    chart = b64encode((folder / CHART).read_bytes()).decode()
    title = escape(f"Check of {report.title}")
    results = sorted(report.in_state(*WITH_ISSUES), key=_rank)
    page = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{title}</h1>",
        f"<p>{_code(verdict(report))}</p>",
        f"<p>{report.samples:,} samples from {escape(report.source)}.</p>",
        _overview(report.checks),
        f'<img class="chart" alt="{escape(_alt_text(report))}" '
        f'src="data:image/png;base64,{chart}">',
        *(_section(result, by_name) for result in results),
        "</main>\n</body>\n</html>\n",
    ]
    (folder / PAGE).write_text("\n".join(page), encoding="utf-8")


def _overview(results: Iterable[DataCheckResult]) -> str:
    """Every check in a row, those with issues first."""
    ranked = sorted(results, key=_rank)
    rows = "\n".join(
        f'<tr><td class="{each.state}">{each.state}</td><th scope="row">{_link(each)}</th>'
        f'<td class="number">{each.count:,} of {each.total:,}</td>'
        f'<td class="number">{100 * each.limit:.4g} %</td><td>{each.level}</td>'
        f"<td>{escape(each.description)}</td></tr>"
        for each in ranked
    )
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("state", "check", "issues", "limit", "level", "description")
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _rank(result: DataCheckResult) -> int:
    return (*WITH_ISSUES, "passed", "off").index(result.state)


def _link(result: DataCheckResult) -> str:
    slug = escape(result.slug)
    return f'<a href="#{_anchor(result)}">{slug}</a>' if result.count else slug


def _anchor(result: DataCheckResult) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in result.slug)


def _alt_text(report: CheckReport) -> str:
    """The chart in words."""
    splits = ", ".join(f"{sum(each.values()):,} in {name}" for name, each in report.splits.items())
    shares = ", ".join(
        f"{each.slug} {each.share:.1%}" for each in report.checks if each.count and each.total
    )
    issues = shares or "none"
    return f"Bars of subjects by class and split ({splits}) and of issues by check: {issues}"


def _section(result: DataCheckResult, by_name: Mapping[str, Sample]) -> str:
    examples = "\n".join(_example(each, by_name) for each in result.examples)
    return (
        f'<section aria-labelledby="{_anchor(result)}">\n'
        f'<h2 id="{_anchor(result)}">{escape(result.slug)}: '
        f'<span class="{result.state}">{result.state}</span></h2>\n'
        f"<p>{result.count:,} of {result.total:,} ({result.share:.2%}, limit {result.limit:.2%}): "
        f"{escape(result.description)}</p>\n"
        f'<ul class="examples">\n{examples}\n</ul>\n{_names(result)}</section>'
    )


def _names(result: DataCheckResult) -> str:
    """The names of samples with issues, where the examples do not show all of them."""
    if len(result.names) <= sum(len(each.names) for each in result.examples):
        return ""
    more = (
        f" The first {_MAX_NAMES} of them; all are in report.json."
        if len(result.names) > _MAX_NAMES
        else ""
    )
    names = ", ".join(escape(name) for name in result.names[:_MAX_NAMES])
    return (
        f"<details><summary>{len(result.names):,} names</summary>"
        f'<p class="names">{names}.{more}</p></details>\n'
    )


def _example(example: IssueExample, by_name: Mapping[str, Sample]) -> str:
    figures = "".join(_figure(name, by_name.get(name)) for name in example.names)
    captions = "; ".join(
        describe_sample(by_name[name]) for name in example.names if name in by_name
    )
    rest = example.description.removeprefix(captions).strip()  # captions say it already
    text = f"<p>{escape(rest)}</p>" if rest else ""
    return f'<li class="example">{figures}{text}</li>'


def _figure(name: str, sample: Sample | None) -> str:
    alt = f"{name}: {describe_sample(sample)}" if sample else name
    caption = f"<figcaption>{escape(name)}"
    caption += (
        f"<br><b>{escape(describe_sample(sample))}</b></figcaption>" if sample else "</figcaption>"
    )
    return f"<figure>{_drawing(sample, alt) if sample else ''}{caption}</figure>"


def _drawing(sample: Sample, alt: str) -> str:
    """A thumbnail of an image, or a plot of a row of numbers."""
    if sample.image_path is not None:
        small = _thumbnail(sample.image_path)
        if small is None:
            return "<p>cannot be decoded</p>"
        return f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{small}">'
    return _plot(sample.values, alt) if sample.values else ""


def _thumbnail(path: Path) -> str | None:
    try:
        pixels = images.read(path.read_bytes(), min_side=_SIDE).pixels
    except (ImageError, TooLargeError):
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY)
    return b64encode(out.getvalue()).decode()


def _plot(values: Sequence[float], alt: str) -> str:
    """Points x, y, or a line through the numbers, in a square of 100 x 100."""
    points = len(values) >= 2 * _AXES and not len(values) % _AXES
    xs = list(values[::_AXES]) if points else [float(index) for index in range(len(values))]
    ys = list(values[1::_AXES]) if points else [-value for value in values]
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    wide, tall = (max(end - start, 1e-9) for start, end in zip(low, high, strict=True))
    if points:
        wide = tall = max(wide, tall)  # a shape keeps its proportions
    centres = [
        (4 + 92 * (x - low[0]) / wide, 4 + 92 * (y - low[1]) / tall)
        for x, y in zip(xs, ys, strict=True)
    ]
    inside = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in centres)
        if points
        else f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in centres)}"/>'
    )
    return f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 100 100">{inside}</svg>'


def _code(text: str) -> str:
    """Escaped text with `this` as code."""
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
