"""`mien verify` while a challenger answers: which metrics may be missing, and which may not."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import small
from project import ROOT
from served import Watched, watched

from mien import pipeline
from mien.observability.metrics import METRICS
from mien.stages.monitor import missing_metrics, traffic, verify
from mien.stages.monitor.report import PromiseResult
from mien.stages.monitor.verify import Stack
from mien.stages.monitor.web import HttpClient, HttpResponse, Prometheus
from mien.storage import shadow
from mien.storage.workspace import Workspace

COMPARISON = {each.name for each in METRICS if each.name.startswith("mien_shadow_accuracy_")}
ACTIVE = 'mien_shadow_active{{task="gesture",version="{}"}} {}'


@dataclass(frozen=True)
class Site(HttpClient):
    """A server whose challenger has a state, and which lacks some metrics."""

    state: str = ""
    missing: frozenset[str] = frozenset()

    def get(self, path: str, **parameters: str) -> HttpResponse:
        if path == "/health":
            models = [{"task": "gesture", "trained_on": "real"}]
            return HttpResponse(path, 200, json.dumps({"models": models}).encode())
        rows = [f"# TYPE {each.name} {each.kind}" for each in METRICS]
        shown = [row for row in rows if row.split()[2] not in self.missing]
        return HttpResponse(path, 200, "\n".join([*shown, self.state]).encode())


def results(check: str, site: HttpClient, workspace: Workspace) -> list[PromiseResult]:
    stack = Stack(site, Prometheus(site), site, site, ROOT, workspace)
    return [PromiseResult(check, *item) for item in verify.CHECKS[check][0](stack)]


def failure(state: str, home: Path) -> str:
    """What is wrong with the challenger of gestures; "" where nothing is."""
    found = results("shadow", Site("", state=state), Workspace(home))
    return next(each.failure for each in found if each.item == "challenger of gesture")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ACTIVE.format(2, "1.0"), ""),
        (ACTIVE.format(2, "0.0"), "version 2 was switched off"),
        (ACTIVE.format(3, "1.0"), "expected version 2 in mien_shadow_active, found version 3"),
        ("", "expected version 2 in mien_shadow_active, found none"),
    ],
)
def test_a_challenger_that_does_not_answer_is_a_failure(
    tmp_path: Path, state: str, expected: str
) -> None:
    """With the file that asks for it; it was skipped once, as if none was wanted."""
    workspace = Workspace(tmp_path)
    workspace.write_aliases("gesture", {"champion": 1})
    shadow.start(workspace, "gesture", 2, 1.0)
    found = failure(state, tmp_path)
    assert expected in found
    assert bool(found) == bool(expected)
    assert not found or str(shadow.path_of(workspace, "gesture")) in found


def test_a_challenger_that_nobody_wants_is_a_failure(tmp_path: Path) -> None:
    """Also after its promotion; a file that cannot be read is named."""
    workspace = Workspace(tmp_path)
    assert "expected none" in failure(ACTIVE.format(2, "1.0"), tmp_path)
    workspace.write_aliases("gesture", {"champion": 2})
    shadow.start(workspace, "gesture", 2, 1.0)
    assert "expected none" in failure(ACTIVE.format(2, "1.0"), tmp_path)
    assert failure("", tmp_path) == ""
    shadow.path_of(workspace, "gesture").write_text("{}")
    assert "expected version, share and since" in failure("", tmp_path)


def test_a_server_with_a_challenger_has_all_its_metrics_but_the_comparison(tmp_path: Path) -> None:
    """The comparison needs feedback; the others are there from the start."""
    names = frozenset({*COMPARISON, "mien_shadow_active", "mien_shadow_feedback_samples"})
    site = Site("", state=ACTIVE.format(2, "1.0"), missing=names)
    found = results("metrics", site, Workspace(tmp_path))
    assert {each.item for each in found if each.failure} == names - COMPARISON
    assert {each.skipped for each in found if each.skipped} == {
        "no answer of the challenger has feedback"
    }


@pytest.fixture
def running(small_gesture: Workspace, tmp_path: Path) -> Iterator[tuple[Watched, Workspace]]:
    """A server with a challenger, version 2, and who watches it."""
    workspace = Workspace(tmp_path / "home")
    shutil.copytree(small_gesture.home, workspace.home)
    pipeline.run(small.GESTURE.model_copy(update={"seed": 1}), workspace, "a test")
    aliases = workspace.aliases("gesture")
    shadow.start(workspace, "gesture", 3 - aliases["champion"], 1.0)
    with watched(workspace.home, tmp_path, "gesture", faster=6) as stack:
        yield stack, workspace


@pytest.mark.long
def test_a_running_challenger_passes_with_and_without_feedback(
    running: tuple[Watched, Workspace],
) -> None:
    """On a real server and Prometheus: a challenger that was stopped fails until it is unloaded."""
    watch, workspace = running
    prometheus = Prometheus(HttpClient(watch.prometheus.address))
    stack = Stack(watch.api, prometheus, watch.api, watch.api, ROOT, workspace)

    def found(check: str) -> list[PromiseResult]:
        return [PromiseResult(check, *item) for item in verify.CHECKS[check][0](stack)]

    def shadows(check: str) -> dict[str, PromiseResult]:
        names = ("mien_shadow_", "model: Challenger", "model: Feedback", "challenger of gesture")
        return {each.item: each for each in found(check) if each.item.startswith(names)}

    watch.prometheus.wait_for(lambda it: it.query("mien_shadow_active == 1"))
    requests = traffic.load_requests("gesture", workspace)
    for each in requests[:20]:
        response = traffic.send(watch.api, each)
    watch.prometheus.wait_for(lambda it: it.query("mien_shadow_cpu_seconds_total > 0"))
    assert [each.failure for each in found("shadow") if each.failure] == []
    metrics = shadows("metrics")
    assert [each.failure for each in metrics.values() if each.failure] == []
    assert {name for name, each in metrics.items() if each.skipped} == COMPARISON
    for each in requests[:20]:
        response = traffic.send(watch.api, each)
        traffic.send_feedback(watch.api, each, response)
    watch.prometheus.wait_for(lambda it: it.query("mien_shadow_accuracy_difference"))
    assert all(each.passed for check in ("metrics", "panels") for each in shadows(check).values())
    served = missing_metrics.served(watch.api)
    assert served.has_challenger
    shadow.stop(workspace, "gesture")
    watch.prometheus.wait_for(lambda it: not it.query("mien_shadow_active"))
    assert shadows("shadow")["challenger of gesture"].skipped == missing_metrics.NO_CHALLENGER
