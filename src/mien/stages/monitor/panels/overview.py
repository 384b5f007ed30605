"""The dashboard that is opened first: whether all is well, and where to look if not."""

from dataclasses import replace

from mien.stages.monitor.dashboards import Dashboard
from mien.stages.monitor.grafana import Panel
from mien.stages.monitor.panels import data, model, server
from mien.stages.monitor.promql import LEGEND, MODEL, latest

_FIRING = 'ALERTS{alertstate="firing"}'
_DRIFT = latest("mien_drift_score", *MODEL, "quantity")
_THRESHOLD = latest("mien_drift_threshold", *MODEL, "quantity")
RUNBOOK = "${docs}/runbooks/#${__value.text}"
UP, IN_TIME, WITHOUT_ERROR = (server.AVAILABILITY[number] for number in (0, 2, 3))
WELL = (
    Panel(
        "Firing alerts",
        {"alerts": f"count({_FIRING}) or 0 * count(up{{{server.LIVE}}})"},
        "stat",
        (4, 4),
        unit="none",
        above=1,
        texts={0: "none"},
        description="How many alerts fire now; the table names them.",
    ),
    UP,
    IN_TIME,
    WITHOUT_ERROR,
    Panel(
        "Drift, as part of its threshold",
        {LEGEND: f"max by (task, version) ({_DRIFT} / {_THRESHOLD})"},
        "stat",
        (4, 4),
        unit="percentunit",
        above=1,
        description="The quantity of each model that has drifted most. Above 100 % the inputs have "
        "drifted; there is no score under 200 predictions.",
    ),
    Panel(
        "Live accuracy",
        {LEGEND: latest("mien_live_accuracy", *MODEL)},
        "stat",
        (4, 4),
    ),
)
NOW = (
    Panel(
        "Alerts and their runbooks",
        {"": f"max by (alertname, severity, task) ({_FIRING})"},
        "table",
        (9, 6),
        unit="none",
        description="Every alert that fires. A click on its name opens its runbook, at the address "
        "in the field `docs` above.",
        column_links={"alertname": RUNBOOK},
        empty="none",
    ),
    replace(next(each for each in model.SERVED if each.title == "Served models"), size=(15, 6)),
)
_TITLES = (
    *("Live accuracy", "Drift score, as part of its threshold"),
    *("Time of a prediction by route", "Rate of requests by route and status"),
)
TRENDS = tuple(
    replace(each, size=(12, 8))
    for title in _TITLES
    for each in (*model.LIVE_ACCURACY, *data.DRIFT, *server.REQUESTS)
    if each.title == title
)
PAGE = Dashboard(
    "overview",
    "Is all well? Alerts, versions, accuracy, drift, latency.",
    {"Is all well": WELL, "Now": NOW, "Trends": TRENDS},
)
