"""A real Prometheus for tests, with the project's own configuration on a faster clock.

Binaries come from `python3 tasks.py prometheus` or from PATH; without them `require` skips.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import clock
import pytest
import yaml
from clock import UNITS
from project import ROOT, free_port
from waiting import PATIENCE, until

FOLDER = ROOT / "prometheus"
RECIPE = "python3 tasks.py prometheus"
TEMPLATE = Path("/usr/share/prometheus/alertmanager/default.tmpl")
"""What Debian's Alertmanager reads at its start, from this very path; amtool does not."""
DEBIAN = {"alertmanager": "prometheus-alertmanager"}


def binary(name: str) -> str | None:
    """Where prometheus, promtool, alertmanager, amtool or libfaketime is: the recipe's first, then
    on PATH or where Debian keeps libraries."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"
    made = sorted(cache.glob(f"prometheus/*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    if made:
        return str(made[-1])
    libraries = [str(path) for path in Path("/usr/lib").glob(f"*/faketime/{name}")]
    return shutil.which(name) or shutil.which(DEBIAN.get(name, name)) or next(iter(libraries), None)


def require(name: str) -> str:
    """The binary, or a skip that says how to get it."""
    found = binary(name)
    if found is None:
        pytest.skip(f"no {name}: run `{RECIPE}`")
    return found


@dataclass(frozen=True)
class Alert:
    """One alert as Prometheus sees it now; `state` is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus. Addresses have the form http://127.0.0.1:PORT."""

    address: str
    alertmanager: str | None
    pid: int

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the HTTP API."""
        url = f"{self.address}/api/v1/{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample of an instant vector, now."""
        result = self.get("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def alerts(self) -> list[Alert]:
        """All alerts that are pending or firing."""
        return [
            Alert(one["labels"]["alertname"], one["state"], one["labels"], one["annotations"])
            for one in self.get("alerts")["alerts"]
        ]

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {alert.name for alert in self.alerts() if alert.state == "firing"}

    def wait_for(self, condition: Callable[["Prometheus"], Any]) -> Any:
        """Ask again and again until the answer is true, and return it; fail if it never is."""
        return until(lambda: condition(self), lambda: f"alerts: {self.alerts()}")


@contextmanager
def running(
    targets: Mapping[str, str],
    folder: Path,
    *,
    rules: bool = True,
    faster: int = 60,
    alertmanager: bool = False,
) -> Iterator[Prometheus]:
    """Run Prometheus over `targets` (scrape job -> host:port) until the block ends.

    Jobs without a target are left out; `folder` takes configuration, data and logs. Skips
    without binaries.
    """
    program = require("prometheus")
    with ExitStack() as stack:
        other = None
        if alertmanager:
            text = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
            other = stack.enter_context(run_alertmanager(folder, clock.faster(text, faster)))
        config = configure(folder, targets, rules=rules, by=faster, alertmanager=other)
        address = f"127.0.0.1:{free_port()}"
        command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address={address}", "--log.level=warn"]
        # How long a sample counts as the present one; 5 minutes on the ordinary clock.
        command += [f"--query.lookback-delta={max(1, 5 * UNITS['m'] // faster)}ms"]
        process = stack.enter_context(_process(command, folder / "prometheus.log"))
        _ready(f"http://{address}/-/ready", process, folder / "prometheus.log")
        yield Prometheus(f"http://{address}", other and f"http://{other}", process.pid)


def configure(
    folder: Path,
    targets: Mapping[str, str],
    *,
    rules: bool = True,
    by: int = 60,
    alertmanager: str | None = None,
) -> Path:
    """Write the project's configuration, with other targets and divided durations."""
    config = yaml.safe_load(
        clock.faster((FOLDER / "prometheus.yml").read_text(encoding="utf-8"), by)
    )
    jobs = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in jobs:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    config["scrape_configs"] = jobs
    # The service answers no faster: give a scrape all the time there is.
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    config["alerting"]["alertmanagers"] = (
        [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
    )
    config["rule_files"] = config["rule_files"] if rules else []
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    for path in sorted((FOLDER / "rules").glob("*.yml")):
        text = clock.faster(path.read_text(encoding="utf-8"), by)
        (folder / "rules" / path.name).write_text(text, encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "prometheus.yml"


@contextmanager
def run_alertmanager(folder: Path, text: str) -> Iterator[str]:
    """Run Alertmanager with a configuration until the block ends; yields HOST:PORT. Skips without
    the binary or its templates."""
    program = require("alertmanager")
    if not TEMPLATE.is_file() and "mien" in Path(program).parts:
        pytest.skip(f"no {TEMPLATE}: run `{RECIPE}` as root")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(text, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={folder / 'alertmanager.yml'}", "--log.level=warn"]
    command += [f"--storage.path={folder / 'alerts'}", f"--web.listen-address={address}"]
    command += ["--cluster.listen-address="]  # alone, and so on no other port
    with _process(command, folder / "alertmanager.log") as process:
        _ready(f"http://{address}/-/ready", process, folder / "alertmanager.log")
        yield address


@contextmanager
def _process(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urlopen(url, timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False

    until(answers, lambda: log.read_text(encoding="utf-8"))
