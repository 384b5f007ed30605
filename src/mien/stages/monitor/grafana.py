"""A panel: its queries, its form, and the JSON that Grafana reads.

Descriptions and units come from the metrics table unless a panel has its own. Knows nothing of
other panels or of the layout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mien.observability import metrics
from mien.stages.monitor import promql

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "bargauge", "table", "heatmap"]
Role = Literal["value", "bound", "limit"]
"""A bound is drawn as a thin line, a limit dashed and red."""

SOURCE_UID = "prometheus"
"""Identifier of the data source that this project provisions."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""What panels name: a variable, as another Grafana has a data source of its own."""
UNITS: Mapping[metrics.Unit, str] = {
    "count": "short",
    "ratio": "percentunit",
    "seconds": "s",
    "bytes": "decbytes",
    "timestamp": "s",
    "value": "none",
}
"""Grafana's name of each unit. Of a timestamp, the query makes the seconds since then."""
PER_SECOND = "cps"
RED, GREEN = "red", "green"


@dataclass(frozen=True)
class Panel:
    """One panel of a dashboard: its queries and its form."""

    title: str
    queries: Mapping[str, str]
    """Queries to Prometheus by their legend; in a table, the title of the value's column."""
    kind: Kind = "timeseries"
    size: tuple[int, int] = (8, 8)
    """Width and height in cells of the grid."""
    roles: tuple[Role, ...] = ()
    """How each query is drawn; "value" for all by default."""
    column_units: Mapping[str, str] = field(default_factory=dict)
    """Units of single columns of a table."""
    column_links: Mapping[str, str] = field(default_factory=dict)
    """Addresses that the values of a table's columns lead to."""
    hides_zero: bool = False
    """Whether series that are zero are left out; a panel of zeros alone is then `empty`."""
    empty: str = ""
    """What stands in a panel without series."""
    unit: str = ""
    description: str = ""
    above: float | None = None
    """Threshold above which it is red."""
    below: float | None = None
    """Threshold below which it is red."""
    top: float | None = None
    """Maximum of the axis."""
    texts: Mapping[int, str] = field(default_factory=dict)
    """Texts that replace numbers."""
    repeat: str = ""
    """The variable for whose values the panel is repeated."""


def as_json(panel: Panel) -> Json:
    """The panel as Grafana stores it, without identifier and position.

    Raises:
        ValueError: a query names a metric that is not in the metrics table.
    """
    rows = [row for expr in panel.queries.values() for _, row in promql.metrics_of(expr) if row]
    meanings = dict.fromkeys(row.meaning for row in rows)
    document: Json = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description or "\n\n".join(meanings),
        "datasource": SOURCE,
        "targets": [
            _target(panel.kind, number, legend, f"{expr} > 0" if panel.hides_zero else expr)
            for number, (legend, expr) in enumerate(panel.queries.items())
        ],
        "options": _OPTIONS[panel.kind],
        "fieldConfig": {
            "defaults": _defaults(panel, panel.unit or UNITS[rows[0].unit]),
            "overrides": _columns(panel) if panel.kind == "table" else _roles(panel),
        },
    }
    if panel.kind == "table":
        document["transformations"] = _joined(panel)
    if panel.repeat:
        document |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 3}
    return document


def _target(kind: Kind, number: int, legend: str, expr: str) -> Json:
    now = kind in ("table", "bargauge")
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": kind if kind in ("table", "heatmap") else "time_series",
        "instant": now,
        "legendFormat": legend or "__auto",
        "range": not now,
        "refId": _ref(number),
    }


def _defaults(panel: Panel, unit: str) -> Json:
    document: Json = {
        "custom": _custom(panel),
        "mappings": [_mapping(panel.texts)] if panel.texts else [],
        "noValue": panel.empty or ("none" if panel.hides_zero else "no data"),
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        "unit": unit,
    }
    if panel.kind in ("timeseries", "bargauge"):
        document["min"] = 0
    if panel.top is not None:
        document["max"] = panel.top
    if panel.kind == "stat":
        document["color"] = {"mode": "thresholds"}
    if panel.kind == "bargauge":
        limited = panel.above is not None or panel.below is not None
        document["color"] = {"mode": "thresholds" if limited else "palette-classic"}
    return document


def _custom(panel: Panel) -> Json:
    if panel.kind == "table":
        return {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    if panel.kind != "timeseries":
        return {}
    limited = panel.above is not None or panel.below is not None
    return {
        "drawStyle": "line",
        "fillOpacity": 0,
        "lineWidth": 2,
        "scaleDistribution": {"type": "linear"},
        "showPoints": "never",
        "spanNulls": False,
        "thresholdsStyle": {"mode": "dashed" if limited else "off"},
    }


def _steps(panel: Panel) -> list[Json]:
    """From the lowest number up: the colour of each stretch."""
    if panel.above is not None:
        return [{"color": GREEN, "value": None}, {"color": RED, "value": panel.above}]
    if panel.below is not None:
        return [{"color": RED, "value": None}, {"color": GREEN, "value": panel.below}]
    return [{"color": GREEN, "value": None}]


def _mapping(texts: Mapping[int, str]) -> Json:
    options = {str(number): {"text": text, "index": number} for number, text in texts.items()}
    return {"type": "value", "options": options}


def _roles(panel: Panel) -> list[Json]:
    """How bounds and limits are drawn, by the letter of their query."""
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": _ref(number)},
            "properties": [{"id": "custom.lineWidth", "value": 1}, *_LINES[role]],
        }
        for number, role in enumerate(panel.roles)
        if role != "value"
    ]


_LINES: Mapping[Role, list[Json]] = {
    "bound": [{"id": "custom.lineStyle", "value": {"fill": "dot", "dash": [2, 4]}}],
    "limit": [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": RED}},
    ],
}


def _joined(panel: Panel) -> list[Json]:
    """One line for each set of labels, one column for each query that has a title.

    Grafana names a query's column of numbers by its letter, and that of a lone query without one.
    """
    names = [f"Value #{_ref(number)}" for number in range(len(panel.queries))]
    columns = dict(zip(names if len(names) > 1 else ["Value"], panel.queries, strict=True))
    hidden = [name for name, title in columns.items() if not title]
    options = {
        "excludeByName": dict.fromkeys(["Time", *hidden], True),
        "indexByName": {label: number for number, label in enumerate(_labels(panel))},
        "renameByName": {name: title for name, title in columns.items() if title},
    }
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": options}]


def _labels(panel: Panel) -> list[str]:
    """The labels that make the columns of a table, in the order of the metrics table."""
    first = next(iter(panel.queries.values()))
    ((name, row),) = promql.metrics_of(first)
    queries = set(re.findall(r"\w+", first.partition("(")[2].partition(")")[0]))
    return [label for label in (row.labels if row else promql.FOREIGN[name]) if label in queries]


def _columns(panel: Panel) -> list[Json]:
    """The unit or the link of each column that has one of its own."""
    own: list[tuple[str, str, Any]] = [
        *((title, "unit", unit) for title, unit in panel.column_units.items()),
        *(
            (title, "links", [{"title": "Runbook", "url": url, "targetBlank": True}])
            for title, url in panel.column_links.items()
        ),
    ]
    return [
        {"matcher": {"id": "byName", "options": title}, "properties": [{"id": id, "value": value}]}
        for title, id, value in own
    ]


def _ref(number: int) -> str:
    return chr(ord("A") + number)


_REDUCE = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_LEGEND = {
    "calcs": ["lastNotNull"],
    "displayMode": "list",
    "placement": "bottom",
    "showLegend": True,
}
_OPTIONS: Mapping[Kind, Json] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": _REDUCE,
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    },
    "bargauge": {
        "displayMode": "basic",
        "legend": {**_LEGEND, "calcs": [], "showLegend": False},
        "maxVizHeight": 300,
        "minVizHeight": 14,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _REDUCE,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "text",
    },
    "table": {
        "cellHeight": "sm",
        "frameIndex": 0,
        "showHeader": True,
        "sortBy": [{"displayName": "task", "desc": False}],
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": False,
            "scheme": "Blues",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "unit": "percentunit"},
    },
}
