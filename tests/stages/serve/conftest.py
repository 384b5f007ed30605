"""Two made-up tasks, tiny real bundles for them, and clients of a running service."""

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import Forked
from golden_bundle import golden_bundle, softmax_network
from measured import candidate, scores
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from waiting import PATIENCE, until

from mien import tasks
from mien.config import Settings
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.model.evaluation import BundleMetrics, Measurements
from mien.model.lineage import Lineage
from mien.observability import drift
from mien.observability.drift import DriftRow
from mien.stages.serve import app as serve_app
from mien.stages.serve import models
from mien.storage.workspace import Workspace

FOLDER = Path(__file__).parent / "folder"
LABELS = ("round", "square", "star")
TRAINING = {
    "examples": {
        split: dict.fromkeys(LABELS, count) for split, count in (("train", 90), ("val", 30))
    },
    "completeness": {"blurred": 0.95, "duplicates": 1.0},
}
_ROWS = tuple(
    candidate(name, val=scores(0.9, 90, accuracy=0.91), test=scores(0.89, accuracy=0.9))
    for name in ("only", "other")
)
METRICS = BundleMetrics(
    **{name: getattr(_ROWS[0], name) for name in Measurements.model_fields}, leaderboard=_ROWS
)

MakeBundle = Callable[..., Bundle]
Serving = Callable[..., AbstractContextManager[TestClient]]
Series = Callable[[str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]
Value = Callable[..., float | None]


@pytest.fixture(autouse=True)
def only_made_up_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `mien.tasks` find the made-up tasks and no other."""
    monkeypatch.setattr(tasks, "__path__", [str(FOLDER)])


@pytest.fixture(scope="session")
def network() -> bytes:
    """A real ONNX file."""
    return softmax_network()


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """What evaluation leaves beside a model: of 600 made-up answers, none of them dark."""
    chance = np.random.default_rng(4)
    rows = [
        DriftRow(str(label), confidence, {"brightness": brightness})
        for label, confidence, brightness in zip(
            chance.choice(LABELS, 600, p=(0.5, 0.3, 0.2)),
            chance.uniform(0.6, 1.0, 600).tolist(),
            chance.uniform(0.3, 0.9, 600).tolist(),
            strict=True,
        )
    ]
    return {**drift.make_reference(rows, LABELS), "training": TRAINING}


@pytest.fixture
def make_bundle(network: bytes, reference: dict[str, Any]) -> MakeBundle:
    """Write a bundle; keywords replace what is in its manifest, and its reference."""

    def make(folder: Path, task: str = "shape", **changes: Any) -> Bundle:
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(changes.pop("network", network))
        if known := changes.pop("reference", reference):
            (folder / "reference.json").write_text(json.dumps(known), encoding="utf-8")
        labels = changes.pop("labels", LABELS)
        origin = Lineage(trained_at="2026-01-02T03:04:05+00:00")
        manifest = bundle.describe(
            *(task, labels, "only", changes.pop("preprocessing", {})),
            decision=changes.pop("decision", None),
            metrics=METRICS,
            lineage=origin,
        )
        return golden_bundle(folder, manifest)

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
        loaded = threading.Event()
        made = serve_app.create(
            workspace,
            models.resolve_sources(workspace, names, folders),
            Settings().model_copy(update={"threads": 2, **settings}),
            lambda _: loaded.set(),
        )
        with TestClient(made) as client:
            assert loaded.wait(PATIENCE)
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


@pytest.fixture
def series() -> Series:
    """Read a page of metrics: every series of mien, as its name and labels, with its value."""

    def read(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name.startswith("mien_")
        }

    return read


@pytest.fixture
def value(series: Series) -> Value:
    """Ask a service for the value of one series; None where there is none."""

    def ask(client: Any, metric: str, **labels: str) -> float | None:
        return series(client.get("/metrics").text).get((metric, tuple(sorted(labels.items()))))

    return ask


_SCRIPT = """
import logging, os, resource, signal, sys
from pathlib import Path

from mien import config, tasks
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace
tasks.__path__ = [sys.argv[1]]
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
if "LARGEST_FILE" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LARGEST_FILE"]),) * 2)
serve.run(Workspace(Path(sys.argv[2])), [], [], config.settings())
"""


@dataclass
class Server:
    """A server in a process of its own; `address` is what its first line ends with."""

    process: Forked
    log: Path
    address: str = ""

    @property
    def lines(self) -> list[str]:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8").splitlines(keepends=True)

    def started(self) -> str:
        """The end of its first line; "" before."""
        ended, lines = self.process.poll(), self.lines
        assert ended is None or lines, f"it ended with {ended}, and logged nothing"
        return lines[0].split()[-1] if lines and lines[0].endswith("\n") else ""


@pytest.fixture
def server_process(
    workspace: Workspace, tmp_path: Path
) -> Callable[..., AbstractContextManager[Server]]:
    """Start a real server process; keywords are its environment. It is killed at the end."""
    numbers = count()

    @contextmanager
    def start(**environment: str) -> Iterator[Server]:
        surroundings = {**os.environ, "HOST": "127.0.0.1", "PORT": "0", "MIEN_THREADS": "1"}
        log = tmp_path / f"server_{next(numbers)}.log"
        arguments = [str(FOLDER), str(workspace.home)]
        log.touch()
        process = Forked(_SCRIPT, arguments, surroundings | environment, log)
        server = Server(process, log)
        try:
            server.address = until(server.started)
            yield server
        finally:
            process.kill()
            process.wait()

    return start
