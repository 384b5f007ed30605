"""The dashboard of the server: availability, latency, queue and resources."""

from mien.stages.monitor.dashboards import Dashboard, PanelRow
from mien.stages.monitor.grafana import PER_SECOND, Panel, Query
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
_IN_TIME = (
    f"{rate('mien_request_seconds_bucket', where=IN_TIME, window='30m')} / "
    f"({rate('mien_request_seconds_count', where=SUCCEEDED, window='30m')} > 0)"
)


def _levels(name: str, *by: str, legend: str, where: str = "") -> tuple[Query, ...]:
    return tuple(
        Query(quantile(level, name, *by, where=where), f"{legend} p{round(100 * level)}".strip())
        for level in (0.5, 0.95, 0.99)
    )


AVAILABILITY = PanelRow(
    "Availability",
    (
        Panel(
            "Server",
            (Query(f"min (up{{{LIVE}}})", "server"),),
            kind="stat",
            width=4,
            height=4,
            unit="none",
            below=1,
            texts={0: "down", 1: "up"},
            description="Whether Prometheus can read the metrics of every server.",
        ),
        Panel(
            "Up since",
            (
                Query(
                    f"time() - {latest('process_start_time_seconds', 'instance', where=LIVE)}",
                    "{{instance}}",
                ),
            ),
            kind="stat",
            width=4,
            height=4,
            description="Time since the start of the server.",
        ),
        Panel(
            f"Predictions within {OBJECTIVE_SECONDS} s",
            (Query(_IN_TIME, "in time"),),
            kind="stat",
            width=4,
            height=4,
            unit="percentunit",
            below=OBJECTIVE_IN_TIME,
            description="Share of the predictions of the last 30 minutes within that time. The "
            f"objective is {OBJECTIVE_IN_TIME:.0%}; rejected requests do not count.",
        ),
        Panel(
            "Predictions without an error",
            (
                Query(
                    f"1 - {ratio('mien_requests_total', FAILED, where=PREDICT, window='30m')}",
                    "without error",
                ),
            ),
            kind="stat",
            width=4,
            height=4,
            unit="percentunit",
            below=OBJECTIVE_WITHOUT_ERROR,
            description="Share of the prediction requests of the last 30 minutes with a status "
            "under 500; 100 % without requests. The objective is "
            f"{OBJECTIVE_WITHOUT_ERROR:.1%}.",
        ),
        Panel(
            "Requests in flight",
            (
                Query(total("mien_in_flight_requests", where='state="current"'), "current"),
                Query(total("mien_in_flight_requests", where='state="limit"'), "limit"),
            ),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Rows of the prediction log",
            (Query(total("mien_prediction_log_rows"), "rows"),),
            kind="stat",
            width=4,
            height=4,
        ),
    ),
)
REQUESTS = PanelRow(
    "Requests",
    (
        Panel(
            "Rate of requests by route and status",
            (
                Query(
                    f"{rate('mien_requests_total', 'route', 'status')} > 0", "{{route}} {{status}}"
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Share of failed predictions",
            (Query(ratio("mien_requests_total", FAILED, where=PREDICT), "status 5xx"),),
            unit="percentunit",
            above=round(1 - OBJECTIVE_WITHOUT_ERROR, 6),
            description="Share of the prediction requests with a status of 500 or more; 0 without "
            "requests. The dashed line is the limit of the objective.",
        ),
        Panel(
            "Rate of rejected requests by reason",
            (Query(rate("mien_rejected_total", "reason"), "{{reason}}"),),
            unit="reqps",
        ),
        Panel(
            "Time of a prediction by route",
            _levels("mien_request_seconds", "route", legend="{{route}}", where=SUCCEEDED),
            width=10,
            above=OBJECTIVE_SECONDS,
            description="Time from the first byte of a request to the last of its response, as "
            "p50, p95 and p99. The dashed line is the objective of p95.",
        ),
        Panel(
            "Time of every route, p95",
            (Query(quantile(0.95, "mien_request_seconds", "route"), "{{route}}"),),
            width=7,
        ),
        Panel(
            "Requests in progress",
            (Query(total("mien_requests_in_progress", "route"), "{{route}}"),),
            width=7,
        ),
    ),
)
QUEUE = PanelRow(
    "Queue and uploads",
    (
        Panel(
            "Requests in flight and their limit",
            (
                Query(total("mien_in_flight_requests", where='state="current"'), "current"),
                Query(total("mien_in_flight_requests", where='state="limit"'), "limit", "limit"),
            ),
            width=6,
        ),
        Panel(
            "Time in the queue",
            _levels("mien_queue_wait_seconds", legend=""),
            width=6,
            above=OBJECTIVE_SECONDS,
        ),
        Panel(
            "Time to read an upload",
            _levels("mien_upload_seconds", legend=""),
            width=6,
        ),
        Panel(
            "Size of uploads",
            (
                *_levels("mien_upload_bytes", legend=""),
                Query(mean("mien_upload_bytes"), "mean"),
            ),
            width=6,
        ),
    ),
)
PROCESS = PanelRow(
    "Process and prediction log",
    (
        Panel(
            "CPUs in use",
            (Query(rate("process_cpu_seconds_total", "instance", where=LIVE), "{{instance}}"),),
            width=6,
            unit="none",
            description="CPU seconds per second: 1 is one CPU in full use.",
        ),
        Panel(
            "Memory",
            (
                Query(
                    latest("process_resident_memory_bytes", "instance", where=LIVE),
                    "{{instance}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Open files and connections",
            (Query(latest("process_open_fds", "instance", where=LIVE), "{{instance}}"),),
            width=6,
        ),
        Panel(
            "Size of the prediction log",
            (Query(total("mien_prediction_log_bytes", "instance"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            "Rows of the prediction log",
            (Query(total("mien_prediction_log_rows", "instance"), "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Rate of predictions that were not recorded",
            (Query(rate("mien_prediction_log_dropped_total", "instance"), "{{instance}}"),),
            width=12,
            unit=PER_SECOND,
        ),
    ),
)
PAGE = Dashboard(
    "server",
    "mien: server",
    "Availability, latency, queue and resources of the service.",
    (AVAILABILITY, REQUESTS, QUEUE, PROCESS),
)
