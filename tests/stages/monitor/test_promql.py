"""Promises about the questions that dashboards ask: Prometheus understands each of them."""

import json
import re
import subprocess
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml

from mien.stages.monitor import dashboards, promql
from mien.stages.monitor.panels import DASHBOARDS
from prometheus import Prometheus, require


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_every_question_parses(board: dashboards.Dashboard, empty_prometheus: Prometheus) -> None:
    """A real Prometheus takes the questions of all panels and annotations of a dashboard."""
    document = json.loads(dashboards.text(board))
    targets = [target for panel in document["panels"] for target in panel.get("targets", [])]
    questions = [
        each["expr"] for each in [*targets, *document["annotations"]["list"]] if "expr" in each
    ]
    assert len(questions) > 15
    for question in questions:
        asked = promql.fill(question)
        assert "$" not in asked, asked
        # With nothing scraped, nothing is shown: no question makes numbers up.
        assert empty_prometheus.query(asked) == [], asked


def test_the_check_sees_a_fault(empty_prometheus: Prometheus) -> None:
    """A question that is no PromQL is refused."""
    with pytest.raises(HTTPError, match="400") as refused:
        empty_prometheus.query("sum by (rate(up[1m])")
    refused.value.close()


@pytest.mark.parametrize(
    ("question", "values"),
    [
        # The forms of `part`, `quantile` and `mean` on a counter that stands still.
        ("(vector(0) or vector(0)) / clamp_min(vector(0), 1e-9)", [0]),
        ("vector(NaN) >= 0", []),
        ("vector(0) / (vector(0) > 0)", []),
    ],
)
def test_idle_is_never_nan(
    empty_prometheus: Prometheus, question: str, values: list[float]
) -> None:
    """A share is 0 while nothing happens; a quantile and a mean are left out."""
    assert [value for _, value in empty_prometheus.query(question)] == values


def test_forms_are_the_ones_tried() -> None:
    """The forms above are those that the module makes."""
    assert promql.quantile(0.5, "mien_upload_bytes").endswith(") >= 0")
    assert re.fullmatch(r"sum \(.*\) / \(sum \(.*\) > 0\)", promql.mean("mien_upload_bytes"))
    share = promql.ratio("mien_requests_total", 'status=~"5.."')
    assert re.fullmatch(r"\(sum \(.*\) or vector\(0\)\) / clamp_min\(sum \(.*\), 1e-9\)", share)


def test_variables_are_asked_for_where_a_metric_has_them() -> None:
    """A row with task and version is chosen by both, a row without by neither."""
    assert promql.latest("mien_live_accuracy_samples", "task") == (
        'max by (task) (mien_live_accuracy_samples{task=~"$task", version=~"$version"})'
    )
    assert promql.latest("mien_prediction_log_rows") == "max (mien_prediction_log_rows)"


def test_names_are_found_in_a_question() -> None:
    """Words within quotes and names of labels are no metrics."""
    question = 'up{job="mien_x"} * on (job) mien_in_flight_requests{state="process_y"}'
    assert [name for name, _ in promql.metrics_of(question)] == ["up", "mien_in_flight_requests"]


def test_a_new_version_is_marked_for_a_minute(tmp_path: Path) -> None:
    """Only what appears is marked: not the version that stays, not a second replica of it."""
    promtool = require("promtool")
    document = json.loads(dashboards.text(DASHBOARDS[0]))
    question = promql.fill(document["annotations"]["list"][0]["expr"])
    old = 'mien_model_info{task="shape",version="1",instance="a"}'
    new = old.replace('"1"', '"2"')
    replica = old.replace('"a"', '"b"')
    series = {old: "1x40", replica: "_x20 1x20", new: "_x20 1x20"}
    # One sample in 15 s; the new version comes after 20 of them.
    expected = {"0s": [old], "4m": [], "5m": [new], "5m45s": [new], "6m": [], "9m": []}
    tests = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": question,
                "eval_time": at,
                "exp_samples": [{"labels": name, "value": 1} for name in names],
            }
            for at, names in expected.items()
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [tests]}), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
