"""The service files are what Cloud Run takes, and what the server promises under its limits."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from mien.config import Settings
from mien.errors import ConfigError
from mien.stages.deploy import service_file

FOLDER = ROOT / "deploy" / "cloudrun"
FILES = sorted(FOLDER.glob("*.yaml"))
SIGTERM_BUDGET_S = 10
"""Cloud Run kills a container that has not ended by then."""
REQUEST_CAP_MB = 32 * 2**20 / 1e6
MAX_STARTUP_S = 240


def schemas() -> dict[str, Any]:
    """The form of Cloud Run's documents, as Google's client library has it."""
    document = files("googleapiclient") / "discovery_cache" / "documents" / "run.v1.json"
    found: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))["schemas"]
    return found


def faults(value: Any, schema: dict[str, Any], known: dict[str, Any], place: str = "") -> list[str]:
    """Unknown keys, and values of another type than the schema has."""
    schema = known[schema["$ref"]] if "$ref" in schema else schema
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if not isinstance(value, types[schema["type"]]):
        return [f"{place}: expected {schema['type']}, found {value!r}"]
    if isinstance(value, list):
        pairs = [(f"{place}[{n}]", each, schema["items"]) for n, each in enumerate(value)]
    elif isinstance(value, dict) and "properties" in schema:
        if unknown := value.keys() - schema["properties"].keys():
            return [f"{place}: unknown {', '.join(sorted(unknown))}"]
        pairs = [(f"{place}.{k}", each, schema["properties"][k]) for k, each in value.items()]
    elif isinstance(value, dict):
        pairs = [
            (f"{place}.{k}", each, schema["additionalProperties"]) for k, each in value.items()
        ]
    else:
        pairs = []
    return [fault for where, each, one in pairs for fault in faults(each, one, known, where)]


def service(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def container(path: Path) -> dict[str, Any]:
    """The container of mien."""
    first: dict[str, Any] = service(path)["spec"]["template"]["spec"]["containers"][0]
    return first


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_each_key_is_one_of_cloud_run(file: Path) -> None:
    """By the schema of the API, and annotations by its list of those that are accepted."""
    known, document = schemas(), service(file)
    assert faults(document, known["Service"], known) == []
    listed = known["ObjectMeta"]["properties"]["annotations"]["description"]
    template = document["spec"]["template"]
    for scope, metadata in (("Service", document["metadata"]), ("Revision", template["metadata"])):
        for name in metadata["annotations"]:
            scopes = listed.partition(f"`{name}`: ")[2].partition(" * ")[0]
            assert scope in scopes, f"{name} is none of a {scope}"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"concurrency": 16}, ".spec.template.spec: unknown concurrency"),
        ({"timeoutSeconds": "60"}, ".timeoutSeconds: expected integer, found '60'"),
        ({"containers": [{"readinesProbe": {}}]}, ".containers[0]: unknown readinesProbe"),
    ],
)
def test_a_misspelled_key_is_noticed(change: dict[str, Any], fault: str) -> None:
    """The check can fail: on names that are nearly right."""
    document, known = service(FILES[0]), schemas()
    document["spec"]["template"]["spec"] |= change
    (found,) = faults(document, known["Service"], known)
    assert found.endswith(fault)


def test_the_server_keeps_the_promises_of_the_file(file: Path) -> None:
    """Requests wait in the queue and not at 503; SIGTERM ends within the budget of Cloud Run."""
    known = {str(field.alias) for field in Settings.model_fields.values()}
    variables = {each["name"]: each["value"] for each in container(file)["env"]}
    assert variables.keys() - known == set()
    settings = Settings.model_validate(variables)
    spec = service(file)["spec"]["template"]["spec"]
    assert spec["containerConcurrency"] <= settings.max_in_flight
    assert settings.grace_s + settings.drain_s < SIGTERM_BUDGET_S
    assert settings.max_upload_mb <= REQUEST_CAP_MB
    assert settings.deadline_s + settings.body_timeout_s <= spec["timeoutSeconds"]
    assert container(file)["ports"][0]["containerPort"] == 8080


def test_the_probes_ask_addresses_of_the_server(file: Path) -> None:
    """Readiness starts an instance, liveness restarts it; /healthz is Google's own."""
    probes = {each: container(file)[each] for each in ("startupProbe", "livenessProbe")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startupProbe": "/readyz", "livenessProbe": "/livez"}
    start = probes["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] <= MAX_STARTUP_S
    assert all(each["timeoutSeconds"] <= each["periodSeconds"] for each in probes.values())


def test_the_file_with_metrics_differs_by_the_sidecar() -> None:
    """The collector waits for mien, and its CPU is there between two requests."""
    plain, metrics = (service(FOLDER / f"service{end}.yaml") for end in ("", "_with_metrics"))
    template = metrics["spec"]["template"]
    collector = template["spec"]["containers"].pop()
    annotations = template["metadata"]["annotations"]
    order = json.loads(annotations.pop("run.googleapis.com/container-dependencies"))
    assert order == {collector["name"]: [container(FOLDER / "service.yaml")["name"]]}
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"
    annotations["run.googleapis.com/cpu-throttling"] = "true"
    assert metrics == plain


@pytest.mark.parametrize(
    ("text", "reason"),
    [("spec: {}", "found another form"), ("{", "expected the settings of the service"), (None, "")],
    ids=["another form", "no YAML", "no file"],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, reason: str) -> None:
    """Before anything is sent."""
    path = tmp_path / "own.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=f"own.yaml: .*{reason}"):
        service_file.render(path, "mien", "image", "mien-1", "project", [])
