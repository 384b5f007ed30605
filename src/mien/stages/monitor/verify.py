"""Checks a running stack against the project's own files; each failure names a file or metric.

Changes nothing, except that it sends one sample image to each task. The expected state is in
Prometheus' configuration and rules, Grafana's provisioning, and the README.
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
from mien.errors import ConfigError, NoResponseError, RegistryError, StackError, nearest
from mien.observability.metrics import METRICS
from mien.reporting import console
from mien.stages.monitor import compose, dashboards, grafana, missing_metrics, promql, report
from mien.stages.monitor.missing_metrics import WINDOW
from mien.stages.monitor.panels import DASHBOARDS
from mien.stages.monitor.report import PromiseResult
from mien.stages.monitor.web import HttpClient, Prometheus, form, seconds
from mien.storage import shadow
from mien.storage.workspace import CHAMPION, Workspace

CONFIG = Path("prometheus/prometheus.yml")
RULES = tuple(Path("prometheus/rules", name) for name in ("alerts.yml", "recording.yml"))
SOURCE = Path("grafana/provisioning/datasources/prometheus.yml")
PROVIDER = Path("grafana/provisioning/dashboards/mien.yml")
COMPOSE = Path("docker-compose.yml")
README = Path("README.md")
MOUNT = "/etc/grafana/provisioning"
_SOURCE = {
    "uid": grafana.SOURCE_UID,
    "type": "prometheus",
    "access": "proxy",
    "url": "http://prometheus:9090",
}
_PROVIDER = {"type": "file", "path": f"{MOUNT}/dashboards"}
_MOUNTED = {"source": f"./{SOURCE.parents[1]}", "target": MOUNT}
_REASONS = {
    "mien_live_": "no feedback has been sent yet; POST /feedback, or run `mien drill clean`",
    "mien_drift_": "there is no score under 200 predictions; run `mien drill clean`",
}
_MAX_PRINTED = 3
"""Failures of one check that are printed; the report has all."""
_ADDRESS = re.compile(r"http://localhost:8000(/[\w/]*)")


@dataclass(frozen=True)
class Stack:
    """Clients of the parts of the stack, and the files with the expected state."""

    api: HttpClient
    prometheus: Prometheus
    alertmanager: HttpClient
    grafana: HttpClient
    project: Path
    workspace: Workspace
    without: frozenset[str] = frozenset()
    """Services that do not run; checks that need one of them are skipped."""


Items = Iterator[tuple[str, str] | tuple[str, str, str]]
"""A checked item, its failure or an empty string, and why it was skipped."""


def verify(stack: Stack) -> Iterator[PromiseResult]:
    """Run every check, one after the other; a part that does not respond fails its own."""
    silent: set[str] = set()
    for name, (check, services) in CHECKS.items():
        if stack.without.intersection(services):
            continue
        if missing := silent.intersection(services):
            yield PromiseResult(name, name, skipped=f"{min(missing)} does not respond")
            continue
        try:
            for item in check(stack):
                yield PromiseResult(name, *item)
        except NoResponseError as error:
            silent.update(services)
            yield PromiseResult(name, name, str(error))
        except StackError as error:
            yield PromiseResult(name, name, str(error))


def stack(
    addresses: Mapping[str, str | None],
    without: frozenset[str],
    project: Path,
    workspace: Workspace,
) -> Stack:
    """The stack at these addresses; None is the address of docker-compose.yml.

    Raises:
        ConfigError: `without` names another service.
    """
    for name in sorted(without - compose.PORTS.keys()):
        raise ConfigError(
            f"--without: expected one of {', '.join(compose.PORTS)}, found {name!r}."
            f"{nearest(name, compose.PORTS)}"
        )
    at = {part: compose.address(part, project, each) for part, each in addresses.items()}
    return Stack(
        api=HttpClient(at["api"], service="api"),
        prometheus=Prometheus(HttpClient(at["prometheus"], service="prometheus")),
        alertmanager=HttpClient(at["alertmanager"], service="alertmanager"),
        grafana=HttpClient(at["grafana"], compose.login(project), "grafana"),
        project=project,
        workspace=workspace,
        without=without,
    )


def verify_all(stack: Stack, out: Path) -> list[PromiseResult]:
    """Run every check, print the failures, and write the report to a folder."""
    results = []
    with console.bar("verifying") as advance:
        for result in verify(stack):
            results.append(result)
            advance(len(results), 0, result.item)
    for name in CHECKS:
        own = [result for result in results if result.check == name]
        passed = sum(result.passed for result in own)
        skipped = [result.skipped for result in own if result.skipped]
        if own:
            more = f", {len(skipped)} skipped: {skipped[0]}" if skipped else ""
            console.result(f"{name:13} {passed} of {len(own)} passed{more}")
    for name in CHECKS:
        failed = [each for each in results if each.check == name and each.failure]
        for result in failed[:_MAX_PRINTED]:
            console.result(f"FAILED {name}: {result.failure}")
        if len(failed) > _MAX_PRINTED:
            console.result(f"FAILED {name}: {len(failed) - _MAX_PRINTED} more, in the report")
    if any(result.check == "panels" and result.failure for result in results):
        console.result("Panels fill with traffic: run `mien drill clean`, then verify again.")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for path in report.write(results, out, when):
        console.result(f"written: {path}")
    return results


def _server(stack: Stack) -> Items:
    for path in ("/livez", "/readyz", "/health"):
        yield path, _status_failure(stack.api, path)


def _status_failure(client: HttpClient, path: str) -> str:
    response = client.get(path)
    return "" if response.status == 200 else f"{response.url} returns {response.status}"


def _models(stack: Stack) -> Items:
    """The server serves the champions of the registry."""
    models = stack.api.get("/health").json()["models"]
    served = {model["task"]: model["version"] for model in models}
    champions = {
        name: number
        for name in tasks.names()
        if (number := stack.workspace.aliases(name).get(CHAMPION)) is not None
    }
    if not champions:
        yield "champions", f"{stack.workspace.home} has no champion; name another with --home"
    for name, number in champions.items():
        path = stack.workspace.models(name) / "aliases.json"
        version = served.get(name)
        failure = f"{path}: expected version {number} on /health, found {version or 'none'}"
        yield f"champion of {name}", "" if version == str(number) else failure


def _shadow(stack: Stack) -> Items:
    """The challengers of the workspace answer after the champions, and no others."""
    challengers = missing_metrics.challengers(stack.api)
    for name in tasks.names():
        item, path = f"challenger of {name}", shadow.path_of(stack.workspace, name)
        try:
            plan = shadow.read(stack.workspace, name)
        except RegistryError as error:
            yield item, str(error)
            continue
        champion = stack.workspace.aliases(name).get(CHAMPION)
        expected = str(plan.version) if plan and plan.version != champion else ""
        version, active = challengers.get(name, ("", False))
        if version != expected:
            wanted, actual = (f"version {it}" if it else "none" for it in (expected, version))
            log = "the server's log has the reason"
            yield item, f"{path}: expected {wanted} in mien_shadow_active, found {actual}; {log}"
        elif not version:
            yield item, "", missing_metrics.NO_CHALLENGER
        else:
            again = f"the server's log has the reason, `mien shadow {name} {version}` starts it"
            yield item, "" if active else f"{path}: version {version} was switched off; {again}"


def _metrics(stack: Stack) -> Items:
    """The server exposes exactly the metrics of the table."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", stack.api.get("/metrics").text, re.MULTILINE))
    served = missing_metrics.served(stack.api)
    for row in METRICS:
        kind = kinds.pop(row.name, None)
        excuse = "" if kind else served.excuse(row.name, served.all_pulled)
        wrong = f"{row.name} is {kind or 'not exposed'}; {_reason(row.name)}".rstrip("; ")
        yield (row.name, "", excuse) if excuse or kind == row.kind else (row.name, wrong)
    for name in sorted(kinds):
        if name.startswith("mien_"):
            yield name, f"{name} is exposed and not in the table of observability/metrics.py"


def _targets(stack: Stack) -> Items:
    """Every scrape job of the configuration has targets, and all of them are up."""
    active = stack.prometheus.get("targets")["activeTargets"]
    for job in _read(stack.project / CONFIG)["scrape_configs"]:
        name = job["job_name"]
        if {"mien": "api"}.get(name, name) in stack.without:
            continue
        own = [target for target in active if target["labels"]["job"] == name]
        if not own:
            yield f"target {name}", f"{CONFIG}: Prometheus has no job {name}"
        for target in own:
            up, detail = target["health"] == "up", f"{target['scrapeUrl']}: {target['lastError']}"
            yield f"target {name}", "" if up else f"{name} is {target['health']} ({detail})"


def _rules(stack: Stack) -> Items:
    """Every rule of the files is loaded unchanged, and can be evaluated."""
    loaded: dict[tuple[str, str], list[Any]] = {}
    for group in stack.prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            loaded.setdefault((Path(group["file"]).name, rule["name"]), []).append(rule)
    for path in RULES:
        for group in _read(stack.project / path)["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                own = loaded.get((path.name, name), [])
                yield f"rule {name}", _rule_failure(stack.prometheus, path, name, rule, own)


def _rule_failure(
    prometheus: Prometheus, path: Path, name: str, rule: Any, loaded: list[Any]
) -> str:
    written = prometheus.formatted(rule["expr"])
    same = [each for each in loaded if prometheus.formatted(each["query"]) == written]
    if "for" in rule:
        same = [each for each in same if each.get("duration") == seconds(rule["for"])]
    if not same:
        kind = "loaded in another form" if loaded else "not loaded"
        return f"{path}: {name} is {kind}; restart Prometheus, or POST /-/reload"
    bad = [each for each in same if each["health"] != "ok"]
    detail = bad and (bad[0].get("lastError") or "not evaluated yet")
    return f"{path}: {name} is {bad[0]['health']}: {detail}" if bad else ""


def _alertmanager(stack: Stack) -> Items:
    yield "alertmanager", _status_failure(stack.alertmanager, "/-/ready")


def _alert_route(stack: Stack) -> Items:
    """Prometheus sends its alerts to an Alertmanager."""
    active = stack.prometheus.get("alertmanagers")["activeAlertmanagers"]
    yield "alert route", "" if active else f"{CONFIG}: Prometheus has no Alertmanager"


def _panels(stack: Stack) -> Items:
    """Every query of every panel returns numbers."""
    served = missing_metrics.served(stack.api)
    for board in DASHBOARDS:
        path = SOURCE.parents[1] / "dashboards" / f"{board.name}.json"
        for panel in _read(stack.project / path)["panels"]:
            for target in panel.get("targets", ()):
                expr = promql.fill(target["expr"].removesuffix(" > 0"), window=WINDOW)
                failure = _query_failure(stack.prometheus, expr)
                item = f"{board.name}: {panel['title']}"
                location = f"{path}: panel {panel['title']!r}"
                # A metric that another model must have is missed by `_metrics`.
                excuse = failure and served.excuse(expr, bool(served.pulled))
                yield (item, "", excuse) if excuse else (item, failure and f"{location}: {failure}")


def _query_failure(prometheus: Prometheus, expr: str) -> str:
    try:
        values = [value for _, value in prometheus.query(expr)]
    except StackError as error:
        return str(error)
    if promql.ALERTS in expr or any(math.isfinite(value) for value in values):
        return ""  # no alert fires where all is well
    names = re.findall(r"\b(?:mien|process)_\w+", expr)
    missing = [name for name in dict.fromkeys(names) if not prometheus.query(f"count({name})")]
    reason = next((text for name in missing if (text := _reason(name))), "")
    culprit = f"Prometheus has no {', '.join(missing)}" if missing else f"{expr} is empty"
    return f"{culprit}; {reason}".rstrip("; ")


def _reason(name: str) -> str:
    return next((text for start, text in _REASONS.items() if name.startswith(start)), "")


def _provisioning(stack: Stack) -> Items:
    """The files exist with the expected content, and are mounted where Grafana reads them."""
    source = _read(stack.project / SOURCE)["datasources"][0]
    yield f"{SOURCE}", _differing(SOURCE, source, _SOURCE)
    provider = _read(stack.project / PROVIDER)["providers"][0]
    actual = {"type": provider["type"], "path": provider["options"]["path"]}
    yield f"{PROVIDER}", _differing(PROVIDER, actual, _PROVIDER)
    mounts = _read(stack.project / COMPOSE)["services"]["grafana"]["volumes"]
    mounted = any(_MOUNTED.items() <= each.items() for each in mounts if isinstance(each, dict))
    yield f"{COMPOSE}", "" if mounted else f"{COMPOSE}: {SOURCE.parents[1]} is not at {MOUNT}"
    for board in DASHBOARDS:
        file = PROVIDER.parent / f"{board.name}.json"
        fresh = _text(stack.project / file) == dashboards.text(board)
        yield f"{file}", "" if fresh else f"{file} is not what `mien dashboards` writes"


def _differing(path: Path, actual: dict[str, Any], expected: dict[str, str]) -> str:
    different = [key for key, value in expected.items() if actual.get(key) != value]
    texts = [f"{key}: expected {expected[key]!r}, found {actual.get(key)!r}" for key in different]
    return f"{path}: {', '.join(texts)}" if texts else ""


def _grafana(stack: Stack) -> Items:
    uids = [f"dashboards/uid/mien-{board.name}" for board in DASHBOARDS]
    for path in (f"datasources/uid/{grafana.SOURCE_UID}/health", *uids):
        yield path, _status_failure(stack.grafana, f"/api/{path}")


def _examples(stack: Stack) -> Items:
    """The addresses of the README respond; those of tasks with a prediction."""
    addresses = _ADDRESS.findall(_text(stack.project / README))
    for path in sorted(set(addresses)):
        task = path.removeprefix("/predict/")
        if task in tasks.names():
            yield f"POST {path}", _example_failure(stack.api, path, task)
        elif not path.startswith(("/predict", "/feedback")):
            failure = _status_failure(stack.api, path)
            yield f"GET {path}", failure and f"{README}: {failure}"


def _example_failure(api: HttpClient, path: str, task: str) -> str:
    file = io.BytesIO()
    tasks.load(task).inference.sample_picture().convert("RGB").save(file, "PNG")
    response = api.post(path, *form(file.getvalue()))
    if response.status != 200:
        return f"{README}: {path} returns {response.status}: {response.text[:200]}"
    prediction = response.json()
    if next(iter(prediction), None) != task or prediction[task] is None:
        return f"{README}: {path} does not predict the {task} of the sample image"
    return ""


def _read(path: Path) -> Any:
    """Read a YAML or JSON file.

    Raises:
        StackError: the file does not exist or cannot be read.
    """
    try:
        return json.loads(_text(path)) if path.suffix == ".json" else yaml.safe_load(_text(path))
    except (yaml.YAMLError, ValueError) as error:
        raise StackError(f"{path} cannot be read: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(f"{path}: {error.strerror}. Name the clone with --project.") from None


CHECKS: dict[str, tuple[Callable[[Stack], Items], set[str]]] = {
    "server": (_server, {"api"}),
    "models": (_models, {"api"}),
    "shadow": (_shadow, {"api"}),
    "metrics": (_metrics, {"api"}),
    "targets": (_targets, {"prometheus"}),
    "rules": (_rules, {"prometheus"}),
    "alertmanager": (_alertmanager, {"alertmanager"}),
    "alert route": (_alert_route, {"prometheus", "alertmanager"}),
    "provisioning": (_provisioning, set()),
    "panels": (_panels, {"prometheus"}),
    "grafana": (_grafana, {"grafana"}),
    "examples": (_examples, {"api"}),
}
"""Each check and the services that it asks."""
