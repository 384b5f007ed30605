"""The page of the server: whether it answers, how fast, and what it costs."""

from mien.stages.monitor.dashboards import Dashboard, Row
from mien.stages.monitor.grafana import PER_SECOND, Panel, Query
from mien.stages.monitor.promql import latest, mean, part, quantile, rate, total

OBJECTIVE_SECONDS = 0.5
OBJECTIVE_IN_TIME = 0.95
OBJECTIVE_WITHOUT_ERROR = 0.995
"""What the alerts of prometheus/rules hold the service to."""
LIVE = 'job="mien"'
ANSWERS = 'route=~"/predict.*"'
ANSWERED = f'{ANSWERS}, status="200"'
"""A refusal is quick and would hide slow answers."""
IN_TIME = f'{ANSWERED}, le="{OBJECTIVE_SECONDS}"'
FAILED = 'status=~"5.."'
_IN_TIME = (
    f"{rate('mien_request_seconds_bucket', where=IN_TIME, window='30m')} / "
    f"({rate('mien_request_seconds_count', where=ANSWERED, window='30m')} > 0)"
)


def _levels(name: str, *by: str, legend: str, where: str = "") -> tuple[Query, ...]:
    return tuple(
        Query(quantile(level, name, *by, where=where), f"{legend} p{round(100 * level)}".strip())
        for level in (0.5, 0.95, 0.99)
    )


THERE = Row(
    "Whether it is there",
    (
        Panel(
            "Server",
            (Query(f"min (up{{{LIVE}}})", "server"),),
            kind="stat",
            width=4,
            height=4,
            unit="none",
            below=1,
            words={0: "down", 1: "up"},
            description="Whether Prometheus could read the metrics of every server just now.",
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
            description="How long ago the server was started.",
        ),
        Panel(
            f"Answers within {OBJECTIVE_SECONDS} s",
            (Query(_IN_TIME, "in time"),),
            kind="stat",
            width=4,
            height=4,
            unit="percentunit",
            below=OBJECTIVE_IN_TIME,
            description="Share of the answers of the last 30 minutes that took no longer. The "
            f"objective is {OBJECTIVE_IN_TIME:.0%}; refusals do not count.",
        ),
        Panel(
            "Answers without an error",
            (
                Query(
                    f"1 - {part('mien_requests_total', FAILED, where=ANSWERS, window='30m')}",
                    "without error",
                ),
            ),
            kind="stat",
            width=4,
            height=4,
            unit="percentunit",
            below=OBJECTIVE_WITHOUT_ERROR,
            description="Share of the requests for an answer of the last 30 minutes that did not "
            "end with a status of 500 or more; all of them while nobody asks. The objective is "
            f"{OBJECTIVE_WITHOUT_ERROR:.1%}.",
        ),
        Panel(
            "Queue",
            (
                Query(total("mien_queue_places", where='state="taken"'), "taken"),
                Query(total("mien_queue_places", where='state="limit"'), "limit"),
            ),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Answers in the prediction log",
            (Query(total("mien_prediction_log_rows"), "rows"),),
            kind="stat",
            width=4,
            height=4,
        ),
    ),
)
REQUESTS = Row(
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
            "Share of answers that failed",
            (Query(part("mien_requests_total", FAILED, where=ANSWERS), "status 5xx"),),
            unit="percentunit",
            above=round(1 - OBJECTIVE_WITHOUT_ERROR, 6),
            description="Requests for an answer that ended with a status of 500 or more, as a "
            "share of all; 0 while nobody asks. The dashed line is what the objective allows.",
        ),
        Panel(
            "Rate of rejected requests by reason",
            (Query(rate("mien_rejected_total", "reason"), "{{reason}}"),),
            unit="reqps",
        ),
        Panel(
            "Time of an answer by route",
            _levels("mien_request_seconds", "route", legend="{{route}}", where=ANSWERED),
            width=10,
            above=OBJECTIVE_SECONDS,
            description="Time from the first byte of a request to the last of its answer: half "
            "of the answers, 95 % and 99 % are faster. The dashed line is the objective of p95.",
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
WAITING = Row(
    "Queue and uploads",
    (
        Panel(
            "Places of the queue",
            (
                Query(total("mien_queue_places", where='state="taken"'), "taken"),
                Query(total("mien_queue_places", where='state="limit"'), "limit", "limit"),
            ),
            width=6,
        ),
        Panel(
            "Wait for a worker",
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
PROCESS = Row(
    "The process and its prediction log",
    (
        Panel(
            "Processors in use",
            (Query(rate("process_cpu_seconds_total", "instance", where=LIVE), "{{instance}}"),),
            width=6,
            unit="none",
            description="Seconds of processor time a second: 1 is one core in full use.",
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
            "PredictionLog on the disk",
            (Query(total("mien_prediction_log_bytes", "instance"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            "Rows of the prediction log",
            (Query(total("mien_prediction_log_rows", "instance"), "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Rate of answers that were not recorded",
            (Query(rate("mien_prediction_log_dropped_total", "instance"), "{{instance}}"),),
            width=12,
            unit=PER_SECOND,
        ),
    ),
)
PAGE = Dashboard(
    "server",
    "mien: server",
    "Whether the service answers, how fast, and what it costs.",
    (THERE, REQUESTS, WAITING, PROCESS),
)
