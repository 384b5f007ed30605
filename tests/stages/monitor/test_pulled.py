"""Promises of monitoring for a pulled model: what needs training data is skipped, with a reason."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import CommandLine
from project import ROOT
from public_models import task_with, toy

from mien import pipeline
from mien.errors import StackError
from mien.observability.metrics import METRICS
from mien.stages.monitor import missing_metrics, report, traffic, verify
from mien.stages.monitor.report import PromiseResult
from mien.stages.monitor.verify import Stack
from mien.stages.monitor.web import HttpClient, HttpResponse, Prometheus
from mien.storage.workspace import Workspace

OF_TRAINING = {
    *("mien_training_examples", "mien_training_completeness", "mien_model_score"),
    *("mien_drift_score", "mien_drift_threshold", "mien_label_share_limit"),
    "mien_live_accuracy_floor",
}
"""What a server of pulled models does not expose."""


@dataclass(frozen=True)
class Site(HttpClient):
    """A server of models, and a Prometheus that knows its metrics but those of training data."""

    origins: tuple[tuple[str, str], ...] = ()
    missing: frozenset[str] = frozenset(OF_TRAINING)

    def get(self, path: str, **parameters: str) -> HttpResponse:
        if path == "/health":
            models = [{"task": name, "trained_on": origin} for name, origin in self.origins]
            return HttpResponse(path, 200, json.dumps({"models": models}).encode())
        if path == "/metrics":
            rows = [each for each in METRICS if each.name not in self.missing]
            text = "\n".join(f"# TYPE {each.name} {each.kind}" for each in rows)
            return HttpResponse(path, 200, text.encode())
        empty = any(name in parameters["query"] for name in self.missing)
        sample = {"metric": {}, "value": [0, "1"]}
        data = {"result": [] if empty else [sample]}
        return HttpResponse(path, 200, json.dumps({"status": "success", "data": data}).encode())


def results(site: Site, check: str) -> list[PromiseResult]:
    stack = Stack(site, Prometheus(site), site, site, ROOT, Workspace(ROOT))
    return [PromiseResult(check, *item) for item in verify.CHECKS[check][0](stack)]


@pytest.mark.parametrize("check", ["metrics", "panels"])
def test_what_needs_training_data_is_skipped_with_a_reason(check: str) -> None:
    """Nothing fails where every served model was pulled, and the rest is still checked."""
    found = results(Site("", origins=(("emotion", "pretrained"),)), check)
    skipped = [each for each in found if each.skipped]
    assert [each for each in found if each.failure] == []
    assert {each.skipped for each in skipped} == {
        "emotion: a public pretrained model, which brings no training data"
    }
    assert any(each.passed for each in found)
    if check == "metrics":
        assert {each.item for each in skipped} == OF_TRAINING


def test_a_trained_model_beside_it_must_have_all() -> None:
    """A metric that the trained one should have is a failure as before."""
    both = (("emotion", "pretrained"), ("gesture", "real"))
    found = results(Site("", origins=both), "metrics")
    assert {each.item for each in found if each.failure} == OF_TRAINING
    assert not any(each.skipped for each in found)


def test_other_metrics_are_not_skipped() -> None:
    """Only what needs training data is."""
    site = Site("", origins=(("emotion", "pretrained"),), missing=frozenset({"mien_confidence"}))
    for check in ("metrics", "panels"):
        found = results(site, check)
        assert any("mien_confidence" in each.failure for each in found)
        assert not any(each.skipped for each in found)


def test_a_server_without_a_challenger_is_complete() -> None:
    """What a shadow has is skipped, with the reason."""
    optional = ("mien_shadow_", "mien_canary_")
    shadow = frozenset(each.name for each in METRICS if each.name.startswith(optional))
    for check in ("metrics", "panels"):
        found = results(Site("", origins=(("gesture", "real"),), missing=shadow), check)
        assert [each for each in found if each.failure] == []
        skipped = {each.skipped for each in found if each.skipped}
        assert skipped == {
            missing_metrics.NO_CHALLENGER,
            "no canary is served",
        }


def test_the_report_counts_what_was_skipped(tmp_path: Path) -> None:
    """Apart from what passed and what failed, with its reason."""
    found = [
        PromiseResult("a", "fine"),
        PromiseResult("b", "drift", skipped="no <data>"),
        PromiseResult("c", "wrong", "broken"),
    ]
    document, page = report.write(found, tmp_path, "now")
    counts = json.loads(document.read_text(encoding="utf-8"))
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (1, 1, 1)
    text = page.read_text(encoding="utf-8")
    assert "1 of 3 checks failed, 1 skipped" in text
    assert (
        text.index("broken") < text.index("no &lt;data&gt;") < text.index('class="passed">passed')
    )


def test_a_drill_of_drift_refuses_a_pulled_champion(
    tmp_path: Path, mlflow_database: Path, command_line: CommandLine
) -> None:
    """Before it sends anything; without a task it looks for another champion."""
    shutil.copy(mlflow_database, tmp_path)
    workspace = Workspace(tmp_path)
    pipeline.pull(task_with(toy=toy), workspace)
    with pytest.raises(StackError, match="public pretrained model, of which no drift is computed"):
        traffic.select("gesture", False, True, workspace)
    with pytest.raises(StackError, match="expected a champion that was trained here, found none"):
        traffic.select(None, False, True, workspace)
    both = "a champion that is validated on pictures, as one of emotions is, and was trained here"
    with pytest.raises(StackError, match=both):
        traffic.select(None, True, True, workspace)
    done = command_line("drill", "flood", "--task", "gesture", home=tmp_path)
    assert done.returncode == 1
    assert "public pretrained model" in done.stderr
