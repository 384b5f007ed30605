"""Two made-up tasks, tiny real bundles for them, and clients of a running service."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from mien import bundle, tasks
from mien.bundle import Bundle
from mien.config import Settings
from mien.stages.serve import app as serve_app
from mien.stages.serve import models
from mien.workspace import Workspace

FOLDER = Path(__file__).parent / "folder"

MakeBundle = Callable[..., Bundle]
Serving = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(autouse=True)
def only_made_up_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `mien.tasks` find the made-up tasks and no other."""
    monkeypatch.setattr(tasks, "__path__", [str(FOLDER)])


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real ONNX file: softmax of ten times three numbers."""
    from onnx import TensorProto, checker, helper

    ten = helper.make_tensor("ten", TensorProto.FLOAT, [1], [10.0])
    nodes = [
        helper.make_node("Mul", ["x", "ten"], ["tenfold"]),
        helper.make_node("Softmax", ["tenfold"], ["scores"], axis=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "shape", [x], [scores], [ten])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture
def make_bundle(network: bytes) -> MakeBundle:
    """Write a bundle; keywords replace what is in its manifest."""

    def make(folder: Path, task: str = "shape", **changes: Any) -> Bundle:
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(changes.pop("network", network))
        labels = changes.pop("labels", ("round", "square", "star"))
        manifest = bundle.describe(task, labels, "only", {}, metrics={}, lineage={})
        return bundle.write(folder, manifest)

    return make


@pytest.fixture
def workspace(tmp_path: Path, make_bundle: MakeBundle) -> Workspace:
    """A workspace with a champion for each of the two tasks."""
    made = Workspace(tmp_path / "home")
    for task, version in (("shape", 3), ("colour", 1)):
        make_bundle(made.version(task, version), task)
        made.write_aliases(task, {"champion": version})
    return made


@pytest.fixture
def serving(workspace: Workspace) -> Serving:
    """Start a service; the block begins when loading is over."""

    @contextmanager
    def start(
        names: tuple[str, ...] = ("shape", "colour"),
        folders: tuple[Path, ...] = (),
        **settings: Any,
    ) -> Iterator[TestClient]:
        import threading

        loaded = threading.Event()
        made = serve_app.create(
            models.choose(workspace, names, folders),
            Settings().model_copy(update={"threads": 2, **settings}),
            lambda _: loaded.set(),
        )
        with TestClient(made) as client:
            assert loaded.wait(30)
            yield client

    return start


@pytest.fixture
def client(serving: Serving) -> Iterator[TestClient]:
    """A service of both tasks, `shape` first."""
    with serving() as started:
        yield started


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Draw a picture of one colour."""

    def draw(
        colour: tuple[int, int, int] = (20, 40, 200), size: tuple[int, int] = (40, 30)
    ) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, "PNG")
        return file.getvalue()

    return draw
