"""Each fault raises its own alert and no other, against a real server and a real Prometheus.

Prometheus' clock runs sixty times faster, and so does the traffic.
"""

from pathlib import Path

import pytest
from project import Demo
from served import Watched, watched

from mien.stages.monitor import drill, traffic
from mien.stages.monitor.drill import DRILLS, Seen, Stack
from mien.stages.monitor.traffic import Question
from mien.stages.monitor.web import Prometheus
from mien.workspace import Workspace

pytestmark = pytest.mark.xdist_group("demo")
TASK = "emotion"
RATE = 40.0
FAULTS = sorted(name for name, each in DRILLS.items() if each.alert)


@pytest.fixture(scope="module")
def found(demo: Demo) -> list[Question]:
    return traffic.questions(TASK, Workspace(demo.home))


def run(name: str, stack: Watched, found: list[Question], patience: float) -> Seen:
    parts = Stack(
        api=stack.api,
        prometheus=Prometheus.at(stack.prometheus.address),
        kill=stack.server.kill,
        start=stack.server.start,
    )
    return drill.run(DRILLS[name], parts, found, RATE, patience, linger=2)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_raises_its_alert_and_no_other(
    name: str, demo: Demo, found: list[Question], tmp_path: Path
) -> None:
    """`drill.run` raises where another alert fires, or none."""
    with watched(demo.home, tmp_path, TASK) as stack:
        seen = run(name, stack, found, patience=60)
    assert set(seen.fired) == {DRILLS[name].alert}


def test_half_an_hour_of_clean_traffic_raises_none(
    demo: Demo, found: list[Question], tmp_path: Path
) -> None:
    """Thirty minutes of Prometheus' clock, with drift and live accuracy in judgement."""
    with watched(demo.home, tmp_path, TASK) as stack:
        seen = run("clean", stack, found, patience=30)
        judged = {
            name: stack.prometheus.query(name)
            for name in ("mien_drift_score", "mien_live_accuracy_upper")
        }
    assert seen.fired == {}
    assert all(judged.values()), judged
