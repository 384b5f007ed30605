"""The dashboard of the server: availability, latency, queue and resources."""

from mien.stages.monitor.dashboards import Dashboard
from mien.stages.monitor.grafana import PER_SECOND, Panel
from mien.stages.monitor.promql import latest, mean, quantile, rate, ratio, total

OBJECTIVE_SECONDS = 0.5
OBJECTIVE_IN_TIME = 0.95
OBJECTIVE_WITHOUT_ERROR = 0.995
"""The objectives of the alerts in prometheus/rules."""
LIVE = 'job="mien"'
PREDICT = 'route=~"/predict.*"'
SUCCEEDED = f'{PREDICT}, status="200"'
"""A rejection is fast and would hide slow predictions."""
IN_TIME = f'{SUCCEEDED}, le="{OBJECTIVE_SECONDS}"'
FAILED = 'status=~"5.."'
INSTANCE = "{{instance}}"
_IN_TIME = (
    f"{rate('mien_request_seconds_bucket', where=IN_TIME, window='30m')} / "
    f"({rate('mien_request_seconds_count', where=SUCCEEDED, window='30m')} > 0)"
)
_FAILED = ratio("mien_requests_total", FAILED, where=PREDICT, window="30m")
_IN_FLIGHT = {
    state: total("mien_in_flight_requests", where=f'state="{state}"')
    for state in ("current", "limit")
}


def _levels(name: str, *by: str, legend: str = "", where: str = "") -> dict[str, str]:
    return {
        f"{legend} p{round(100 * level)}".strip(): quantile(level, name, *by, where=where)
        for level in (0.5, 0.95, 0.99)
    }


AVAILABILITY = (
    Panel(
        "Server",
        {"server": f"min (up{{{LIVE}}})"},
        "stat",
        (4, 4),
        unit="none",
        below=1,
        texts={0: "down", 1: "up"},
        description="Whether Prometheus can read the metrics of every server.",
    ),
    Panel(
        "Up since",
        {INSTANCE: f"time() - {latest('process_start_time_seconds', 'instance', where=LIVE)}"},
        "stat",
        (4, 4),
        description="Time since the start of the server.",
    ),
    Panel(
        f"Predictions within {OBJECTIVE_SECONDS} s",
        {"in time": _IN_TIME},
        "stat",
        (4, 4),
        unit="percentunit",
        below=OBJECTIVE_IN_TIME,
        description="Share of the predictions of the last 30 minutes within that time. The "
        f"objective is {OBJECTIVE_IN_TIME:.0%}; rejected requests do not count.",
    ),
    Panel(
        "Predictions without an error",
        {"without error": f"1 - {_FAILED}"},
        "stat",
        (4, 4),
        unit="percentunit",
        below=OBJECTIVE_WITHOUT_ERROR,
        description="Share of the prediction requests of the last 30 minutes with a status "
        "under 500; 100 % without requests. The objective is "
        f"{OBJECTIVE_WITHOUT_ERROR:.1%}.",
    ),
    Panel("Requests in flight", _IN_FLIGHT, "stat", (4, 4)),
    Panel(
        "Rows of the prediction log",
        {"rows": latest("mien_prediction_log_rows")},
        "stat",
        (4, 4),
    ),
)
REQUESTS = (
    Panel(
        "Rate of requests by route and status",
        {"{{route}} {{status}}": rate("mien_requests_total", "route", "status")},
        unit="reqps",
        hides_zero=True,
    ),
    Panel(
        "Share of failed predictions",
        {"status 5xx": ratio("mien_requests_total", FAILED, where=PREDICT)},
        unit="percentunit",
        above=round(1 - OBJECTIVE_WITHOUT_ERROR, 6),
        description="Share of the prediction requests with a status of 500 or more; 0 without "
        "requests. The dashed line is the limit of the objective.",
    ),
    Panel(
        "Rate of rejected requests by reason",
        {"{{reason}}": rate("mien_rejected_total", "reason")},
        unit="reqps",
        hides_zero=True,
    ),
    Panel(
        "Time of a prediction by route",
        _levels("mien_request_seconds", "route", legend="{{route}}", where=SUCCEEDED),
        size=(10, 8),
        above=OBJECTIVE_SECONDS,
        description="Time from the first byte of a request to the last of its response, as "
        "p50, p95 and p99. The dashed line is the objective of p95.",
    ),
    Panel(
        "Time of every route, p95",
        {"{{route}}": quantile(0.95, "mien_request_seconds", "route")},
        size=(7, 8),
    ),
    Panel(
        "Requests in progress",
        {"{{route}}": total("mien_requests_in_progress", "route")},
        size=(7, 8),
        hides_zero=True,
    ),
)
QUEUE = (
    Panel("Requests in flight and their limit", _IN_FLIGHT, size=(6, 8), roles=("value", "limit")),
    Panel(
        "Time in the queue",
        _levels("mien_queue_wait_seconds"),
        size=(6, 8),
        above=OBJECTIVE_SECONDS,
    ),
    Panel("Time to read an upload", _levels("mien_upload_seconds"), size=(6, 8)),
    Panel(
        "Size of uploads",
        {**_levels("mien_upload_bytes"), "mean": mean("mien_upload_bytes")},
        size=(6, 8),
    ),
)
PROCESS = (
    Panel(
        "CPUs in use",
        {INSTANCE: rate("process_cpu_seconds_total", "instance", where=LIVE)},
        size=(6, 8),
        unit="none",
        description="CPU seconds per second: 1 is one CPU in full use.",
    ),
    Panel(
        "Memory",
        {INSTANCE: latest("process_resident_memory_bytes", "instance", where=LIVE)},
        size=(6, 8),
    ),
    Panel(
        "Open files and connections",
        {INSTANCE: latest("process_open_fds", "instance", where=LIVE)},
        size=(6, 8),
    ),
    Panel(
        "Size of the prediction log",
        {INSTANCE: total("mien_prediction_log_bytes", "instance")},
        size=(6, 8),
    ),
    Panel(
        "Rows of the prediction log",
        {INSTANCE: total("mien_prediction_log_rows", "instance")},
        size=(12, 8),
    ),
    Panel(
        "Predictions that wait for the database of the log",
        {INSTANCE: total("mien_prediction_log_waiting", "instance")},
        size=(12, 8),
        hides_zero=True,
    ),
    Panel(
        "Rate of predictions that were not recorded",
        {INSTANCE: rate("mien_prediction_log_dropped_total", "instance")},
        size=(12, 8),
        hides_zero=True,
        unit=PER_SECOND,
    ),
)
REGISTRY = (
    Panel(
        "Time since the registry's champion was confirmed",
        {"{{task}}": latest("mien_registry_age_seconds", "task")},
        size=(12, 8),
    ),
)
REVIEW = (
    Panel("Inputs kept for review", {INSTANCE: total("mien_review_samples", "instance")}),
    Panel("Size of the inputs kept", {INSTANCE: total("mien_review_bytes", "instance")}),
    Panel(
        "Rate of inputs kept by reason",
        {"{{task}} {{reason}}": rate("mien_review_kept_total", "task", "reason")},
        unit=PER_SECOND,
    ),
    Panel(
        "Rate of inputs not kept by reason",
        {"{{task}} {{reason}}": rate("mien_review_dropped_total", "task", "reason")},
        unit=PER_SECOND,
    ),
)
PAGE = Dashboard(
    "server",
    "Availability, latency, queue and resources of the service.",
    {
        "Availability": AVAILABILITY,
        "Requests": REQUESTS,
        "Queue and uploads": QUEUE,
        "Process and prediction log": PROCESS,
        "Team's registry": REGISTRY,
        "Review": REVIEW,
    },
)
