"""An installation in which every check passes, and one way to break each of them."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from mien.config import Settings
from mien.model import bundle
from mien.stages.doctor.contract import Installation
from mien.storage.workspace import CHAMPION, Workspace

FILES = ("docker-compose.yml", "dockerfiles", "grafana", "prometheus", ".github")
INSPECTED = (
    '[{"Os": "linux", "Architecture": "amd64", "Config": {"Env": ["HOST=0.0.0.0"], '
    '"Entrypoint": null, "Cmd": ["mien", "serve"]}}]'
)
DOCKER = """#!/bin/sh
case "$*" in
  "version "*) echo 29.1.0;;
  "compose version") echo "Docker Compose version v5.0.0";;
  "image inspect "*) echo '{inspected}';;
  "history "*) echo 'COPY src src';;
  "run --rm --pull never "*) echo '["numpy"]';;
  *) echo "docker: unknown command: $*" >&2; exit 1;;
esac
"""
GCLOUD = """#!/bin/sh
case "$*" in
  "config list "*) echo '{"core": {"account": "me@example.org", "project": "mien-1"}}';;
  "services list "*) printf '%s.googleapis.com\\n' run artifactregistry iamcredentials;;
  "projects get-iam-policy mien-1 "*)
    echo '{"bindings": [{"role": "roles/owner", "members": ["user:me@example.org"]}]}';;
  *) echo "ERROR: (gcloud) unknown command: $*" >&2; exit 1;;
esac
"""
TABLES = """
create table model_versions (name text);
create table experiments (name text, artifact_location text, lifecycle_stage text);
insert into experiments values ('gesture', '{location}', 'active');
"""


@dataclass
class Case:
    """Folders of an installation, to break."""

    folder: Path
    patch: pytest.MonkeyPatch
    google: str

    def __post_init__(self) -> None:
        for path in (self.project, self.home, self.bin, self.root / "proc"):
            path.mkdir(parents=True)
        for name in FILES:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.project / name)
        lock = f"numpy=={version('numpy')} \\\n    --hash=sha256:0\nsetuptools==0.1 \\\n"
        for name in ("requirements.txt", "requirements_train.txt", "requirements_dev.txt"):
            (self.project / name).write_text(lock)
        (self.root / "proc" / "meminfo").write_text("MemAvailable:  8000000 kB\n")
        self.program("docker", DOCKER.replace("{inspected}", INSPECTED))
        self.program("gcloud", GCLOUD)
        self.patch.setenv("PATH", str(self.bin))
        for name in [name for name in os.environ if name.startswith("MIEN_") or name == "PORT"]:
            self.patch.delenv(name)
        self.make_database(self.home.resolve().as_uri() + "/mlruns/gesture")
        version_folder = Workspace(self.home).version("gesture", 1)
        version_folder.mkdir(parents=True)
        bundle.write(version_folder, bundle.describe("gesture", ("like",), "svm", {}))
        Workspace(self.home).write_aliases("gesture", {CHAMPION: 1})

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make_database(self, location: str) -> None:
        (self.home / "mlflow.db").unlink(missing_ok=True)
        with closing(sqlite3.connect(self.home / "mlflow.db")) as opened, opened:
            opened.executescript(TABLES.replace("{location}", location))

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file of the project; it must be there."""
        path = self.project / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} holds no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def installation(self, **changes: Any) -> Installation:
        fields: dict[str, Any] = {
            "project": self.project,
            "workspace": Workspace(self.home),
            "settings": Settings.model_construct(port=0),
            "target": "cloud-run",
            "image": "mien-api",
            "limit_s": 600.0,
            "root": self.root,
            "google": self.google,
            "python": (3, 11),
            "free_bytes": lambda folder: 10**11,
        }
        return Installation(**fields | changes)


Break = Callable[[Case], dict[str, Any]]
"""Breaks one thing; returns changed fields of the installation."""


def edited(name: str, old: str, new: str) -> Break:
    def apply(case: Case) -> dict[str, Any]:
        case.edit(name, old, new)
        return {}

    return apply


def changed(**changes: Any) -> Break:
    return lambda case: changes


def removed(*names: str) -> Break:
    def apply(case: Case) -> dict[str, Any]:
        for name in names:
            path = case.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return {}

    return apply


def written(name: str, text: str) -> Break:
    def apply(case: Case) -> dict[str, Any]:
        path = case.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return {}

    return apply


def program(name: str, old: str, new: str) -> Break:
    """A stand-in that answers something else."""

    def apply(case: Case) -> dict[str, Any]:
        text = (case.bin / name).read_text()
        assert old in text
        case.program(name, text.replace(old, new))
        return {}

    return apply


def below_a_file(case: Case) -> dict[str, Any]:
    (case.folder / "file").write_text("")
    return {"workspace": Workspace(case.folder / "file" / "home"), "target": "local"}


def log_below_a_file(case: Case) -> dict[str, Any]:
    (case.folder / "file").write_text("")
    log = case.folder / "file" / "predictions.db"
    return {"settings": Settings.model_construct(prediction_log=log)}


def from_the_future(case: Case) -> dict[str, Any]:
    path = case.project / "requirements.txt"
    later = path.stat().st_mtime + 86_400
    os.utime(path, (later, later))
    return {}


def cuda_in_a_container(case: Case) -> dict[str, Any]:
    folder = case.folder / "site" / "nvidia_cublas-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-cublas\nVersion: 1.0\n")
    (case.root / ".dockerenv").touch()
    case.patch.syspath_prepend(str(folder.parent))
    return {"image": None}


def artifacts_elsewhere(location: str) -> Break:
    def apply(case: Case) -> dict[str, Any]:
        case.make_database(location)
        return {}

    return apply


NO_DOCKER = removed("bin/docker")
API = "dockerfiles/api.Dockerfile"
SOURCE = "grafana/provisioning/datasources/prometheus.yml"
PROVIDER = "grafana/provisioning/dashboards/mien.yml"
WORKFLOW = "project/.github/workflows/mine.yml"

BROKEN: dict[str, list[tuple[Break, str]]] = {
    "python": [(changed(python=(3, 99)), "found 3.99"), (changed(python=(3, 9)), "found 3.9")],
    "packages": [
        (written("project/requirements.txt", "numpy==0.1 \\\n"), "expected 0.1"),
        (written("project/requirements.txt", "not-there==1.0 \\\n"), "not-there not installed"),
        (written("project/requirements_train.txt", "not-there==1.0 \\\n"), "cannot train"),
    ],
    "cuda_packages": [
        (program("docker", '["numpy"]', '["nvidia-cublas"]'), "holds 1 CUDA package"),
        (cuda_in_a_container, "CUDA packages in a container"),
    ],
    "disk": [
        (changed(free_bytes=lambda folder: 10**9), "1.0 GB free"),
        (changed(free_bytes=lambda folder: 10**8), "0.1 GB free"),
    ],
    "memory": [
        (written("root/proc/meminfo", "MemAvailable: 100000 kB\n"), "0.1 GB of memory"),
        (written("root/sys/fs/cgroup/memory.max", "134217728\n"), "0.13 GB of memory"),
    ],
    "clock": [(from_the_future, "the clock is slow")],
    "write_access": [(below_a_file, "cannot be written")],
    "read_only_disk": [
        (log_below_a_file, "a service cannot write there"),
        (edited("docker-compose.yml", 'tmpfs: ["/tmp:size=256m"]', "tmpfs: []"), "writes to /tmp"),
    ],
    "database": [
        (written("home/mlflow.db", "no database"), "file is not a database"),
        (lambda case: removed("home/mlflow.db")(case) | {"target": "local"}, "is missing"),
    ],
    "artifact_root": [
        (artifacts_elsewhere("file:///not/here"), "found no folder"),
        (artifacts_elsewhere("file:///old/mlruns/gesture"), "was moved"),
    ],
    "champions": [
        (written("home/models/gesture/versions/1/more.json", "{}"), "more.json is there but not"),
        (lambda case: removed("home")(case) | {"target": "compose"}, "no champion"),
    ],
    "docker": [
        (NO_DOCKER, "docker is not installed"),
        (program("docker", "echo 29.1.0", "echo no engine >&2; exit 1"), "no engine"),
    ],
    "compose": [(lambda case: NO_DOCKER(case) | {"target": "compose"}, "no Compose")],
    "grafana": [
        (removed("project/grafana/provisioning/datasources"), "expected a YAML file"),
        (edited(SOURCE, "http://prometheus:9090", "http://localhost:9090"), "URL of a service"),
        (edited(PROVIDER, "provisioning/dashboards", "provisioning/boards"), "folder of dashboard"),
        (edited("docker-compose.yml", "target: /etc/grafana/provisioning", "target: /etc"), "moun"),
        (lambda case: removed("project/docker-compose.yml")(case) | {"target": "compose"}, "no do"),
        (edited("docker-compose.yml", "services:", "service:"), "expected the services"),
    ],
    "prometheus": [
        (edited("prometheus/prometheus.yml", "api:8000", "api:8080"), "found api:8080"),
        (edited("prometheus/prometheus.yml", "rules/*.yml", "rule/*.yml"), "no file is rule/"),
        (written("project/prometheus/prometheus.yml", "a: [\n"), "not YAML"),
        (written("project/prometheus/prometheus.yml", "- a\n"), "expected keys with values"),
    ],
    "build_secrets": [
        (edited(API, "WORKDIR /source", "ARG API_TOKEN\nWORKDIR /source"), "API_TOKEN"),
        (edited(API, "HOST=0.0.0.0", "MIEN_API_KEYS=me:1"), "MIEN_API_KEYS has a value"),
        (
            edited("docker-compose.yml", "context: .", "context: .\n      args: [PASSWORD=1]"),
            "PASSWORD",
        ),
        (written(WORKFLOW, "run: docker build --build-arg A=${{ secrets.KEY }}"), "--build-arg A="),
        (program("docker", "COPY src src", "ARG PASSWORD=1"), "mien-api: build argument PASSWORD"),
    ],
    "port_variable": [
        (edited(API, '["mien", "serve"]', '["mien", "serve", "--port", "80"]'), "fixes the addr"),
        (edited(API, "HOST=0.0.0.0", "HOST=127.0.0.1"), "loopback alone"),
        (program("docker", "HOST=0.0.0.0", "HOST=::1"), "mien-api: expected HOST"),
    ],
    "image_architecture": [
        (program("docker", "amd64", "arm64"), "found linux/arm64"),
        (program("docker", '[{"Os"', '[{"OS"'), "expected its JSON"),
    ],
    "gcloud_login": [
        (program("gcloud", '"account": "me@example.org", ', ""), "no account"),
        (program("gcloud", ', "project": "mien-1"', ""), "no project"),
        (program("gcloud", '{"core"', "{core"), "expected JSON"),
        (removed("bin/gcloud"), "not installed"),
    ],
    "gcloud_apis": [
        (program("gcloud", "artifactregistry iam", "iam"), "artifactregistry.googleapis.com"),
        (program("gcloud", '"services list "*', "nothing"), "ended with 1: ERROR"),
        (changed(google="http://127.0.0.1:9"), "does not answer"),
    ],
    "gcloud_roles": [
        (program("gcloud", "roles/owner", "roles/viewer"), "roles/run.developer"),
        (program("gcloud", "user:me@", "user:you@"), "roles/run.developer"),
    ],
}
"""By slug of the check, each with a part of the text that the user reads."""
