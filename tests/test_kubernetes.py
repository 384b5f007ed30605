"""The manifests are what Kubernetes takes, and fit each other, the images and the settings."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import SchemaNotFoundError, ValidationError
from project import ROOT

from mien import config, tasks
from mien.config import Settings

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.31.0", "1.37.0")
"""The oldest that is checked and the newest whose form the validator has."""
CUSTOM = {"ServiceMonitor"}
"""Kinds of the Prometheus Operator, whose form the validator has not."""

Document = dict[str, Any]


def documents(name: str = "*") -> dict[str, Document]:
    """By kind; a file has one of each."""
    return {
        each["kind"]: each
        for path in sorted(FOLDER.glob(f"{name}.yaml"))
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    }


def pods() -> dict[str, Document]:
    """The specification of each pod, by file."""
    found = {}
    for path in FOLDER.glob("*.yaml"):
        for kind in ("Deployment", "Job"):
            if document := documents(path.stem).get(kind):
                found[path.stem] = document["spec"]["template"]["spec"]
    return found


def image_variables(name: str) -> dict[str, str]:
    text = (ROOT / "dockerfiles" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:ENV|   ) +(\w+)=(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_each_document(version: str) -> None:
    """Strictly: no unknown key. An unknown kind or version of one raises an error too."""
    checked = set()
    for path in FOLDER.glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] not in CUSTOM:
                kubernetes_validate.validate(document, version, strict=True)
                checked.add(document["kind"])
    assert checked == {
        "Deployment", "HorizontalPodAutoscaler", "Job", "NetworkPolicy", "PodDisruptionBudget",
        "Service",
    }  # fmt: skip
    wrong = documents("serving")["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(wrong, version, strict=True)
    with pytest.raises(SchemaNotFoundError):
        kubernetes_validate.validate({**wrong, "kind": "Deploymint"}, version, strict=True)


def test_no_pod_is_root_or_may_gain_rights() -> None:
    """As the images' user; the root file system is only read."""
    assert set(pods()) == {"batch", "serving", "training"}
    for name, pod in pods().items():
        assert not pod["automountServiceAccountToken"], name
        assert not pod["enableServiceLinks"], name  # a Service `mien` would set MIEN_PORT
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["limits"]["memory"], name
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, name
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name


def test_all_parts_of_the_service_mean_the_same_pods() -> None:
    """One label, one port."""
    serving = documents("serving")
    labels = serving["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert serving["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert serving["Service"]["spec"]["selector"] == labels
    assert serving["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert serving["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    scaled = serving["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == (
        "Deployment",
        serving["Deployment"]["metadata"]["name"],
    )
    assert "replicas" not in serving["Deployment"]["spec"], "each apply would undo the autoscaler"
    (container,) = pods()["serving"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) == image_variables("api.Dockerfile")["PORT"]
    (allowed,) = serving["NetworkPolicy"]["spec"]["ingress"][0]["ports"]
    assert allowed["port"] == port["containerPort"]
    (service_port,) = serving["Service"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    monitor = documents("service_monitor")["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"] == serving["Service"]["metadata"]["labels"]
    (endpoint,) = monitor["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (service_port["name"], "/metrics")


def test_the_service_may_end_its_requests() -> None:
    """Its settings are ones of mien, and the cluster kills it after the server's own limits."""
    pod = pods()["serving"]
    (container,) = pod["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    settings = Settings.model_validate(variables)
    assert {field.alias for field in Settings.model_fields.values()} >= variables.keys()
    assert settings.grace_s + settings.drain_s < pod["terminationGracePeriodSeconds"]
    assert settings.threads == int(container["resources"]["requests"]["cpu"])
    log_mb = settings.prediction_log_mb
    assert log_mb * 2 < int(pod["volumes"][0]["emptyDir"]["sizeLimit"].removesuffix("Mi"))
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness")}
    assert {probe["path"] for probe in probes.values()} == {"/readyz"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_the_training_is_one_that_mien_has() -> None:
    """Its arguments follow the entry point of the image, whose workspace is the mounted one."""
    (container,) = pods()["training"]["containers"]
    command, name = container["args"]
    assert command == "run"
    assert config.load(tasks.configs()[name]).task == "gesture"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert image_variables("train.Dockerfile")["MIEN_HOME"] in mounts
