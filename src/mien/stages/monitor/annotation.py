"""Writes the time of a drill into Grafana, where every dashboard shows it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mien.errors import NoResponseError
from mien.reporting import console
from mien.stages.monitor.dashboards import DRILL_TAGS
from mien.stages.monitor.web import HttpClient


@contextmanager
def annotated(grafana: HttpClient | None, name: str) -> Iterator[None]:
    """Mark the time of the block, however it ends."""
    start_s = time.time()
    try:
        yield
    finally:
        if grafana:
            annotate(grafana, name, start_s, time.time())


def annotate(grafana: HttpClient, name: str, start_s: float, end_s: float) -> None:
    """Mark the time between two moments (seconds since 1970) as a drill.

    A drill is worth running without Grafana: nothing fails, a line says what is missing.
    """
    document = {
        "time": round(1000 * start_s),
        "timeEnd": round(1000 * end_s),
        "tags": list(DRILL_TAGS),
        "text": f"mien drill {name}",
    }
    body = json.dumps(document).encode()
    try:
        status = grafana.post("/api/annotations", body, "application/json").status
    except NoResponseError:
        reason = "it does not respond"
    else:
        if status == 200:
            return
        reason = f"it returned status {status}"
    console.info(f"No annotation in Grafana at {grafana.address}: {reason}.")
