"""A running stack is held against its promises: green when they are kept, else the culprit."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from clock import faster
from project import ROOT, free_port, mien
from served import Watched, watched
from waiting import PATIENCE, until

from mien.errors import ConfigError
from mien.stages.monitor import report, traffic, verify
from mien.stages.monitor.report import PromiseResult
from mien.stages.monitor.verify import Stack
from mien.stages.monitor.web import HttpClient, Prometheus
from mien.storage.workspace import Workspace

pytestmark = pytest.mark.long


FASTER = 6
"""A scrape has 2.5 seconds then, which a busy machine keeps; no test here waits for a window."""
ELSEWHERE = frozenset({"alertmanager", "grafana"})
PROVISIONED = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "grafana/provisioning").rglob("*.*")
)
PROMISED = [*PROVISIONED, *map(str, verify.RULES), "prometheus/prometheus.yml", "README.md"]


@pytest.fixture(scope="module")
def running(small_models: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Both champions, with enough requests for every score, and with feedback. A detector that has
    learned for seconds finds no face in some."""
    folder = tmp_path_factory.mktemp("verify")
    with watched(small_models.home, folder, faster=FASTER) as stack:
        for name in ("emotion", "gesture"):
            found = traffic.load_requests(name, small_models)
            assert traffic.send_all(stack.api, traffic.endless(found), 320) == 320
            for question in found[:3]:
                traffic.send_feedback(stack.api, question, traffic.send(stack.api, question))
        query = "count(mien_drift_score and on(task) mien_live_accuracy) > 8"
        stack.prometheus.wait_for(lambda it: it.query(query))
        yield stack


@dataclass(frozen=True)
class Recorded(Prometheus):
    """Prometheus, asked each question once: the tests change files, not what it has scraped."""

    replies: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        question = (path, json.dumps(parameters))
        if question not in self.replies:
            self.replies[question] = super().get(path, parameters)
        return self.replies[question]


@pytest.fixture(scope="module")
def recorded(running: Watched) -> Prometheus:
    return Recorded(HttpClient(running.prometheus.address))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that promise something."""
    for name in [*PROMISED, "docker-compose.yml"]:
        target = tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for path in verify.RULES:
        target = tmp_path / "project" / path
        target.write_text(faster((ROOT / path).read_text(encoding="utf-8"), FASTER))
    path = tmp_path / "project" / verify.CONFIG
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = document["scrape_configs"]  # the tests' Prometheus does not scrape itself
    document["scrape_configs"] = [job for job in jobs if job["job_name"] != "prometheus"]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return tmp_path / "project"


@pytest.fixture
def stack(running: Watched, recorded: Prometheus, small_models: Workspace, project: Path) -> Stack:
    nobody = HttpClient("http://127.0.0.1:1")
    return Stack(running.api, recorded, nobody, nobody, project, small_models, ELSEWHERE)


def faults(stack: Stack) -> list[str]:
    return [finding.failure for finding in verify.verify(stack) if finding.failure]


def test_a_stack_that_keeps_its_promises_is_green(
    running: Watched, small_models: Workspace, project: Path, tmp_path: Path
) -> None:
    """The command ends with 0, and leaves the whole report as JSON and as a page."""
    parts = ["--api", running.server.address, "--prometheus", running.prometheus.address]
    parts += [word for name in sorted(ELSEWHERE) for word in ("--without", name)]
    parts += ["--project", str(project)]
    done = mien("verify", *parts, "--out", str(tmp_path), home=small_models.home)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "verify.json").read_text(encoding="utf-8"))
    assert (report["failed"], report["passed"] + report["skipped"]) == (0, len(report["results"]))
    skipped = {result["skipped"] for result in report["results"]}
    assert {each.split(",")[0] for each in skipped} == {
        "",
        "no version answers after the champion",
        "no canary is served",
    }
    checks = {result["check"] for result in report["results"]}
    assert checks == set(verify.CHECKS) - {"alertmanager", "alert route", "grafana"}
    page = (tmp_path / "verify.html").read_text(encoding="utf-8")
    assert page.count('<td class="passed">') == report["passed"]


@pytest.mark.parametrize("name", PROMISED)
def test_a_file_that_is_gone_is_named(stack: Stack, name: str) -> None:
    """Whichever of provisioning, rules, configuration and README it is."""
    (stack.project / name).unlink()
    found = faults(stack)
    assert found
    assert all(name in fault for fault in found), found
    assert any("Name the clone with --project" in fault for fault in found)


def test_a_metric_that_was_renamed_in_the_server_is_named(stack: Stack) -> None:
    """Both what is missing and what is new; the command ends with 1."""
    with renaming(stack.api, "mien_confidence", "mien_sureness") as address:
        found = faults(replace(stack, api=HttpClient(address)))
    assert [fault.partition(" is ")[0] for fault in found] == ["mien_confidence", "mien_sureness"]


def test_a_metric_that_was_renamed_in_a_panel_is_named(stack: Stack) -> None:
    """With the file and the panel, and the file is said to be no longer the generator's."""
    path = stack.project / "grafana/provisioning/dashboards/server.json"
    path.write_text(path.read_text().replace("process_open_fds", "process_opened"))
    stale, empty = faults(stack)
    assert "server.json is not what `mien dashboards` writes" in stale
    assert "server.json: panel" in empty
    assert "process_opened" in empty


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("alert: MienSaturated", "alert: MienFull", "MienFull is not loaded"),
        ("> 0.8", "> 0.9", "MienSaturated is loaded in another form"),
        (
            "mien_model_loaded == 0",
            "mien_model_loaded == 2",
            "MienModelNotLoaded is loaded in another form",
        ),
    ],
)
def test_a_rule_that_is_not_loaded_is_named(stack: Stack, old: str, new: str, fault: str) -> None:
    """By its name, and as it stands in the file."""
    path = stack.project / verify.RULES[0]
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    (found,) = faults(stack)
    assert found.startswith(f"prometheus/rules/alerts.yml: {fault}")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (str(verify.SOURCE), "http://prometheus:9090", "http://nobody:1"),
        (str(verify.PROVIDER), "type: file", "type: fil"),
        (str(verify.PROVIDER), "/etc/grafana/provisioning/dashboards", "/etc/grafana"),
        ("docker-compose.yml", "source: ./grafana/provisioning", "source: ./grafana"),
    ],
)
def test_provisioning_that_leads_nowhere_is_named(
    stack: Stack, name: str, old: str, new: str
) -> None:
    path = stack.project / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    (found,) = faults(stack)
    assert found.startswith(f"{name}: ")


def test_a_champion_that_is_not_served_is_named(stack: Stack, tmp_path: Path) -> None:
    """The registry's alias and what /health answers are both named."""
    other = Workspace(tmp_path / "home")
    other.write_aliases("emotion", {"champion": 7})
    (fault,) = faults(replace(stack, workspace=other))
    assert str(other.models("emotion") / "aliases.json") in fault
    assert "expected version 7 on /health, found 1" in fault


def test_a_target_that_stopped_is_named(running: Watched, stack: Stack) -> None:
    """By its address and by its scrape job; green again once it is back."""
    stack = replace(stack, prometheus=Prometheus(HttpClient(running.prometheus.address)))
    running.server.kill()
    try:
        up = 'up{job="mien"} == 1'
        running.prometheus.wait_for(lambda it: not it.query(up))
        found = faults(stack)
        command = ["verify", "--api", running.server.address, "--out", str(stack.project / "out")]
        done = mien(*command, "--prometheus", running.prometheus.address, home=stack.workspace.home)
    finally:
        running.server.start()
    assert any(f"{running.server.address}/livez: expected a response" in fault for fault in found)
    assert any(fault.startswith("mien is down (http") for fault in found)
    assert done.returncode == 1
    running.prometheus.wait_for(lambda it: it.query(up))
    left = until(lambda: not broken(stack, "targets"), lambda: "targets stay broken")
    assert left


def nowhere(folder: Path, without: frozenset[str] = frozenset()) -> Stack:
    parts = ("api", "prometheus", "alertmanager", "grafana")
    addresses = dict.fromkeys(parts, f"http://127.0.0.1:{free_port()}")
    return verify.stack(addresses, without, ROOT, Workspace(folder))


def test_a_service_that_does_not_respond_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how to start it; what else needs it is skipped, and the reason is that service."""
    results = verify.verify_all(nowhere(tmp_path), tmp_path / "out")
    failed = [each.failure for each in results if each.failure]
    services = ("api", "prometheus", "alertmanager", "grafana")
    assert len(failed) == len(services)
    for service in services:
        (own,) = [each for each in failed if f"expected a response of {service}, found" in each]
        assert "docker-compose up" in own
    skipped = {each.check: each.skipped for each in results if each.skipped}
    assert skipped["panels"] == "prometheus does not respond"
    assert "FAILED panels" not in capsys.readouterr().out


def test_what_needs_an_omitted_service_is_not_checked(tmp_path: Path) -> None:
    results = list(verify.verify(nowhere(tmp_path, frozenset({"api", "prometheus"}))))
    assert {each.check for each in results} == {"alertmanager", "provisioning", "grafana"}


def test_an_unknown_service_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found 'prometeus'\. Did you mean 'prometheus'"):
        nowhere(tmp_path, frozenset({"prometeus"}))


def test_the_page_shows_faults_first_and_escapes_them(tmp_path: Path) -> None:
    """A fault may hold what a query or an answer holds."""
    found = [PromiseResult("a", "fine"), PromiseResult("b", "wrong", "<script>alert(1)</script>")]
    page = report.write(found, tmp_path, "now")[1].read_text(encoding="utf-8")
    assert "1 of 2 checks failed" in page
    assert page.index("&lt;script&gt;") < page.index('class="passed">passed')
    assert "<script>" not in page


def broken(stack: Stack, check: str) -> list[PromiseResult]:
    return [each for each in verify.verify(stack) if each.check == check and not each.passed]


@contextmanager
def renaming(site: HttpClient, old: str, new: str) -> Iterator[str]:
    """A server in front of the real one, which calls a metric by another name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with urlopen(f"{site.address}{self.path}", timeout=PATIENCE) as answer:
                self.reply(answer.status, answer.read())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = site.post(self.path, body, self.headers["content-type"])
            self.reply(reply.status, reply.body)

        def reply(self, status: int, body: bytes) -> None:
            renamed = body.replace(f" {old} ".encode(), f" {new} ".encode())
            self.send_response(status)
            self.send_header("content-length", str(len(renamed)))
            self.end_headers()
            self.wfile.write(renamed)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serve: Callable[..., None] = server.serve_forever
        thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
