"""Which bundles are served, and what becomes of those that cannot be."""

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_bundle import falsify
from PIL import Image
from starlette.testclient import TestClient
from waiting import PATIENCE

from mien import tasks
from mien.config import Settings
from mien.errors import ConfigError, RegistryError, UnknownTaskError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.stages.serve import app as serve_app
from mien.stages.serve import models
from mien.stages.serve.models import BundleSource, InvalidBundle
from mien.storage.workspace import Workspace
from mien.task import Prediction

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
MakeBundle = Callable[..., Bundle]


def test_without_a_word_every_champion_is_served(workspace: Workspace) -> None:
    """In order of the alphabet, with the version that the alias names."""
    wanted = models.resolve_sources(workspace, [], [])
    assert [
        (item.task.name, item.version) for item in wanted if isinstance(item, BundleSource)
    ] == [
        ("colour", "1"),
        ("shape", "3"),
    ]


def test_a_task_without_champion_is_left_out_unless_asked_for(workspace: Workspace) -> None:
    """Asked for, the error says how to get one."""
    workspace.write_aliases("colour", {"challenger": 1})
    (wanted,) = models.resolve_sources(workspace, [], [])
    assert isinstance(wanted, BundleSource)
    assert wanted.task.name == "shape"
    with pytest.raises(RegistryError, match=r"'colour' has no champion .*mien run"):
        models.resolve_sources(workspace, ["colour"], [])


def test_an_empty_workspace_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """There is nothing to serve, and the two ways out are named."""
    with pytest.raises(RegistryError, match=r"mien run.*--bundle"):
        models.resolve_sources(Workspace(tmp_path), [], [])


def test_an_unknown_task_is_an_error(workspace: Workspace) -> None:
    """At the command line the name may be repeated, and the nearest one is suggested."""
    with pytest.raises(UnknownTaskError, match="Did you mean 'shape'"):
        models.resolve_sources(workspace, ["shap"], [])


def test_one_task_is_served_once(workspace: Workspace) -> None:
    """A champion and a bundle of the same task cannot both have its address."""
    with pytest.raises(ConfigError, match="shape: expected one model for each task, found two"):
        models.resolve_sources(workspace, ["shape"], [workspace.version("shape", 3)])


def test_a_bundle_s_version_is_its_digest(
    serving: Serving, tmp_path: Path, make_bundle: MakeBundle, picture: Draw
) -> None:
    """A folder has no number; its first 12 digits name it."""
    made = make_bundle(tmp_path / "by-hand")
    with serving((), (made.folder,)) as client:
        answer = client.post("/predict", files={"file": picture()}).json()
    assert answer["model"] == {"name": "mien-shape", "version": made.digest[:12]}


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "altered": (
        lambda folder: (folder / "model.onnx").write_bytes(b"x"),
        "model.onnx differs from its checksum",
    ),
    "missing": (lambda folder: (folder / "model.onnx").unlink(), "is listed but missing"),
    "added": (lambda folder: (folder / "more.json").write_bytes(b""), "is there but not listed"),
    "no manifest": (lambda folder: (folder / "bundle.json").unlink(), "has no bundle.json"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_champion_is_told_and_the_others_are_served(
    serving: Serving, workspace: Workspace, picture: Draw, damage: str
) -> None:
    """/health is 503 with the reason, /readyz stays 200, the other task answers."""
    harm, words = DAMAGES[damage]
    harm(workspace.version("shape", 3))
    with serving() as client:
        health, ready = client.get("/health"), client.get("/readyz")
        answer = client.post("/predict/colour", files={"file": picture()})
    assert health.status_code == 503
    assert words in health.json()["detail"]
    assert [model["state"] for model in health.json()["models"]] == ["failed", "ready"]
    assert (ready.status_code, ready.json()["tasks"]) == (200, ["colour"])
    assert answer.status_code == 200


def test_a_server_without_any_model_is_alive_and_not_ready(
    serving: Serving, workspace: Workspace
) -> None:
    """So that an orchestrator sends it nothing, and a person can read why."""
    (workspace.version("shape", 3) / "model.onnx").write_bytes(b"")
    with serving(("shape",)) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert "differs from its checksum" in client.get("/health").json()["detail"]
        assert "mien_model_loaded" in client.get("/metrics").text


def test_a_folder_that_is_no_bundle_is_told(serving: Serving, tmp_path: Path) -> None:
    """Its task cannot be known, so it is named by the folder."""
    folder = tmp_path / "nothing"
    assert isinstance(models.resolve_sources(Workspace(tmp_path), [], [folder])[0], InvalidBundle)
    with serving(("shape",), (folder,)) as client:
        health = client.get("/health")
        assert client.get("/predict").status_code == 405
    assert health.status_code == 503
    assert health.json()["detail"].startswith("nothing: ")
    assert [model["state"] for model in health.json()["models"]] == ["ready", "failed"]


def test_a_server_of_broken_folders_only_has_no_default_task(
    serving: Serving, tmp_path: Path, picture: Draw
) -> None:
    """POST /predict answers then, as for any task, that nothing is served."""
    with serving((), (tmp_path / "nothing",)) as client:
        assert client.post("/predict/shape", files={"file": picture()}).status_code == 404
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/").status_code == 200


def test_a_bundle_of_other_labels_is_refused(
    serving: Serving, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    """The order counts too: scores would be read under the wrong names."""
    made = make_bundle(tmp_path / "old", labels=("square", "round", "star"))
    with serving((), (made.folder,)) as client:
        assert "expected the labels square, round, star of the bundle" in client.get("/health").text


def test_a_bundle_in_another_task_s_place_is_refused(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle
) -> None:
    """A version folder of one task that holds the model of another."""
    make_bundle(workspace.version("shape", 9), "colour")
    workspace.write_aliases("shape", {"champion": 9})
    with serving(("shape",)) as client:
        assert "found one of 'colour'" in client.get("/health").text


def test_a_network_that_does_not_open_is_told(
    serving: Serving, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    """The checksums are right; ONNX Runtime's first line is the reason."""
    made = make_bundle(tmp_path / "odd", network=b"no network")
    with serving((), (made.folder,)) as client:
        assert "cannot be opened by ONNX Runtime" in client.get("/health").text


def test_a_warm_up_that_crashes_is_told_without_its_words(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason points to the log, which has the traceback."""

    def crash(*_: object) -> Prediction:
        raise ZeroDivisionError("a secret of the server")

    shape = tasks.load("shape")
    broken = replace(shape, inference=replace(shape.inference, detect_many=crash))
    monkeypatch.setattr(sys.modules["mien.tasks.shape"], "TASK", broken)
    with serving(("shape",)) as client:
        health = client.get("/health")
    assert "the warm-up failed" in health.json()["detail"]
    assert "secret" not in health.text
    assert "a secret of the server" in caplog.text


@pytest.mark.parametrize(("name", "state"), [("shape", "ready"), ("colour", "failed")])
def test_a_model_that_refuses_pictures_is_served_if_its_task_takes_json(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, name: str, state: str
) -> None:
    """`shape` takes JSON and stays of use; `colour` does not, and would answer nothing."""
    task = tasks.load(name)
    inference = replace(
        task.inference, sample_picture=lambda: Image.new("RGB", (9, 9), (0, 255, 0))
    )
    green = replace(task, inference=inference)
    monkeypatch.setattr(sys.modules[f"mien.tasks.{name}"], "TASK", green)
    with serving((name,)) as client:
        assert client.get("/health").json()["models"][0]["state"] == state


def test_every_thread_answers_a_warm_up(workspace: Workspace) -> None:
    """What a thread keeps for itself is made before its first request."""
    from mien.stages.serve.workers import WorkerPool

    seen: list[int] = []
    workers = WorkerPool(5, 1)
    workers.run_on_all_threads(lambda: seen.append(threading.get_ident()))
    workers.run_on_all_threads(lambda: seen.append(threading.get_ident()))
    workers.close()
    assert len(seen) == 10
    assert len(set(seen)) == 5


def test_while_models_are_being_loaded_the_server_lives(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, picture: Draw
) -> None:
    """/livez is 200, the rest 503 with the reason, until the warm-up is over."""
    go, loaded = threading.Event(), threading.Event()
    task = tasks.load("shape")

    def slow() -> Image.Image:
        assert go.wait(PATIENCE)
        return task.inference.sample_picture()

    wanted = BundleSource(
        replace(task, inference=replace(task.inference, sample_picture=slow)),
        workspace.version("shape", 3),
        "3",
    )
    app = serve_app.create(workspace, [wanted], Settings(MIEN_THREADS=1), lambda _: loaded.set())
    with TestClient(app) as client:
        before = {path: client.get(path) for path in ("/livez", "/readyz", "/health")}
        asked = client.post("/predict", files={"file": picture()})
        go.set()
        assert loaded.wait(PATIENCE)
        after = {path: client.get(path).status_code for path in ("/livez", "/readyz", "/health")}
    assert {path: response.status_code for path, response in before.items()} == {
        "/livez": 200,
        "/readyz": 503,
        "/health": 503,
    }
    assert before["/health"].json()["detail"] == "shape: loading"
    assert (asked.status_code, asked.json()["type"]) == (503, "/errors/not-ready")
    assert set(after.values()) == {200}


def test_a_bundle_that_answers_differently_is_not_served(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle
) -> None:
    """/health says so with the reason; what answers as recorded shows its golden check."""
    other = make_bundle(workspace.home / "other")
    falsify(other.folder)
    with serving(("colour",), (other.folder,)) as client:
        report = client.get("/health").json()
    colour, shape = report["models"]
    assert colour["golden"] == {"checked": 1, "max_difference": 0.0}
    assert (shape["state"], shape["golden"]) == ("failed", None)
    assert "answers its golden inputs differently on this machine" in shape["reason"]
    assert "at most 0.001 (float32)" in shape["reason"]


@pytest.mark.parametrize("trained_on", ["synthetic", "real", "pretrained", None])
def test_clients_see_what_a_model_was_trained_on(
    serving: Serving, workspace: Workspace, trained_on: Any
) -> None:
    """In the health report and in the OpenAPI document; a bundle need not say."""
    folder = workspace.version("shape", 3)
    manifest = bundle.read(folder).manifest
    lineage = manifest.lineage.model_copy(update={"trained_on": trained_on})
    bundle.write(folder, manifest.model_copy(update={"lineage": lineage}))
    with serving(("shape",)) as client:
        assert client.get("/health").json()["models"][0]["trained_on"] == trained_on
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["ShapePrediction"]["description"] == f"trained_on: {trained_on or 'unknown'}"
