"""Each fault raises its own alert and no other, against a real server and a real Prometheus.

Prometheus' clock runs sixty times faster, and so does the traffic.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from project import Demo, mien
from served import Watched, watched

from mien.errors import StackError
from mien.stages.monitor import drill, traffic
from mien.stages.monitor.drill import DRILLS, DrillResult, DrillTarget
from mien.stages.monitor.traffic import LabelledRequest
from mien.stages.monitor.web import HttpClient, Prometheus
from mien.storage.workspace import Workspace

TASK = "emotion"
RATE = 25.0
FAULTS = sorted(name for name, each in DRILLS.items() if each.alert)
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def found(demo: Demo) -> list[LabelledRequest]:
    return traffic.load_requests(TASK, Workspace(demo.home))


def run(
    name: str, stack: Watched, found: list[LabelledRequest], patience: float, rate: float = RATE
) -> DrillResult:
    parts = DrillTarget(
        api=stack.api,
        prometheus=Prometheus(HttpClient(stack.prometheus.address)),
        kill=stack.server.kill,
        start=stack.server.start,
    )
    return drill.run(DRILLS[name], parts, found, rate, patience, hold_s=7)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_raises_its_alert_and_no_other(
    name: str, demo: Demo, found: list[LabelledRequest], tmp_path: Path
) -> None:
    """`drill.run` raises where another alert fires, or none."""
    with watched(demo.home, tmp_path, TASK) as stack:
        seen = run(name, stack, found, patience=60)
    assert set(seen.fired) == {DRILLS[name].alert}


def test_half_an_hour_of_clean_traffic_raises_none(demo: Demo, tmp_path: Path) -> None:
    """Thirty minutes of Prometheus' clock, with drift and live accuracy in judgement: pictures
    that the reference does not know."""
    unseen = traffic.load_requests(TASK, Workspace(demo.home), split="test")
    with watched(demo.home, tmp_path, TASK) as stack:
        seen = run("clean", stack, unseen, patience=30)
        assert all(judged(stack).values())
    assert seen.fired == {}


def test_half_an_hour_of_real_traffic_raises_none(real_data: Path, tmp_path: Path) -> None:
    """Hands that the model has not learnt from and the reference does not know."""
    home, source = tmp_path / "home", real_data / "gesture" / "landmarks_iti.csv"
    quick = ["--set", "params.candidates=[logistic_regression]", "--force", "test"]
    done = mien("run", "gesture", "--source", str(source), *quick, home=home)
    assert done.returncode == 0, done.stderr
    unseen = traffic.load_requests("gesture", Workspace(home), split="test")
    with watched(home, tmp_path, "gesture") as stack:
        seen = run("clean", stack, unseen, patience=30, rate=60)
        assert all(judged(stack).values())
    assert seen.fired == {}


def test_a_server_that_fails_is_not_clean(
    demo: Demo, found: list[LabelledRequest], tmp_path: Path
) -> None:
    """That no alert fires is no success where nothing was answered."""
    broken = [replace(request, fault="error") for request in found]
    with watched(demo.home, tmp_path, TASK) as stack:
        expected = "clean: .* (fired too|were answered)"
        with pytest.raises(StackError, match=expected):
            run("clean", stack, broken, patience=3)


def judged(stack: Watched) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What could have raised an alert, had it been otherwise."""
    names = ("mien_drift_score", "mien_live_accuracy_upper")
    return {name: stack.prometheus.query(name) for name in names}
