"""An answer that a real server gave is traced to its origin, and asked for again."""

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import requests
from command_line import CommandLine
from onnx import TensorProto, helper, numpy_helper
from project import free_port
from served import Server
from waiting import PATIENCE

from mien import config, tasks
from mien.errors import BundleError, PredictionLogError, RequestError, UnknownPredictionError
from mien.model import bundle, golden
from mien.model.lineage import CodeState, Lineage
from mien.observability.prediction_log import reader
from mien.stages import replay
from mien.stages.serve import app as serve
from mien.storage.files import sha256_file
from mien.storage.versions import Item, Store
from mien.storage.workspace import CHAMPION, MANIFEST, Workspace
from mien.tasks.gesture.landmarks import NORMALIZATION_VERSION
from mien.tasks.gesture.params import HAGRID_LABELS, LIKE
from mien.tracking import BUNDLE_ARTIFACT

HAND = {"landmarks": [list(point) for point in LIKE]}
OTHER = {"landmarks": [[-x, y, z] for x, y, z in HAND["landmarks"]]}
CONFIG = {"task": "gesture", "seed": 7}


def network(seed: int) -> bytes:
    """Landmarks float32 [N, 63] -> 18 probabilities, by weights that were drawn."""
    weights = np.random.default_rng(seed).normal(size=(63, len(HAGRID_LABELS))).astype(np.float32)
    taken = helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["N", 63])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(HAGRID_LABELS)])
    nodes = [
        helper.make_node("MatMul", ["landmarks", "weights"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["scores"], axis=1),
    ]
    held = [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph(nodes, "hands", [taken], [scores], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def write(folder: Path, root: str, seed: int = 1) -> str:
    """A bundle of the gesture task; returns its digest."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(network(seed))
    origin = Lineage(
        code=CodeState(version="0.1.0", commit="abc", dirty=False),
        config=CONFIG,
        config_sha256=config.digest(CONFIG),
        data_fingerprint=root,
    )
    preprocessing = {"preprocessing_version": NORMALIZATION_VERSION}
    made = bundle.describe("gesture", HAGRID_LABELS, "drawn", preprocessing, lineage=origin)
    predict = tasks.load("gesture").inference.drawn_predictions()
    return golden.write(folder, made, predict).digest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with raw data, a champion trained on them, and the bundle that it came from."""
    workspace = Workspace(tmp_path / "home")
    content = b"rows"
    item = Item("rows.csv", sha256(content).hexdigest(), len(content), lambda: io.BytesIO(content))
    root = Store(workspace.raw("gesture")).add([item], "rows.csv").root
    write(workspace.evaluated("gesture") / "key" / "drawn", root)
    shutil.copytree(
        workspace.evaluated("gesture") / "key" / "drawn", workspace.version("gesture", 1)
    )
    workspace.write_aliases("gesture", {CHAMPION: 1})
    (tmp_path / "hand.json").write_text(json.dumps(HAND), encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps(OTHER), encoding="utf-8")
    return workspace.home


@contextmanager
def serving(home: Path) -> Iterator[str]:
    settings = config.settings().model_copy(update={"port": 0, "threads": 1})
    with serve.running(Workspace(home), ["gesture"], [], settings) as address:
        yield address


def ask(address: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        answer: dict[str, Any] = session.post(
            f"{address}/predict/gesture", json=HAND, timeout=PATIENCE
        ).json()
    return answer


def replayed(home: Path, trace_id: str, path: Path | None = None) -> replay.Replay:
    return replay.replay(trace_id, Workspace(home), home / "predictions.db", path)


def again(home: Path, trace_id: str, file: str | None = None) -> dict[str, Any]:
    path = home.parent / file if file else None
    return replayed(home, trace_id, path).as_json()


def test_an_answer_is_traced_to_model_data_config_and_code(home: Path) -> None:
    """Each of them by what tells it from every other one."""
    with serving(home) as address:
        answer = ask(address)
    found = again(home, answer["trace_id"])
    said = found["answer"]
    assert (said["label"], said["outcome"]) == (answer["gesture"], answer["outcome"])
    assert round(said["confidence"], 6) == answer["confidence"]
    folder = Workspace(home).version("gesture", 1)
    manifest = (folder / bundle.MANIFEST).read_bytes()
    assert found["model"] == {
        "task": "gesture",
        "version": "1",
        "candidate": "drawn",
        "digest": sha256(manifest).hexdigest(),
        "folder": str(folder),
    }
    assert (found["data"]["number"], found["data"]["source"]) == (1, "rows.csv")
    assert found["data"]["fingerprint"] == json.loads(manifest)["lineage"]["data_fingerprint"]
    assert (found["config"], found["config_sha256"]) == (CONFIG, config.digest(CONFIG))
    assert found["code"]["commit"] == "abc"
    assert (found["notes"], found["again"]) == ([], None)


def test_the_same_input_gives_the_same_answer(home: Path) -> None:
    """While the server runs, too, whose last answers are not in the file yet; another input is
    told as such, with both answers."""
    with serving(home) as address:
        answers = [ask(address) for _ in range(3)]
        last = answers[-1]["trace_id"]
        assert reader._find(home / "predictions.db", last) is None
        for answer in answers:
            same = again(home, answer["trace_id"], "hand.json")["again"]
            assert (same["same"], same["label"]) == (True, answer["gesture"])
            assert abs(same["confidence"] - answer["confidence"]) <= replay.TOLERANCE
            assert same["other"] == []
        other = again(home, answers[0]["trace_id"], "other.json")
        assert other["again"]["same"] is False
        path = home.parent / "other.json"
        result = "\n".join(replayed(home, answers[0]["trace_id"], path).lines())
        assert "NOT the same" in result
        for each in (other["answer"], other["again"]):
            assert f"{each['label']} {each['confidence']:.6f} ({each['outcome']})" in result


def test_an_answer_of_a_killed_server_is_found(home: Path, command_line: CommandLine) -> None:
    """By the command, which ends with 1 where the answer is another one."""
    server = Server(home, home, ("gesture",), free_port())
    try:
        server.start()
        trace_id = ask(server.address)["trace_id"]
    finally:
        server.kill()
    same = command_line("replay", trace_id, "--input", str(home.parent / "hand.json"), home=home)
    assert same.returncode == 0, same.stderr
    assert "the same (confidence within 2e-06)" in same.stdout
    command = ("replay", trace_id, "--json", "--input", str(home.parent / "other.json"))
    other = command_line(*command, home=home)
    assert other.returncode == 1
    assert json.loads(other.stdout)["again"]["same"] is False


def test_confidence_is_compared_as_exactly_as_it_was_told(home: Path) -> None:
    """Six decimals, of which the last may differ; a hair more is another answer."""
    with serving(home) as address:
        trace_id = ask(address)["trace_id"]
    confidence = again(home, trace_id)["answer"]["confidence"]
    for shift, same in ((0.0, True), (1.5e-6, True), (-1.5e-6, True), (4e-6, False)):
        with sqlite3.connect(home / "predictions.db") as prediction_log:
            prediction_log.execute("update predictions set confidence = ?", [confidence + shift])
        prediction_log.close()
        assert again(home, trace_id, "hand.json")["again"]["same"] is same, shift


def test_a_version_that_was_replaced_is_told(home: Path) -> None:
    """The very bundle is taken from where it still lies; where it is gone, the recorded
    answer is shown."""
    with serving(home) as address:
        answer = ask(address)
    workspace = Workspace(home)
    shutil.rmtree(workspace.version("gesture", 1))
    write(workspace.version("gesture", 1), "other", seed=2)
    found = again(home, answer["trace_id"], "hand.json")
    assert found["model"]["folder"] == str(workspace.evaluated("gesture") / "key" / "drawn")
    assert found["again"]["same"] is True
    replaced, elsewhere = found["notes"]
    assert "holds another bundle now" in replaced
    assert "evaluated" in elsewhere
    measured = home / "mlruns" / "gesture" / "run" / "artifacts" / BUNDLE_ARTIFACT
    measured.parent.mkdir(parents=True)
    shutil.move(workspace.evaluated("gesture") / "key" / "drawn", measured)
    assert again(home, answer["trace_id"])["model"]["folder"] == str(measured)
    away = home.parent / "away"
    shutil.move(measured, away)
    with pytest.raises(BundleError, match=rf"another bundle now.*It said {answer['gesture']}"):
        again(home, answer["trace_id"])
    named = replay.replay(answer["trace_id"], workspace, home / "predictions.db", None, away)
    assert named.model.folder == str(away)


def test_a_training_leaves_a_bundle_where_replay_looks(small_gesture: Workspace) -> None:
    """Among the artifacts of MLflow's run, as it was measured."""
    champion = sha256_file(small_gesture.version("gesture", 1) / MANIFEST)
    runs = small_gesture.home / "mlruns" / "gesture"
    manifests = runs.glob(f"*/artifacts/{BUNDLE_ARTIFACT}/{MANIFEST}")
    assert champion in [sha256_file(each) for each in manifests]


def test_data_that_are_gone_are_named_by_their_fingerprint(home: Path) -> None:
    """The store may have been cleared since."""
    with serving(home) as address:
        trace_id = ask(address)["trace_id"]
    shutil.rmtree(Workspace(home).raw("gesture"))
    found = replayed(home, trace_id)
    assert found.data.number is None
    assert any("no version of this workspace" in line for line in found.lines())


def test_a_public_model_has_no_config(home: Path) -> None:
    """mien did not train it: the line says so instead of None."""
    with serving(home) as address:
        trace_id = ask(address)["trace_id"]
    pulled = replace(replayed(home, trace_id), config={}, config_sha256=None)
    (line,) = (line for line in pulled.lines() if line.startswith("config"))
    assert line == "config  none: a public model that mien did not train"


def test_what_cannot_be_replayed_says_why(home: Path) -> None:
    """No file, no such prediction, a file of another kind, an input that is none."""
    with pytest.raises(PredictionLogError, match=r"found no file.*MIEN_PREDICTION_LOG"):
        again(home, "0" * 32)
    with serving(home) as address:
        trace_id = ask(address)["trace_id"]
    with pytest.raises(
        UnknownPredictionError, match=r"no prediction .0000.*MIEN_PREDICTION_LOG_DAYS"
    ):
        again(home, "0" * 32)
    with pytest.raises(RequestError, match=r"absent.json cannot be read"):
        again(home, trace_id, "absent.json")
    (home.parent / "torn.json").write_text("{")
    with pytest.raises(RequestError, match="not readable JSON"):
        again(home, trace_id, "torn.json")
    (home / "predictions.db").write_bytes(b"something else, long enough to be looked at" * 40)
    with pytest.raises(PredictionLogError, match="is not a readable prediction log"):
        again(home, trace_id)


@pytest.mark.long
def test_a_picture_is_answered_again(small_models: Workspace, tmp_path: Path) -> None:
    """By the champion that was trained for it, file in and file out."""
    home = tmp_path / "home"
    shutil.copytree(small_models.home, home)
    for name in tasks.names():
        path = tmp_path / f"{name}.png"
        tasks.load(name).inference.sample_picture().convert("RGB").save(path)
        settings = config.settings().model_copy(update={"port": 0})
        with serve.running(Workspace(home), [name], [], settings) as address:
            url = f"{address}/predict/{name}"
            with requests.Session() as session, path.open("rb") as stream:
                session.trust_env = False
                answer = session.post(url, files={"file": stream}, timeout=PATIENCE).json()
        found = replay.replay(answer["trace_id"], Workspace(home), home / "predictions.db", path)
        assert found.again is not None
        assert found.again.same is True, found.again
        assert found.again.other == []
        assert found.data.number == 1
