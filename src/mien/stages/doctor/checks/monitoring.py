"""The files that Grafana and Prometheus read in the Compose stack."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from .. import compose_file
from ..compose_file import ComposeFile
from ..contract import DoctorCheck, Finding, Installation, absent, failed, ok

PROVISIONING = PurePosixPath("/etc/grafana/provisioning")
CONFIG = Path("prometheus/prometheus.yml")
_RESTORE = "Correct the file, or restore it with git."


def find_provisioning(subject: Installation) -> Finding:
    """Whether Grafana finds a data source of the stack and dashboards."""
    stack = compose_file.read(subject.project)
    if stack is None or not stack.is_own:
        return _no_stack(subject)
    problem = next(_provisioning_problems(stack), "")
    return failed(problem, _RESTORE) if problem else ok("one data source, and dashboards")


def find_targets(subject: Installation) -> Finding:
    """Whether every target is a service of the stack at the port that it listens on."""
    stack = compose_file.read(subject.project)
    if stack is None or not stack.is_own:
        return _no_stack(subject)
    path = subject.project / CONFIG
    config = _yaml(path)
    missing = [rule for rule in config.get("rule_files", []) if not any(path.parent.glob(rule))]
    if missing:
        return failed(f"{CONFIG}: no file is {', '.join(missing)}.", _RESTORE)
    listening = {f"{name}:{inside}" for name in stack.services for _, inside in stack.ports(name)}
    targets = [
        target
        for job in config.get("scrape_configs", [])
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    if wrong := sorted(set(targets) - listening):
        services = ", ".join(sorted(listening))
        text = f"{CONFIG}: expected targets among {services}, found {', '.join(wrong)}."
        return failed(text, _RESTORE)
    return ok(f"{len(targets)} targets, all in {compose_file.NAME}")


def _provisioning_problems(stack: ComposeFile) -> Iterator[str]:
    mounts = [bind for bind in stack.binds("grafana") if bind.target == Path(PROVISIONING)]
    if not mounts:
        yield f"{compose_file.NAME}: nothing is mounted at {PROVISIONING} of grafana."
        return
    folder = mounts[0].source
    for name in ("datasources", "dashboards"):
        if not any((folder / name).glob("*.yml")):
            yield f"{folder / name}: expected a YAML file that Grafana reads, found none."
            return
    for path in (folder / "datasources").glob("*.yml"):
        for source in _yaml(path).get("datasources", []):
            host = str(source.get("url", "")).partition("://")[2].partition(":")[0]
            if host not in stack.services:
                yield f"{path}: expected the URL of a service, found {source.get('url')}."
    for path in (folder / "dashboards").glob("*.yml"):
        for provider in _yaml(path).get("providers", []):
            inside = PurePosixPath(provider["options"]["path"])
            outside = inside.is_relative_to(PROVISIONING) and inside.relative_to(PROVISIONING)
            if not outside or not any((folder / outside).glob("*.json")):
                yield f"{path}: expected a mounted folder of dashboards, found {inside}."


def _yaml(path: Path) -> Any:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise OSError(0, f"not YAML: {str(error).splitlines()[0]}", str(path)) from None
    if not isinstance(document, dict):
        raise OSError(0, "expected keys with values, found another form", str(path))
    return document


def _no_stack(subject: Installation) -> Finding:
    text = f"no {compose_file.NAME} of mien's stack in {subject.project.resolve()}"
    return absent(subject, text, "Name mien's project folder: --project.", "compose")


GRAFANA = DoctorCheck(
    "grafana", "The provisioning files of Grafana, and their mount.", find_provisioning
)
PROMETHEUS = DoctorCheck("prometheus", "Rule files and targets of Prometheus.", find_targets)
