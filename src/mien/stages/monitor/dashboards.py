"""Dashboards: panels in rows on a grid, written as the JSON that Grafana reads.

The panels are listed in `panels/`, their JSON is in `grafana.py`, and the forms of queries in
`promql.py`. Needs no Grafana.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien.stages.monitor import grafana, promql
from mien.stages.monitor.grafana import RED, SOURCE, SOURCE_UID, Json, Panel
from mien.storage.files import atomic_write

COLUMNS = 24
DOCS = "http://localhost:8001"
DRILL_TAGS = ("mien", "drill")
"""Of annotations that `mien drill` writes into Grafana."""
SCHEMA = 41
"""Schema version of Grafana 12.0; newer versions migrate it."""


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; its file, uid and title have its name."""

    name: str
    description: str
    rows: Mapping[str, tuple[Panel, ...]]
    """Panels of one topic, by its heading."""


def write(boards: Iterable[Dashboard], folder: Path) -> list[Path]:
    """Write each dashboard as NAME.json atomically; the same panels give the same bytes."""
    paths = []
    for board in boards:
        path = folder / f"{board.name}.json"
        with atomic_write(path) as temporary:
            temporary.write_text(text(board), encoding="utf-8")
        paths.append(path)
    return paths


def text(board: Dashboard) -> str:
    """The content of a dashboard's file."""
    return json.dumps(as_json(board), indent=1, sort_keys=True) + "\n"


def as_json(board: Dashboard) -> Json:
    """The dashboard as Grafana stores it.

    Raises:
        ValueError: a query names a metric that is not in the metrics table.
    """
    return {
        "annotations": {"list": _annotations()},
        "description": board.description,
        "editable": True,
        "graphTooltip": 1,
        "links": [_link("dashboards", "mien"), _link("link", "Runbooks", "${docs}/runbooks/")],
        "panels": _panels(board.rows),
        "refresh": "10s",
        "schemaVersion": SCHEMA,
        "tags": ["mien"],
        "templating": {"list": _variables(board)},
        "time": {"from": "now-30m", "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
        "timezone": "browser",
        "title": f"mien: {board.name}",
        "uid": f"mien-{board.name}",
        "version": 1,
    }


def layout(sizes: Sequence[tuple[int, int]], top: int = 0) -> list[dict[str, int]]:
    """Positions of panels of (width, height): each as high, then as far left, as possible.

    Grafana moves panels up; these positions are stable.
    """
    used = [top] * COLUMNS
    positions = []
    for w, h in sizes:
        tops = [max(used[x : x + w]) for x in range(COLUMNS - w + 1)]
        y = min(tops)
        x = tops.index(y)
        used[x : x + w] = [y + h] * w
        positions.append({"x": x, "y": y, "w": w, "h": h})
    return positions


def _panels(rows: Mapping[str, Sequence[Panel]]) -> list[Json]:
    """Headings and their panels; identifiers count from 1 in reading order."""
    panels: list[Json] = []
    y = 0
    for title, own in rows.items():
        spot = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        heading = {"type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append({**heading, "id": len(panels) + 1, "gridPos": spot})
        spots = layout([panel.size for panel in own], y + 1)
        for panel, spot in zip(own, spots, strict=True):
            panels.append({**grafana.as_json(panel), "id": len(panels) + 1, "gridPos": spot})
        y = max(spot["y"] + spot["h"] for spot in spots)
    return panels


def _link(kind: Literal["dashboards", "link"], title: str, url: str = "") -> Json:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": kind == "dashboards",
        "keepTime": kind == "dashboards",
        "tags": ["mien"] if kind == "dashboards" else [],
        "targetBlank": kind == "link",
        "title": title,
        "tooltip": "",
        "type": kind,
        "url": url,
    }


def _variables(board: Dashboard) -> list[Json]:
    queries = {
        "task": "label_values(mien_model_info, task)",
        "version": 'label_values(mien_model_info{task=~"$task"}, version)',
    }
    repeats = [panel.repeat for own in board.rows.values() for panel in own if panel.repeat]
    for label in repeats:
        queries[label] = f'label_values(mien_input_stat_count{{task=~"$task"}}, {label})'
    own = [_variable(name, query) for name, query in queries.items()]
    return [_source_variable(), *own, _docs_variable()]


def _docs_variable() -> Json:
    """Where the runbooks are read; as `docs` of the alerts, in prometheus/prometheus.yml."""
    return {
        "current": {"selected": True, "text": DOCS, "value": DOCS},
        "label": "docs",
        "name": "docs",
        "query": DOCS,
        "type": "textbox",
    }


def _source_variable() -> Json:
    return {
        "current": {"selected": True, "text": "Prometheus", "value": SOURCE_UID},
        "includeAll": False,
        "label": "data source",
        "multi": False,
        "name": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "type": "datasource",
    }


def _variable(name: str, query: str) -> Json:
    return {
        # Also matches values that have appeared since the list was read.
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": SOURCE,
        "includeAll": True,
        "label": name,
        "multi": True,
        "name": name,
        "query": {
            "qryType": 1,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "refresh": 2,
        "sort": 1,
        "type": "query",
    }


def _annotations() -> list[Json]:
    """A deployed version, for the minute after its start; alerts while they fire; drills."""
    info = promql.select("mien_model_info")
    came = f"{info} unless on (task, version) last_over_time({info}[1d] offset 1m)"
    return [
        _annotation("Deployment", "blue", came, "{{task}}: version {{version}}", "task,version"),
        _annotation("Alerts", RED, 'ALERTS{alertstate="firing"}', "{{alertname}}", "severity,task"),
        {
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
            "enable": True,
            "iconColor": "purple",
            "name": "Drills",
            "target": {"limit": 100, "matchAny": False, "tags": list(DRILL_TAGS), "type": "tags"},
        },
    ]


def _annotation(name: str, colour: str, expr: str, title: str, tags: str) -> Json:
    list(promql.metrics_of(expr))  # refuses unknown metrics
    return {
        "datasource": SOURCE,
        "enable": True,
        "expr": expr,
        "iconColor": colour,
        "name": name,
        "step": "10s",
        "tagKeys": tags,
        "titleFormat": title,
    }
