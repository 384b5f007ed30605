"""The few forms of PromQL that dashboards ask, made of rows of the metrics table.

A form adds the dashboard's variables `$task` and `$version` by itself where the metric has such
labels. Every form leaves out what is not a number: a panel shows a gap, never NaN.
"""

import re
from collections.abc import Iterator

from mien.errors import nearest
from mien.observability import metrics
from mien.observability.metrics import Metric

WINDOW = "$__rate_interval"
"""Grafana's own window: long enough for four scrapes, and for one step of the panel."""
MODEL = ("task", "version")
FOREIGN = {"up": ("job", "instance"), "ALERTS": ("alertname", "alertstate", "severity", "task")}
"""What Prometheus itself writes, with the labels that may be asked of it."""
_NAME = re.compile(r"\b(?:mien_\w+|process_\w+|up|ALERTS)\b(?!\s*=)")
_QUOTED = re.compile(r'"[^"]*"')
_VARIABLES = ("task", "version", "stat")


def metrics_of(expr: str) -> Iterator[tuple[str, Metric | None]]:
    """Every name that the expression asks for, with its row; None for what is Prometheus' own.

    Raises:
        ValueError: a name that the metrics table does not hold.
    """
    for name in dict.fromkeys(_NAME.findall(_QUOTED.sub('""', expr))):
        if name not in metrics.EXPOSED and name not in FOREIGN:
            hint = nearest(name, metrics.EXPOSED)
            raise ValueError(f"{name} is not exposed by any row of observability/metrics.py.{hint}")
        yield name, metrics.EXPOSED.get(name)


def select(name: str, where: str = "") -> str:
    """The series of `name` that the variables choose, as far as the metric has their labels."""
    row = dict(metrics_of(name))[name]
    labels = row.labels if row else ()
    chosen = [f'{label}=~"${label}"' for label in _VARIABLES if label in labels]
    matchers = ", ".join([*chosen, *([where] if where else [])])
    return f"{name}{{{matchers}}}" if matchers else name


def latest(name: str, *by: str, where: str = "") -> str:
    """A gauge as it is; replicas of the server say the same, so the largest stands for all."""
    return f"max{_by(by)} ({select(name, where)})"


def total(name: str, *by: str, where: str = "") -> str:
    """A gauge, added up over the replicas of the server."""
    return f"sum{_by(by)} ({select(name, where)})"


def rate(name: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """A counter's growth per second."""
    return f"sum{_by(by)} (rate({select(name, where)}[{window}]))"


def increase(name: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """What was added to a counter in the window; not whole numbers, as ends are extrapolated."""
    return f"sum{_by(by)} (increase({select(name, where)}[{window}]))"


def mean(name: str, *by: str, where: str = "") -> str:
    """A histogram's average; a gap while nothing is counted, where 0 / 0 would be NaN."""
    return (
        f"{rate(f'{name}_sum', *by, where=where)} / ({rate(f'{name}_count', *by, where=where)} > 0)"
    )


def quantile(level: float, name: str, *by: str, where: str = "") -> str:
    """A histogram's quantile; NaN, which an empty histogram gives, is not >= 0 and so left out."""
    buckets = rate(f"{name}_bucket", "le", *by, where=where)
    return f"histogram_quantile({level}, {buckets}) >= 0"


def ratio(name: str, of: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """Share of a counter that `of` (a matcher) selects; 0 when idle, and where nothing matches.

    The least denominator is far below one event in a year: it turns 0 / 0 into 0 and changes
    nothing else. Without `by` an absent numerator counts as 0.
    """
    both = f"{where}, {of}" if where else of
    some = rate(name, *by, where=both, window=window)
    every = rate(name, *by, where=where, window=window)
    return f"({some}{'' if by else ' or vector(0)'}) / clamp_min({every}, 1e-9)"


def fill(expr: str, window: str = "1m", **values: str) -> str:
    """The expression as Grafana asks it with all tasks and versions chosen, or with `values`."""
    everything = dict.fromkeys(_VARIABLES, ".*")
    for name, value in {**everything, **values, WINDOW[1:]: window}.items():
        expr = expr.replace(f"${name}", value)
    return expr


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
