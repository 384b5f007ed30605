"""Other models take the place of the present ones while a server runs."""

import json
import shutil
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from golden_bundle import falsify
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien.model import bundle
from mien.stages.serve import app as serve_app
from mien.stages.serve.reloader import ModelReloader
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
MakeBundle = Callable[..., bundle.Bundle]
Value = Callable[..., float | None]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let a server look now; by itself it does not, so that nothing depends on time."""
    made: list[ModelReloader] = []

    class Held(ModelReloader):
        def run(self, stop: threading.Event) -> None:
            made.append(self)
            ready.set()

    ready = threading.Event()
    monkeypatch.setattr(serve_app, "ModelReloader", Held)

    def now() -> None:
        assert ready.wait(PATIENCE)
        made[-1].poll()

    return now


def version(client: TestClient, picture: Draw, task: str = "shape") -> str:
    answer = client.post(f"/predict/{task}", files={"file": picture()})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


def model(client: TestClient, task: str = "shape") -> dict[str, Any]:
    found = client.get("/health").json()["models"]
    return next(each for each in found if each["task"] == task)


def test_a_new_champion_answers_without_a_restart(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    look: Callable[[], None],
    value: Value,
) -> None:
    """And back again; the other task's model stays as it is."""
    make_bundle(workspace.version("shape", 4), "shape", labels=("round", "square", "star"))
    with serving() as client:
        assert version(client, picture) == "3"
        for number in (4, 3, 4):
            workspace.write_aliases("shape", {"champion": number})
            look()
            assert version(client, picture) == str(number)
        assert version(client, picture, "colour") == "1"
        assert value(client, "mien_model_reloads_total", task="shape", result="loaded") == 3
        assert value(client, "mien_model_reloads_total", task="colour", result="loaded") == 0
        assert model(client)["reload_error"] is None
        assert 'mien_model_info{alias="champion"' in client.get("/metrics").text
        assert 'version="3"' not in [
            line for line in client.get("/metrics").text.splitlines() if "mien_model_info" in line
        ]


def test_a_folder_that_holds_another_bundle_is_taken(
    serving: Serving,
    make_bundle: MakeBundle,
    tmp_path: Path,
    picture: Draw,
    look: Callable[[], None],
) -> None:
    """Its digest is its version."""
    folder = tmp_path / "bundle"
    first = make_bundle(folder)
    with serving((), (folder,)) as client:
        assert version(client, picture) == first.digest[:12]
        shutil.rmtree(folder)
        second = make_bundle(folder, reference=None)
        look()
        assert version(client, picture) == second.digest[:12] != first.digest[:12]


def test_a_way_back_from_a_refused_model_is_no_fault_any_more(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    look: Callable[[], None],
) -> None:
    """The alias is back at what is served: /health reports nothing."""
    spoil(workspace.version("shape", 4), "cut off", make_bundle)
    with serving() as client:
        workspace.write_aliases("shape", {"champion": 4})
        look()
        assert model(client)["reload_error"]
        workspace.write_aliases("shape", {"champion": 3})
        look()
        assert model(client)["reload_error"] is None
        assert version(client, picture) == "3"


def test_what_was_only_touched_is_no_other_model(
    serving: Serving, workspace: Workspace, picture: Draw, look: Callable[[], None], value: Value
) -> None:
    """The same bytes, written again: nothing is loaded."""
    file = workspace.version("shape", 3) / "model.onnx"
    with serving() as client:
        before = client.app.state.service.inference.models.find("shape")  # type: ignore[attr-defined]
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        look()
        assert client.app.state.service.inference.models.find("shape") is before  # type: ignore[attr-defined]
        assert value(client, "mien_model_reloads_total", task="shape", result="loaded") == 0


def network(value: float, width: int = 3) -> bytes:
    """A real ONNX file that answers with so many of that number."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, width])
    fixed = numpy_helper.from_array(np.full((1, width), value, np.float32))
    node = helper.make_node("Constant", [], ["scores"], value=fixed)
    graph = helper.make_graph([node], "shape", [x], [scores])
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return made


def spoil(folder: Path, how: str, make: MakeBundle) -> None:
    """Put a bundle there that no server may serve."""
    networks = {
        "no number": network(float("nan")),
        "no share": network(7.0),
        "another shape": network(0.5, 5),
        "no model": b"no ONNX",
    }
    if how in networks:
        make(folder, "shape", network=networks[how])
    elif how in ("another task", "other labels"):
        changes = {"labels": ("a", "b", "c")} if how == "other labels" else {}
        make(folder, "colour" if how == "another task" else "shape", **changes)
    else:
        make(folder)
        SPOILT[how](folder)


def _rewrite(folder: Path, **changes: Any) -> None:
    path = folder / bundle.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


SPOILT: dict[str, Callable[[Path], object]] = {
    "altered": lambda folder: (folder / "model.onnx").write_bytes(b"another"),
    "cut off": lambda folder: (folder / "model.onnx").write_bytes(b""),
    "a file missing": lambda folder: (folder / "model.onnx").unlink(),
    "no list": lambda folder: (folder / bundle.MANIFEST).unlink(),
    "a list cut off": lambda folder: (folder / bundle.MANIFEST).write_text('{"format": 1'),
    "a pickle": lambda folder: (folder / "model.pkl").write_bytes(b"\x80\x04N."),
    "a file too many": lambda folder: (folder / "more.json").write_text("{}"),
    "a link": lambda folder: (folder / "more.json").symlink_to("/etc/hostname"),
    "a later format": lambda folder: _rewrite(folder, format=99),
    "other preprocessing": lambda folder: _rewrite(folder, preprocessing={"side": 3}),
}
PROBLEM_TYPES = (*SPOILT, "no number", "no share", "another shape", "no model", "another task")


@pytest.mark.parametrize("how", [*PROBLEM_TYPES, "other labels"])
def test_a_bundle_that_is_not_sound_is_refused(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    look: Callable[[], None],
    value: Value,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The old model stays, a metric and the log say so, /health says why but not where; once it
    is repaired, it is taken."""
    folder = workspace.version("shape", 4)
    spoil(folder, how, make_bundle)
    with serving() as client:
        workspace.write_aliases("shape", {"champion": 4})
        for _ in range(3):
            look()
        assert version(client, picture) == "3"
        assert value(client, "mien_model_reloads_total", task="shape", result="refused") == 1
        assert "shape stays at version 3" in caplog.text
        state = model(client)
        assert (state["state"], client.get("/readyz").status_code) == ("ready", 200)
        assert len(state["reload_error"]) > 10
        assert str(workspace.home) not in state["reload_error"]
        shutil.rmtree(folder)
        make_bundle(folder)
        look()
        assert version(client, picture) == "4"
        assert model(client)["reload_error"] is None


def test_a_workspace_that_is_away_changes_nothing(
    serving: Serving, workspace: Workspace, picture: Draw, look: Callable[[], None], value: Value
) -> None:
    """A disk that is gone, an alias that is gone, a file that cannot be read; and back."""
    with serving() as client:
        workspace.home.rename(workspace.home.with_name("away"))
        look()
        assert version(client, picture) == "3"
        workspace.home.with_name("away").rename(workspace.home)
        aliases = workspace.models("shape") / "aliases.json"
        for content in ("{}", "{", '{"champion": 77}'):
            aliases.write_text(content, encoding="utf-8")
            look()
            assert version(client, picture) == "3", content
        assert value(client, "mien_model_reloads_total", task="shape", result="refused") == 0


def test_a_model_that_could_not_be_loaded_is_taken_once_it_can(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    look: Callable[[], None],
) -> None:
    """The server was up all the time, for its other task."""
    folder = workspace.version("shape", 3)
    (folder / "model.onnx").write_bytes(b"")
    with serving() as client:
        assert client.post("/predict/shape", files={"file": picture()}).status_code == 503
        shutil.rmtree(folder)
        make_bundle(folder)
        look()
        assert version(client, picture) == "3"
        assert client.get("/health").status_code == 200


def test_a_question_that_is_being_answered_keeps_its_model(
    serving: Serving,
    workspace: Workspace,
    make_bundle: MakeBundle,
    picture: Draw,
    look: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The swap does not wait for it; afterwards nothing holds the old model any more."""
    make_bundle(workspace.version("shape", 4))
    begun, release, versions = threading.Event(), threading.Event(), []
    with serving() as client:
        old = client.app.state.service.inference.models.find("shape").model  # type: ignore[attr-defined]
        run = type(old).run

        def wait(self: Any, feeds: Any, *name: str) -> Any:
            if self.bundle.folder.name == "3":
                begun.set()
                assert release.wait(PATIENCE)
            return run(self, feeds, *name)

        monkeypatch.setattr(type(old), "run", wait)
        asking = threading.Thread(target=lambda: versions.append(version(client, picture)))
        asking.start()
        assert begun.wait(PATIENCE)
        workspace.write_aliases("shape", {"champion": 4})
        look()
        assert version(client, picture) == "4"
        release.set()
        asking.join(PATIENCE)
        assert versions == ["3"]
        gone = weakref.ref(old)
        del old

        def released() -> bool:
            version(client, picture)  # a thread lets go of a model with its next request
            return gone() is None

        until(released, "the old model is kept")


def test_a_server_looks_by_itself(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle, picture: Draw
) -> None:
    """Every so often, until it ends."""
    make_bundle(workspace.version("shape", 4))
    with serving(reload_interval_s=0.01) as client:
        workspace.write_aliases("shape", {"champion": 4})
        until(lambda: version(client, picture) == "4", "the new one is not served")


def test_a_model_that_answers_differently_does_not_take_over(
    serving: Serving, workspace: Workspace, make_bundle: MakeBundle, look: Callable[[], None]
) -> None:
    """A hot reload keeps the old model and says why."""
    falsify(make_bundle(workspace.version("shape", 4)).folder)
    with serving() as client:
        workspace.write_aliases("shape", {"champion": 4})
        look()
        line = model(client)
    assert (line["version"], line["state"]) == ("3", "ready")
    assert "answers its golden inputs differently on this machine" in line["reload_error"]
