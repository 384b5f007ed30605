"""Prometheus' configuration and rules on a faster clock, so that a drill takes seconds.

Only time is divided: how often Prometheus scrapes and evaluates, windows, offsets and `for:`.
Numbers stay, and that decides what a rule may compare on a fast clock:

- shares, and states such as `up`, mean the same;
- counts within a window (`increase`) mean the same if the traffic is faster by the same factor;
- rates per second (`rate`) grow by the factor; the project's rules compare none;
- seconds that the service measured (how slow an answer was) and ages in seconds are those of the
  real clock, on purpose.

Knows the form of the files, and neither where they lie nor what the rules say.
"""

import re
from typing import Any

import yaml

from mien.errors import ConfigError

UNITS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
"""Milliseconds of each unit, as Prometheus counts them: a year has 365 days."""
DURATIONS = frozenset(
    {
        *("scrape_interval", "scrape_timeout", "evaluation_interval"),
        *("interval", "for", "keep_firing_for"),
        *("group_wait", "group_interval", "repeat_interval", "resolve_timeout"),
    }
)
"""The keys that hold a duration, in prometheus.yml, in rule files and in alertmanager.yml."""

_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|0")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_TIMES = re.compile(
    r"""
    (?P<text> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` )   # left alone, whatever it holds
    | (?P<comment> \#[^\n]* )
    | (?P<window> \[ [^\]]* \] )                # [5m], and subqueries: [1h:5m], [1h:]
    | (?P<offset> \boffset\s+-?\s*(?:\d+(?:ms|[smhdwy]))+ )
    """,
    re.VERBOSE,
)


def faster(text: str, by: int) -> str:
    """Return a configuration or rule file (YAML) with all its durations divided by `by`.

    Raises ConfigError where `by` is below 1 or a duration cannot be read.
    """
    if by < 1:
        raise ConfigError(f"A clock runs faster by 1 or more, not by {by}.")
    return yaml.safe_dump(_walk(yaml.safe_load(text), by), sort_keys=False, width=1_000)


def milliseconds(duration: str) -> int:
    """Read a duration of Prometheus, such as `1h30m`; raise ConfigError for anything else."""
    if not _DURATION.fullmatch(duration):
        raise ConfigError(f"Expected a duration such as 5m or 1h30m, found {duration!r}.")
    return sum(int(number) * UNITS[unit] for number, unit in _PART.findall(duration))


def divided(duration: str, by: int) -> str:
    """Divide a duration, rounding to milliseconds; what is not 0 stays at least 1 ms.

    Prometheus knows nothing shorter, and refuses windows of nothing.
    """
    whole = milliseconds(duration)
    return f"{max(1, round(whole / by))}ms" if whole else "0s"


def expression(promql: str, by: int) -> str:
    """Divide the windows, subquery steps and offsets of a query; leave its texts and numbers."""
    return _TIMES.sub(lambda match: _time(match, by), promql)


def _walk(value: Any, by: int) -> Any:
    if isinstance(value, list):
        return [_walk(item, by) for item in value]
    if isinstance(value, dict):
        return {key: _entry(key, item, by) for key, item in value.items()}
    return value


def _entry(key: str, value: Any, by: int) -> Any:
    if key in DURATIONS:
        return divided(str(value), by)
    return expression(value, by) if key == "expr" else _walk(value, by)


def _time(match: re.Match[str], by: int) -> str:
    found = match.group()
    if match["text"] or match["comment"]:
        return found
    return re.sub(r"(?:\d+(?:ms|[smhdwy]))+", lambda part: divided(part.group(), by), found)
