"""Promises about prometheus/: valid, tested both ways, explained, the same on a faster clock."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from clock import UNITS, divided, expression, faster, milliseconds
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, free_port
from prometheus_client.utils import floatToGoString
from waiting import PATIENCE, until

from mien.errors import ConfigError
from mien.observability.metrics import EXPOSED
from prometheus import FOLDER, configure, require, running

ALERTS = {
    *("MienServerDown", "MienErrorBudgetBurn", "MienLatencyBudgetBurn", "MienSaturated"),
    *("MienNoPredictions", "MienUploadsRejected", "MienClassCollapse", "MienDrift"),
    *("MienLiveAccuracyLow", "MienModelNotLoaded", "MienModelOld", "MienPredictionsNotRecorded"),
    *("MienModelRefused", "MienShadowOff", "MienCanaryRolledBack", "MienPredictionLogAway"),
}
RULES = [
    rule
    for path in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
NAMED = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", "record"))
EACH_ALERT = pytest.mark.parametrize("rule", NAMED, ids=lambda rule: rule["alert"])
FOREIGN = {"job", "instance"}  # what Prometheus adds to every series
SERVER = """\
# TYPE mien_model_loaded gauge
mien_model_loaded{task="gesture"} 0
mien_in_flight_requests{state="current"} 1
mien_in_flight_requests{state="limit"} 32
"""


def tool(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [require(name), *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_and_alertmanager_take_their_configuration() -> None:
    """The files start both programs, and Prometheus finds the rules beside its configuration."""
    assert "2 rule files found" in tool("promtool", "check", "config", "prometheus.yml")
    assert "SUCCESS" in tool("amtool", "check-config", "alertmanager.yml")


@pytest.mark.long
def test_rules_do_what_their_tests_say() -> None:
    """Every alert fires where it must and stays silent near by; every drill raises one alert."""
    files = sorted(str(path.relative_to(FOLDER)) for path in (FOLDER / "tests").glob("*.yml"))
    assert files
    tool("promtool", "test", "rules", *files)


def test_all_alerts_are_there() -> None:
    """The alerts are those that drills, dashboards and docs count on."""
    assert {rule["alert"] for rule in NAMED} == ALERTS


def test_every_alert_is_tested_firing_and_silent() -> None:
    """An alert without a near miss may fire always, one without a hit never."""
    fired, silent = set(), set()
    for path in (FOLDER / "tests").glob("*.yml"):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in group.get("alert_rule_test", ()):
                (fired if case["exp_alerts"] else silent).add(case["alertname"])
    assert fired == ALERTS
    assert silent == ALERTS


def test_every_drill_has_its_scenario() -> None:
    """Six faults, each with the one alert that it raises, and an ordinary day with none."""
    document = yaml.safe_load((FOLDER / "tests" / "scenarios.yml").read_text(encoding="utf-8"))
    raised = [
        re.findall(r'alertname="(\w+)"', str(group["promql_expr_test"][-1]["exp_samples"]))
        for group in document["tests"]
    ]
    assert raised == [
        [],
        ["MienDrift"],
        ["MienClassCollapse"],
        ["MienUploadsRejected"],
        ["MienLatencyBudgetBurn"],
        ["MienErrorBudgetBurn"],
        ["MienServerDown"],
    ]


def names(promql: str) -> set[str]:
    """Metrics and recorded series that an expression reads."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\b(?:by|on|ignoring|group_left)\s*\([^)]*\)', "", promql)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    return {
        word
        for word in re.findall(r"[A-Za-z_:][\w:]*", bare)
        if ":" in word or word == "up" or word.startswith(("mien_", "process_"))
    }


def labels(name: str) -> set[str]:
    """Labels of a metric; a recorded series tells its own at the front of its name."""
    if name == "up":
        return FOREIGN
    if ":" in name:
        return set(name.partition(":")[0].split("_")) | FOREIGN
    return {*EXPOSED[name].labels, *FOREIGN, *(("le",) if name.endswith("_bucket") else ())}


@EACH_RULE
def test_rules_name_what_the_server_exposes(rule: dict[str, Any]) -> None:
    """Every metric and label of a rule is in the table of metrics, and every bucket exists."""
    promql = rule["expr"]
    assert names(promql)
    assert names(promql) <= {*EXPOSED, *RECORDED, "up"}
    for name, selector in re.findall(r"([\w:]+)\{([^}]*)\}", promql):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= labels(name), name
        for edge in re.findall(r'le="([^"]*)"', selector):
            assert float(edge) in EXPOSED[name].buckets
            assert edge == floatToGoString(edge), "as the client writes it: 0.5 and 1.0, not 1"
    known = set().union(*(labels(name) for name in names(promql)))
    grouped = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", promql)
    assert {word for group in grouped for word in re.findall(r"\w+", group)} <= known


@EACH_RULE
def test_rules_keep_the_job_and_count_nothing_per_second(rule: dict[str, Any]) -> None:
    """Alertmanager silences by job; a rate per second would mean more on a faster clock."""
    grouped = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"])
    assert all("job" in re.findall(r"\w+", group) for group in grouped)
    assert not re.search(r"\b(?:i?rate|deriv|idelta)\s*\(", rule["expr"])


@EACH_ALERT
def test_alerts_say_what_to_do(rule: dict[str, Any]) -> None:
    """Severity, summary, description, and a runbook whose section is there."""
    notes, anchor = rule["annotations"], rule["alert"].lower()
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert notes["summary"].endswith((".", "'."))
    assert len(notes["description"]) > len(notes["summary"]) / 2
    assert notes["runbook"] == f"docs/source/runbooks.md#{anchor}"
    assert notes["runbook_url"] == f"{{{{ $externalLabels.docs }}}}/runbooks/#{anchor}"
    book = (ROOT / "docs" / "source" / "runbooks.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", book, re.DOTALL | re.MULTILINE)
    assert section, f"no section {rule['alert']}"
    assert all(f"- {part}:" in section[1] for part in ("Look", "Do", "Ignore"))
    assert f"**{rule['labels']['severity']}" in section[1].lower()


def test_runbooks_name_panels_that_are_there() -> None:
    """A reader of a runbook finds the panel that it names."""
    folder = ROOT / "grafana" / "provisioning" / "dashboards"
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    titles = " ".join(
        item["title"] for board in boards for item in [board, *board["panels"]] if "title" in item
    )
    book = (ROOT / "docs" / "source" / "runbooks.md").read_text(encoding="utf-8")
    emphasised = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", book))
    assert len(emphasised) > 15
    assert not [title for title in emphasised if title not in titles]


# The faster clock

WHOLE = st.integers(min_value=0, max_value=10**12)
FACTOR = st.integers(min_value=1, max_value=10_000)
DURATION = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from(list(UNITS))), min_size=1, max_size=4
).map(lambda parts: "".join(f"{number}{unit}" for number, unit in parts))

TEXT = st.lists(st.sampled_from(["[5m]", "offset 5m", "[", "]", "'", "1h", " "])).map("".join)


@given(DURATION)
def test_a_clock_of_one_changes_no_duration(duration: str) -> None:
    """Divided by 1, a duration is written otherwise and lasts as long."""
    assert milliseconds(divided(duration, 1)) == milliseconds(duration)


@given(WHOLE, FACTOR)
def test_what_divides_evenly_is_exact(whole: int, by: int) -> None:
    """No rounding where none is needed, up to thirty years."""
    assert milliseconds(divided(f"{whole * by}ms", by)) == whole


@given(DURATION, DURATION, FACTOR)
def test_order_is_kept_and_nothing_vanishes(one: str, two: str, by: int) -> None:
    """A longer duration stays at least as long, and only nothing becomes nothing."""
    short, long = sorted((one, two), key=milliseconds)
    assert milliseconds(divided(short, by)) <= milliseconds(divided(long, by))
    assert (milliseconds(divided(one, by)) == 0) == (milliseconds(one) == 0)


@given(DURATION, DURATION, TEXT, st.integers(0, 99))
def test_only_times_of_a_query_are_divided(one: str, two: str, text: str, number: int) -> None:
    """Windows, steps and offsets change; texts, numbers and names that look like times do not."""
    query = (
        'max_over_time(m5m_1h{{a="{text}"}}[{one}:{two}] offset -{one}) > {number} * time() # [5m]'
    )
    fast = expression(query.format(one=one, two=two, text=text, number=number), 60)
    assert fast == query.format(
        one=divided(one, 60), two=divided(two, 60), text=text, number=number
    )


@pytest.mark.parametrize(
    ("duration", "by", "result"),
    [
        ("15s", 60, "250ms"),
        ("1h30m", 60, "90000ms"),
        ("1d", 1440, "60000ms"),
        ("1s", 5000, "1ms"),
        ("0s", 60, "0s"),
        ("0", 60, "0s"),
    ],
)
def test_durations_are_divided(duration: str, by: int, result: str) -> None:
    """The cases that the files hold, in milliseconds, which Prometheus cannot go below."""
    assert divided(duration, by) == result


@pytest.mark.parametrize("text", ["for: soon", "for: 5", "for: 5m 3", "interval: -5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A value that cannot be read is named instead of being left at the ordinary clock."""
    with pytest.raises(ConfigError, match="Expected a duration"):
        faster(text, 60)


def test_time_runs_no_slower() -> None:
    """A factor below 1 is refused."""
    with pytest.raises(ConfigError, match="not by 0"):
        faster("for: 5m", 0)


def test_the_faster_files_differ_in_times_alone(tmp_path: Path) -> None:
    """Thresholds, ages in seconds, names and texts of the real files survive, and are valid."""
    config = configure(tmp_path, {"mien": "127.0.0.1:1"}, by=60)
    tool("promtool", "check", "config", str(config))
    for path in (FOLDER / "rules").glob("*.yml"):
        slow = yaml.safe_load(path.read_text(encoding="utf-8"))
        fast = yaml.safe_load((tmp_path / "rules" / path.name).read_text(encoding="utf-8"))
        assert fast != slow
        assert without_times(fast) == without_times(slow)


def without_times(document: Any) -> str:
    text = re.sub(r"\[[^\[\]\"']*\d(?:ms|[smhd])\]", "[]", yaml.safe_dump(document, width=9_000))
    return re.sub(r"\bfor: \S+", "for:", text)


# A real Prometheus


@contextmanager
def server(page: str) -> Iterator[str]:
    """A server that shows one page of metrics; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None: ...

    there = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=there.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{there.server_port}"
    finally:
        there.shutdown()
        there.server_close()


@pytest.mark.long
def test_alerts_fire_on_the_faster_clock(tmp_path: Path) -> None:
    """A real Prometheus scrapes a server whose model is missing: two minutes pass in seconds."""
    with server(SERVER) as target, running({"mien": target}, tmp_path, faster=60) as prometheus:
        prometheus.wait_for(lambda it: it.query('up{job="mien"} == 1'))
        prometheus.wait_for(lambda it: "MienModelNotLoaded" in it.firing())
        assert prometheus.firing() == {"MienModelNotLoaded"}
        (alert,) = prometheus.alerts()
        assert alert.labels["task"] == "gesture"
        assert alert.annotations["runbook_url"].endswith(":8001/runbooks/#mienmodelnotloaded")


def test_a_prometheus_without_rules_has_no_alerts(tmp_path: Path) -> None:
    """Tests of dashboards want the series, without the alerts."""
    with running({}, tmp_path, rules=False) as prometheus:
        assert prometheus.get("rules")["groups"] == []


def test_alertmanager_hears_of_a_dead_server_and_keeps_quiet_about_the_rest(tmp_path: Path) -> None:
    """The page reaches Alertmanager; other alerts of the job are inhibited by it, and a ticket by
    the page of the same name and task alone."""
    dead = {"mien": f"127.0.0.1:{free_port()}"}
    with running(dead, tmp_path, alertmanager=True) as prometheus:
        url = f"{prometheus.alertmanager}/api/v2/alerts"
        down = until(lambda: heard(url).get("MienServerDown"), lambda: str(heard(url)))
        assert "docs" not in down["labels"]
        more = [
            {"alertname": "MienDrift", "job": "mien", "task": "gesture", "severity": "ticket"},
            {"alertname": "Full", "job": "other", "task": "gesture", "severity": "ticket"},
            {"alertname": "Slow", "job": "other", "task": "gesture", "severity": "page"},
            {"alertname": "Slow", "job": "other", "task": "gesture", "severity": "ticket"},
            {"alertname": "Slow", "job": "other", "task": "emotion", "severity": "ticket"},
        ]
        body = json.dumps([{"labels": one} for one in more]).encode()
        urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=PATIENCE).close()
        assert until(lambda: len(listed(url)) == 6, lambda: str(listed(url)))
        quiet = [
            (one["labels"]["alertname"], one["labels"].get("task"), one["labels"]["severity"])
            for one in listed(url)
            if one["status"]["state"] == "suppressed"
        ]
        assert sorted(quiet) == [
            ("MienDrift", "gesture", "ticket"),
            ("Slow", "gesture", "ticket"),
        ]


def listed(url: str) -> list[dict[str, Any]]:
    """All alerts that Alertmanager holds."""
    with urlopen(url, timeout=PATIENCE) as answer:
        alerts: list[dict[str, Any]] = json.load(answer)
        return alerts


def heard(url: str) -> dict[str, dict[str, Any]]:
    return {alert["labels"]["alertname"]: alert for alert in listed(url)}
