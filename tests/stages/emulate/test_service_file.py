"""Promises of reading the file of a Cloud Run service."""

from pathlib import Path

import pytest
from project import ROOT

from mien.config import Settings
from mien.errors import ConfigError
from mien.stages.emulate import service_file
from mien.stages.emulate.instances import Limits
from mien.stages.emulate.service_file import DEFAULT, ServiceSettings

FILES = sorted((ROOT / "deploy" / "cloudrun").glob("*.yaml"))
FILE = """
spec:
  template:
    spec:
      containerConcurrency: 8
      containers:
        - image: IMAGE
          resources:
            limits: {cpu: %s, memory: %s}
          env:
            - {name: MIEN_GRACE_S, value: "0"}
"""


@pytest.mark.parametrize(
    ("cpu", "memory", "limits"),
    [("1", "1Gi", Limits(1.0, 1024)), ("500m", "512Mi", Limits(0.5, 512))],
)
def test_what_is_deployed_is_what_is_tried(
    tmp_path: Path, cpu: str, memory: str, limits: Limits
) -> None:
    """Limits in either unit, variables, and requests at once."""
    path = tmp_path / "service.yaml"
    path.write_text(FILE % (cpu, memory))
    assert service_file.read(path) == ServiceSettings(limits, {"MIEN_GRACE_S": "0"}, 8)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_files_of_the_project_can_be_tried(path: Path) -> None:
    """As they are deployed: no grace after SIGTERM, and no more requests at once than are taken."""
    settings = service_file.read(path)
    variables = Settings(**settings.environment)
    assert settings.limits == Limits(1.0, 1024)
    assert variables.grace_s == 0
    assert settings.concurrency <= variables.max_in_flight


def test_what_is_left_out_stays_at_the_default(tmp_path: Path) -> None:
    """One CPU, 1 GiB, no variables."""
    path = tmp_path / "service.yaml"
    path.write_text("spec: {template: {spec: {containers: [{image: x}]}}}")
    assert service_file.read(path) == DEFAULT


NO_LIMITS = "spec: {template: {spec: {containers: [{resources: }]}}}"


NO_CONTAINER = "spec: {template: {spec: {containers: []}}}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file or directory"),
        ("", "a file of another form"),
        ("a: [", "text that is not YAML"),
        ("spec: {template: {}}", "no key 'spec'"),
        (NO_CONTAINER, "no container"),
        (NO_LIMITS, "a file of another form"),
        (FILE % ("1", "5 GB"), "memory '5 GB'"),
    ],
)
def test_another_file_is_named(tmp_path: Path, text: str | None, reason: str) -> None:
    """Not half of it is used; the reason is words, not an exception of Python."""
    path = tmp_path / "service.yaml"
    if text is not None:
        path.write_text(text)
    expected = rf"service\.yaml: expected the Knative file of a service, found {reason}"
    with pytest.raises(ConfigError, match=expected):
        service_file.read(path)


def test_a_secret_that_is_not_here_is_named(tmp_path: Path) -> None:
    """With what to do: the emulation has no Secret Manager."""
    path = tmp_path / "service.yaml"
    secret = "{name: MIEN_API_KEYS, valueFrom: {secretKeyRef: {name: keys, key: latest}}}"
    path.write_text(FILE % ("1", "1Gi") + f"            - {secret}\n")
    with pytest.raises(ConfigError, match=r"MIEN_API_KEYS: expected a value.*--env"):
        service_file.read(path)
