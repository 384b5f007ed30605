"""How long each drill's alert takes, by the clock: docs/source/measured/drills.md.

    python3 tasks.py bench drills

Takes about half an hour: Prometheus runs at its ordinary speed, and fresh for every drill. The
models are those of the workspace, after `python3 tasks.py demo --exit`.
"""

import os
import sys
import tempfile
from pathlib import Path

from bench.page import ROOT, table, write
from mien.errors import StackError
from mien.reporting import console
from mien.stages.monitor import drill, traffic
from mien.stages.monitor.drill import DRILLS, DrillTarget
from mien.stages.monitor.web import HttpClient, Prometheus
from mien.storage.workspace import Workspace

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the server and the Prometheus to try
from served import watched

RATE = 5.0
LINGER = 60.0
"""Seconds that a fault goes on after its alert, to see whether another one fires."""


def main() -> None:
    """Run every drill on a stack of its own and write the page."""
    workspace = Workspace(Path(os.environ.get("MIEN_HOME", ".")))
    found = traffic.select(None, needs_images=True, needs_reference=True, workspace=workspace)
    task = found[0].path.removeprefix("/predict/")
    rows = [_row(name, task, found, workspace) for name in DRILLS]
    text = (
        f"One server with one thread and the champion of the task `{task}`, trained on the sample; "
        f"{RATE:g} questions a second; Prometheus reads and judges every 15 seconds. Each drill "
        "begins with a fresh server and a fresh Prometheus: where a thousand clean answers fill "
        f"the window, drift takes longer. A fault went on for {LINGER:g} s after its alert, and "
        "other alerts that fired until then would be listed here. Times differ from run to run by "
        "up to 30 s, as a drill may begin anywhere between two readings."
    )
    write("drills", "Fire drills", [text, table(rows)])


def _row(
    name: str, task: str, found: list[traffic.LabelledRequest], workspace: Workspace
) -> dict[str, object]:
    chosen = DRILLS[name]
    console.info(f"{name}: {chosen.fault}")
    row = {"drill": name, "fault": chosen.fault, "alert": chosen.alert or "none"}
    try:
        seen = _drilled(chosen, task, found, workspace)
    except StackError as error:
        return row | {"fired after": f"FAILED: {error}", "questions sent": ""}
    fired = (
        f"{seen.fired[chosen.alert]:.0f} s" if chosen.alert else f"none in {seen.duration_s:.0f} s"
    )
    return row | {"fired after": fired, "questions sent": f"{seen.sent:,}"}


def _drilled(
    chosen: drill.Drill, task: str, found: list[traffic.LabelledRequest], workspace: Workspace
) -> drill.DrillResult:
    with (
        tempfile.TemporaryDirectory() as folder,
        watched(workspace.home.resolve(), Path(folder), task, faster=1) as stack,
    ):
        server, watcher = stack.server, Prometheus(HttpClient(stack.prometheus.address))
        parts = DrillTarget(stack.api, watcher, server.kill, server.start)
        return drill.run(chosen, parts, found, RATE, chosen.timeout_s, LINGER)


if __name__ == "__main__":
    main()
