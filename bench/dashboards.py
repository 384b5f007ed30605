"""Pictures of the four dashboards: reports/figures/dashboard_*.png.

    python3 tasks.py bench dashboards

Takes 20 minutes: the champions of the workspace (after `mien demo --exit --no-pull`) are asked with
clean questions, whose truth is sent as feedback, then with darkened pictures until the alert of
drift fires, while a Prometheus watches at its ordinary speed.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

from bench import dashboard_figures
from bench.page import ROOT
from mien import config, tasks
from mien.reporting import console
from mien.stages.monitor import drill, traffic
from mien.stages.monitor.panels import DASHBOARDS
from mien.stages.monitor.traffic import LabelledRequest
from mien.stages.monitor.web import HttpClient, Prometheus
from mien.storage.workspace import Workspace

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the server and the Prometheus to try
from served import watched

CLEAN, DARK, BEFORE = 600.0, 540.0, 30.0
"""Seconds of clean traffic, of darkened pictures after it, and that are drawn before both."""
PAUSE = 0.3
FIGURES = ROOT / "reports" / "figures"


def main() -> None:
    """Send traffic, then draw what Prometheus has seen of it."""
    workspace = Workspace(config.settings().home.resolve())
    found = {name: traffic.load_requests(name, workspace) for name in tasks.names()}
    dark = {
        name: [
            traffic.darkened(each, drill.DARK_BRIGHTNESS) if each.is_image else each
            for each in questions
        ]
        for name, questions in found.items()
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        watched(workspace.home, Path(folder), faster=1) as stack,
    ):
        for questions, seconds in ((found, CLEAN), (dark, DARK)):
            console.info(f"sending for {seconds:g} s")
            with ThreadPoolExecutor(len(questions)) as pool:
                jobs = [pool.submit(_send, stack.api, each, seconds) for each in questions.values()]
                for job in jobs:
                    job.result()
        watcher = Prometheus(HttpClient(stack.prometheus.address))
        minutes = (BEFORE + CLEAN + DARK) / 60
        made = dashboard_figures.write(DASHBOARDS, watcher.get, Path(folder), minutes)
        for path in made:
            target = FIGURES / f"dashboard_{path.name}"
            target.write_bytes(path.read_bytes())
            console.result(f"drawn: {target.relative_to(ROOT)}")


def _send(site: HttpClient, questions: list[LabelledRequest], seconds: float) -> None:
    """As one client, with the truth about two answers in three."""
    end = monotonic() + seconds
    for place, question in enumerate(traffic.endless(questions)):
        if monotonic() > end:
            return
        reply = traffic.send(site, question)
        if place % 3 and reply.status == 200:
            traffic.send_feedback(site, question, reply)
        sleep(PAUSE)


if __name__ == "__main__":
    main()
