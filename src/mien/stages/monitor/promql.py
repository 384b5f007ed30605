"""The forms of PromQL of the dashboards, built from rows of the metrics table.

A form adds the dashboard's variables `$task` and `$version` where the metric has such labels.
Every form filters values that are not finite: a panel shows a gap, never NaN.
"""

import re
from collections.abc import Iterator

from mien.errors import nearest
from mien.observability import metrics
from mien.observability.metrics import Metric

WINDOW = "$__rate_interval"
"""Grafana's window: at least four scrapes and one step of the panel."""
MODEL = ("task", "version")
LEGEND = "{{task}} v{{version}}"
"""Labels that name a served model, and its name in a legend."""
ALERTS = "ALERTS"
FOREIGN = {"up": ("job", "instance"), ALERTS: ("alertname", "alertstate", "severity", "task")}
"""Series of Prometheus itself, with their labels."""
_NAME = re.compile(r"\b(?:mien_\w+|process_\w+|up|ALERTS)\b(?!\s*=)")
_QUOTED = re.compile(r'"[^"]*"')
_VARIABLES = ("task", "version", "stat")


def metrics_of(expr: str) -> Iterator[tuple[str, Metric | None]]:
    """Every metric of an expression with its row; None for series of Prometheus itself.

    Raises:
        ValueError: the metrics table has no such name.
    """
    for name in dict.fromkeys(_NAME.findall(_QUOTED.sub('""', expr))):
        if name not in metrics.EXPOSED and name not in FOREIGN:
            hint = nearest(name, metrics.EXPOSED)
            raise ValueError(f"{name} is not exposed by any row of observability/metrics.py.{hint}")
        yield name, metrics.EXPOSED.get(name)


def select(name: str, where: str = "") -> str:
    """The series of `name`, filtered by the variables whose labels the metric has."""
    row = dict(metrics_of(name))[name]
    labels = row.labels if row else ()
    chosen = [f'{label}=~"${label}"' for label in _VARIABLES if label in labels]
    matchers = ", ".join([*chosen, *([where] if where else [])])
    return f"{name}{{{matchers}}}" if matchers else name


def latest(name: str, *by: str, where: str = "") -> str:
    """A gauge; replicas of the server have the same value, so the maximum is taken."""
    return f"max{_by(by)} ({select(name, where)})"


def total(name: str, *by: str, where: str = "") -> str:
    """A gauge, summed over the replicas of the server."""
    return f"sum{_by(by)} ({select(name, where)})"


def rate(name: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """The rate of a counter per second."""
    return f"sum{_by(by)} (rate({select(name, where)}[{window}]))"


def increase(name: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """The increase of a counter in the window; not an integer, as Prometheus extrapolates."""
    return f"sum{_by(by)} (increase({select(name, where)}[{window}]))"


def mean(name: str, *by: str, where: str = "") -> str:
    """The mean of a histogram; a gap without observations, where 0 / 0 would be NaN."""
    return (
        f"{rate(f'{name}_sum', *by, where=where)} / ({rate(f'{name}_count', *by, where=where)} > 0)"
    )


def quantile(level: float, name: str, *by: str, where: str = "") -> str:
    """A quantile of a histogram; NaN, of an empty histogram, is not >= 0 and so filtered."""
    buckets = rate(f"{name}_bucket", "le", *by, where=where)
    return f"histogram_quantile({level}, {buckets}) >= 0"


def ratio(name: str, of: str, *by: str, where: str = "", window: str = WINDOW) -> str:
    """Share of a counter that the matcher `of` selects; 0 without events and without a match.

    The minimum of the denominator is far below one event in a year: it turns 0 / 0 into 0 and
    changes nothing else. Without `by` an absent numerator counts as 0.
    """
    both = f"{where}, {of}" if where else of
    some = rate(name, *by, where=both, window=window)
    every = rate(name, *by, where=where, window=window)
    return f"({some}{'' if by else ' or vector(0)'}) / clamp_min({every}, 1e-9)"


def fill(expr: str, window: str = "1m", **values: str) -> str:
    """The expression with all tasks and versions selected, or with `values`."""
    everything = dict.fromkeys(_VARIABLES, ".*")
    for name, value in {**everything, **values, WINDOW[1:]: window}.items():
        expr = expr.replace(f"${name}", value)
    return expr


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
