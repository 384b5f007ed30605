"""Holds a running stack against its promises, and names the file or metric at fault.

Asks and changes nothing, but for one drawn picture sent to each task. What is promised stands in
the project's own files: Prometheus' configuration and rules, Grafana's provisioning, the README.
"""

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mien import tasks
from mien.errors import CheckError
from mien.observability.metrics import METRICS
from mien.reporting import console
from mien.stages.monitor import compose, dashboards, grafana, promql, report
from mien.stages.monitor.panels import DASHBOARDS
from mien.stages.monitor.report import Finding
from mien.stages.monitor.web import Prometheus, Site, form, seconds
from mien.storage.workspace import Workspace

CONFIG = Path("prometheus/prometheus.yml")
RULES = tuple(Path("prometheus/rules", name) for name in ("alerts.yml", "recording.yml"))
SOURCE = Path("grafana/provisioning/datasources/prometheus.yml")
PROVIDER = Path("grafana/provisioning/dashboards/mien.yml")
COMPOSE = Path("docker-compose.yml")
README = Path("README.md")
MOUNT = "/etc/grafana/provisioning"
_SOURCE = {
    "uid": grafana.SOURCE["uid"],
    "type": "prometheus",
    "access": "proxy",
    "url": "http://prometheus:9090",
}
_PROVIDER = {"type": "file", "path": f"{MOUNT}/dashboards"}
_MOUNTED = {"source": f"./{SOURCE.parents[1]}", "target": MOUNT}
WINDOW = "10m"
"""The window of rates while panels are checked: traffic of the last minutes counts."""
_REASONS = {
    "mien_live_": "no verdict has been sent yet; POST /feedback, or run `mien drill clean`",
    "mien_drift_": "under 200 answers there is no verdict; run `mien drill clean`",
}
_SHOWN = 3
"""Broken promises of one kind that are told at most; the report has all."""
_ADDRESS = re.compile(r"http://localhost:8000(/[\w/]*)")


@dataclass(frozen=True)
class Stack:
    """Where the parts answer, and the files that say what they promise."""

    api: Site
    prometheus: Prometheus
    alertmanager: Site | None
    grafana: Site | None
    project: Path
    workspace: Workspace
    without: frozenset[str] = frozenset()
    """Scrape jobs that are known not to run."""


Found = Iterator[tuple[str, str]]
"""What was looked at, and its fault or an empty string."""


def verify(stack: Stack) -> Iterator[Finding]:
    """Look at every promise, one after the other; a part that does not answer breaks its own."""
    for name, check in CHECKS.items():
        try:
            for what, fault in check(stack):
                yield Finding(name, what, fault)
        except CheckError as error:
            yield Finding(name, name, str(error))


def stack(
    given: Mapping[str, str | None], without: frozenset[str], project: Path, workspace: Workspace
) -> Stack:
    """Where the parts of a stack are: at the addresses given, else as docker-compose.yml has it."""
    at = {part: compose.address(part, project, address) for part, address in given.items()}
    return Stack(
        api=Site(at["api"]),
        prometheus=Prometheus.at(at["prometheus"]),
        alertmanager=None if "alertmanager" in without else Site(at["alertmanager"]),
        grafana=None if "grafana" in without else Site(at["grafana"], compose.login(project)),
        project=project,
        workspace=workspace,
        without=without,
    )


def verify_all(stack: Stack, out: Path) -> list[Finding]:
    """Look at every promise, print what is broken, and leave the report in a folder."""
    findings = []
    with console.bar("verifying") as advance:
        for finding in verify(stack):
            findings.append(finding)
            advance(len(findings), 0, finding.what)
    for name in CHECKS:
        own = [finding for finding in findings if finding.check == name]
        kept = sum(finding.kept for finding in own)
        if own:
            console.result(f"{name:13} {kept} of {len(own)} kept")
    for name in CHECKS:
        broken = [each for each in findings if each.check == name and not each.kept]
        for finding in broken[:_SHOWN]:
            console.result(f"BROKEN {name}: {finding.fault}")
        if len(broken) > _SHOWN:
            console.result(f"BROKEN {name}: {len(broken) - _SHOWN} more, in the report")
    if any(finding.check == "panels" and not finding.kept for finding in findings):
        console.result("Panels fill with traffic: run `mien drill clean`, then verify again.")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for path in report.write(findings, out, when):
        console.result(f"written: {path}")
    return findings


def _server(stack: Stack) -> Found:
    for path in ("/livez", "/readyz", "/health"):
        reply = stack.api.get(path)
        yield path, "" if reply.status == 200 else f"{reply.url} answers {reply.status}"


def _models(stack: Stack) -> Found:
    """What the server answers with is what the registry calls champion."""
    served = {
        model["task"]: model["version"] for model in stack.api.get("/health").json()["models"]
    }
    champions = {
        name: number
        for name in tasks.names()
        if (number := stack.workspace.aliases(name).get("champion")) is not None
    }
    if not champions:
        yield "champions", f"{stack.workspace.home} holds no champion; name the stack's with --home"
    for name, number in champions.items():
        path = stack.workspace.models(name) / "aliases.json"
        right = served.get(name) == str(number)
        answer = f"/health names {served.get(name) or 'none'}"
        yield f"champion of {name}", "" if right else f"{path} names version {number}, {answer}"


def _metrics(stack: Stack) -> Found:
    """The server exposes the metrics of the table and no other of its own."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", stack.api.get("/metrics").text, re.MULTILINE))
    for row in METRICS:
        kind = kinds.pop(row.name, None)
        fault = "" if kind == row.kind else f"{row.name} is {kind or 'not exposed'}"
        yield row.name, f"{fault}; {_why(row.name)}".rstrip("; ") if fault else ""
    for name in sorted(kinds):
        if name.startswith("mien_"):
            yield (
                name,
                f"{name} is exposed and not in the table of observability/metrics.py",
            )


def _targets(stack: Stack) -> Found:
    """Every scrape job of the configuration has targets, and all of them are up."""
    active = stack.prometheus.ask("targets")["activeTargets"]
    for job in _read(stack.project / CONFIG)["scrape_configs"]:
        name = job["job_name"]
        if name in stack.without:
            continue
        own = [target for target in active if target["labels"]["job"] == name]
        if not own:
            yield f"target {name}", f"{CONFIG}: Prometheus does not know the job {name}"
        for target in own:
            up, words = target["health"] == "up", f"{target['scrapeUrl']}: {target['lastError']}"
            yield f"target {name}", "" if up else f"{name} is {target['health']} ({words})"


def _rules(stack: Stack) -> Found:
    """Every rule of the files is loaded as it stands there, and can be computed."""
    loaded: dict[tuple[str, str], list[Any]] = {}
    for group in stack.prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            loaded.setdefault((Path(group["file"]).name, rule["name"]), []).append(rule)
    for path in RULES:
        for group in _read(stack.project / path)["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                own = loaded.get((path.name, name), [])
                yield f"rule {name}", _rule_fault(stack.prometheus, path, name, rule, own)


def _rule_fault(prometheus: Prometheus, path: Path, name: str, rule: Any, loaded: list[Any]) -> str:
    written = prometheus.formatted(rule["expr"])
    same = [each for each in loaded if prometheus.formatted(each["query"]) == written]
    if "for" in rule:
        same = [each for each in same if each.get("duration") == seconds(rule["for"])]
    if not same:
        kind = "not as it stands there" if loaded else "not loaded"
        return f"{path}: {name} is {kind}; restart Prometheus, or POST /-/reload"
    bad = [each for each in same if each["health"] != "ok"]
    words = bad and (bad[0].get("lastError") or "not computed yet")
    return f"{path}: {name} is {bad[0]['health']}: {words}" if bad else ""


def _alertmanager(stack: Stack) -> Found:
    if stack.alertmanager is None:
        return
    reply = stack.alertmanager.get("/-/ready")
    yield "alertmanager", "" if reply.status == 200 else f"{reply.url} answers {reply.status}"
    known = stack.prometheus.ask("alertmanagers")["activeAlertmanagers"]
    yield "alerts' way", "" if known else f"{CONFIG}: Prometheus knows no Alertmanager"


def _panels(stack: Stack) -> Found:
    """Every query of every panel returns numbers."""
    for board in DASHBOARDS:
        path = SOURCE.parents[1] / "dashboards" / f"{board.name}.json"
        for panel in _read(stack.project / path)["panels"]:
            for target in panel.get("targets", ()):
                expr = promql.fill(target["expr"], window=WINDOW)
                fault = _query_fault(stack.prometheus, expr)
                where = f"{path}: panel {panel['title']!r}: "
                yield f"{board.name}: {panel['title']}", f"{where}{fault}" if fault else ""


def _query_fault(prometheus: Prometheus, expr: str) -> str:
    try:
        values = [value for _, value in prometheus.query(expr)]
    except CheckError as error:
        return str(error)
    if any(math.isfinite(value) for value in values):
        return ""
    names = re.findall(r"\b(?:mien|process)_\w+", expr)
    missing = [name for name in dict.fromkeys(names) if not prometheus.query(f"count({name})")]
    reason = next((why for name in missing if (why := _why(name))), "")
    culprit = f"Prometheus has no {', '.join(missing)}" if missing else f"{expr} is empty"
    return f"{culprit}; {reason}".rstrip("; ")


def _why(name: str) -> str:
    return next((why for start, why in _REASONS.items() if name.startswith(start)), "")


def _provisioning(stack: Stack) -> Found:
    """Files are there, say what they must, and lie where Grafana looks."""
    source = _read(stack.project / SOURCE)["datasources"][0]
    yield f"{SOURCE}", _differing(SOURCE, source, _SOURCE)
    provider = _read(stack.project / PROVIDER)["providers"][0]
    found = {"type": provider["type"], "path": provider["options"]["path"]}
    yield f"{PROVIDER}", _differing(PROVIDER, found, _PROVIDER)
    mounts = _read(stack.project / COMPOSE)["services"]["grafana"]["volumes"]
    right = any(_MOUNTED.items() <= each.items() for each in mounts if isinstance(each, dict))
    yield f"{COMPOSE}", "" if right else f"{COMPOSE}: {SOURCE.parents[1]} is not at {MOUNT}"
    for board in DASHBOARDS:
        file = PROVIDER.parent / f"{board.name}.json"
        fresh = _text(stack.project / file) == dashboards.text(board)
        yield f"{file}", "" if fresh else f"{file} is not what `mien dashboards` writes"


def _differing(path: Path, found: dict[str, Any], wanted: dict[str, str]) -> str:
    wrong = [key for key, value in wanted.items() if found.get(key) != value]
    told = [f"{key} is {found.get(key)!r}, expected {wanted[key]!r}" for key in wrong]
    return f"{path}: {', '.join(told)}" if told else ""


def _grafana(stack: Stack) -> Found:
    if stack.grafana is None:
        return
    uids = [f"dashboards/uid/mien-{board.name}" for board in DASHBOARDS]
    for path in (f"datasources/uid/{grafana.SOURCE['uid']}/health", *uids):
        reply = stack.grafana.get(f"/api/{path}")
        yield path, "" if reply.status == 200 else f"{reply.url} answers {reply.status}"


def _examples(stack: Stack) -> Found:
    """The addresses that the README shows answer; pictures with the task's own answer."""
    shown = _ADDRESS.findall(_text(stack.project / README))
    for path in sorted(set(shown)):
        task = path.removeprefix("/predict/")
        if task in tasks.names():
            yield f"POST {path}", _example_fault(stack.api, path, task)
        elif not path.startswith(("/predict", "/feedback")):
            reply = stack.api.get(path)
            yield f"GET {path}", "" if reply.status == 200 else f"{README}: {path}: {reply.status}"


def _example_fault(api: Site, path: str, task: str) -> str:
    file = io.BytesIO()
    tasks.load(task).inference.sample_picture().convert("RGB").save(file, "PNG")
    reply = api.post(path, *form(file.getvalue()))
    if reply.status != 200:
        return f"{README}: {path} answers {reply.status}: {reply.text[:200]}"
    answer = reply.json()
    if next(iter(answer), None) != task or answer[task] is None:
        return f"{README}: {path} does not answer with the {task} of a drawn picture"
    return ""


def _read(path: Path) -> Any:
    """Read a YAML or JSON file.

    Raises:
        CheckError: naming the file, where it is not there or cannot be read.
    """
    try:
        return json.loads(_text(path)) if path.suffix == ".json" else yaml.safe_load(_text(path))
    except (yaml.YAMLError, ValueError) as error:
        raise CheckError(f"{path} cannot be read: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckError(f"{path}: {error.strerror}; git has it.") from None


CHECKS: dict[str, Callable[[Stack], Found]] = {
    "server": _server,
    "models": _models,
    "metrics": _metrics,
    "targets": _targets,
    "rules": _rules,
    "alertmanager": _alertmanager,
    "provisioning": _provisioning,
    "panels": _panels,
    "grafana": _grafana,
    "examples": _examples,
}
