"""The report of a check as one HTML file: every gate in plain words, with what it found to look at.

It needs no network, no script and no file beside it. Whatever comes from the data is escaped.
"""

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from mien import images
from mien.errors import ImageError, TooLargeError
from mien.task import Sample

from .findings import said
from .gates import Case, Outcome
from .report import LOUD, PAGE, PICTURE, Report, verdict

_SIDE = 112
"""Pixels of the longer side of what is shown of a picture."""
_QUALITY = 75
_NAMED = 200
"""Names that the page lists of each gate; the others are in report.json."""
_AXES = 3
"""Rows of a multiple of three numbers are drawn as points of x, y and a z that is not shown."""

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
.cases { display: flex; flex-wrap: wrap; gap: .75rem; list-style: none; padding: 0; }
.case { display: flex; gap: .5rem; background: var(--soft); border: 1px solid var(--line);
  border-radius: .4rem; padding: .5rem; }
figure { margin: 0; width: 7.5rem; font-size: .8rem; line-height: 1.3; }
figure img, figure svg { display: block; width: 112px; height: 112px; object-fit: contain;
  background: var(--paper); }
figcaption, .names { overflow-wrap: anywhere; } .names { font-size: .85rem; }
.chart { max-width: 100%; height: auto; background: #fff; }
circle { fill: var(--ink); } polyline { fill: none; stroke: var(--ink); }
"""


def write(report: Report, samples: Sequence[Sample], folder: Path) -> None:
    """Write `report.html` beside `report.png`, while the pictures of the samples can be read."""
    shown = {sample.name: sample for sample in samples}
    chart = b64encode((folder / PICTURE).read_bytes()).decode()
    title = escape(f"Check of {report.title}")
    found = sorted(report.those(*LOUD), key=_rank)
    page = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{title}</h1>",
        f"<p>{_code(verdict(report))}</p>",
        f"<p>{report.samples:,} samples from {escape(report.source)}.</p>",
        _overview(report.gates),
        f'<img class="chart" alt="{escape(_alternative(report))}" '
        f'src="data:image/png;base64,{chart}">',
        *(_section(gate, shown) for gate in found),
        "</main>\n</body>\n</html>\n",
    ]
    (folder / PAGE).write_text("\n".join(page), encoding="utf-8")


def _overview(gates: Iterable[Outcome]) -> str:
    """Every gate in a row, those that found something first."""
    ranked = sorted(gates, key=_rank)
    rows = "\n".join(
        f'<tr><td class="{each.state}">{each.state}</td><th scope="row">{_link(each)}</th>'
        f'<td class="number">{each.found:,} of {each.total:,}</td>'
        f'<td class="number">{100 * each.limit:.4g} %</td><td>{each.level}</td>'
        f"<td>{escape(each.meaning)}</td></tr>"
        for each in ranked
    )
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("state", "gate", "found", "limit", "level", "meaning")
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _rank(gate: Outcome) -> int:
    return (*LOUD, "passed", "off").index(gate.state)


def _link(gate: Outcome) -> str:
    name = escape(gate.name)
    return f'<a href="#{_anchor(gate)}">{name}</a>' if gate.found else name


def _anchor(gate: Outcome) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in gate.name)


def _alternative(report: Report) -> str:
    """The chart in words."""
    splits = ", ".join(f"{sum(each.values()):,} in {name}" for name, each in report.splits.items())
    shares = ", ".join(
        f"{each.name} {each.share:.1%}" for each in report.gates if each.found and each.total
    )
    found = shares or "nothing"
    return f"Bars of subjects by class and split ({splits}) and of what gates found: {found}"


def _section(gate: Outcome, shown: Mapping[str, Sample]) -> str:
    cases = "\n".join(_case(case, shown) for case in gate.examples)
    return (
        f'<section aria-labelledby="{_anchor(gate)}">\n'
        f'<h2 id="{_anchor(gate)}">{escape(gate.name)}: '
        f'<span class="{gate.state}">{gate.state}</span></h2>\n'
        f"<p>{gate.found:,} of {gate.total:,} ({gate.share:.2%}, limit {gate.limit:.2%}): "
        f"{escape(gate.meaning)}</p>\n"
        f'<ul class="cases">\n{cases}\n</ul>\n{_names(gate)}</section>'
    )


def _names(gate: Outcome) -> str:
    """The names at fault that the cases do not show."""
    if len(gate.names) <= sum(len(case.names) for case in gate.examples):
        return ""
    more = (
        f" The first {_NAMED} of them; all are in report.json." if len(gate.names) > _NAMED else ""
    )
    names = ", ".join(escape(name) for name in gate.names[:_NAMED])
    return (
        f"<details><summary>{len(gate.names):,} names</summary>"
        f'<p class="names">{names}.{more}</p></details>\n'
    )


def _case(case: Case, shown: Mapping[str, Sample]) -> str:
    figures = "".join(_figure(name, shown.get(name)) for name in case.names)
    under = "; ".join(said(shown[name]) for name in case.names if name in shown)
    more = case.what.removeprefix(under).strip()  # what does not stand below the pictures
    words = f"<p>{escape(more)}</p>" if more else ""
    return f'<li class="case">{figures}{words}</li>'


def _figure(name: str, sample: Sample | None) -> str:
    words = f"{name}: {said(sample)}" if sample else name
    caption = f"<figcaption>{escape(name)}"
    caption += f"<br><b>{escape(said(sample))}</b></figcaption>" if sample else "</figcaption>"
    return f"<figure>{_sight(sample, words) if sample else ''}{caption}</figure>"


def _sight(sample: Sample, words: str) -> str:
    """A small picture of a sample, or a drawing of its numbers."""
    if sample.picture is not None:
        small = _thumbnail(sample.picture)
        if small is None:
            return "<p>cannot be decoded</p>"
        return f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{small}">'
    return _drawing(sample.values, words) if sample.values else ""


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


def _drawing(values: Sequence[float], words: str) -> str:
    """Points in their own plane, or a line through the numbers, in a square of 100 x 100."""
    points = len(values) >= 2 * _AXES and not len(values) % _AXES
    xs = list(values[::_AXES]) if points else [float(place) for place in range(len(values))]
    ys = list(values[1::_AXES]) if points else [-value for value in values]
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    wide, tall = (max(end - start, 1e-9) for start, end in zip(low, high, strict=True))
    if points:
        wide = tall = max(wide, tall)  # a shape keeps its proportions
    spots = [
        (4 + 92 * (x - low[0]) / wide, 4 + 92 * (y - low[1]) / tall)
        for x, y in zip(xs, ys, strict=True)
    ]
    inside = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in spots)
        if points
        else f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}"/>'
    )
    return f'<svg role="img" aria-label="{escape(words)}" viewBox="0 0 100 100">{inside}</svg>'


def _code(text: str) -> str:
    """Escaped text in which `this` stands as code."""
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts)
    )
