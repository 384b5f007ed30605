"""What is lost when the champion changes while a server answers: nothing, whatever takes its place.

Real server processes, which look for another model every twentieth of a second.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from mien.model import bundle
from mien.model.bundle import Bundle
from mien.model.lineage import Lineage
from mien.storage.files import atomic_dir, sha256_file
from mien.storage.workspace import Workspace

from .load import POINT, Load, get, post
from .server_process import FOLDER, Server, serve

MakeBundle = Callable[..., Bundle]
Rewrite = Callable[[Path, dict[str, Any]], None]
QUESTION = post("/predict/shape", POINT)
OTHER = post("/predict/colour", b"{}")
SWAPS = 100
MEGABYTES = 4
"""Of weights in each model, so that one that is not released is seen in the server's memory."""


@contextmanager
def watching(workspace: Workspace, *arguments: str) -> Iterator[Server]:
    with serve(workspace.home, FOLDER, *arguments, MIEN_RELOAD_INTERVAL_S="0.05") as server:
        yield server


def swaps(server: Server, result: str, task: str = "shape") -> float:
    return server.metric("mien_model_reloads_total", task=task, result=result)


def other_version(workspace: Workspace, number: int, old: int = 3) -> Path:
    """A copy of a version whose lineage, and so whose digest, is another one."""
    folder = workspace.version("shape", number)
    shutil.copytree(workspace.version("shape", old), folder)
    manifest = bundle.read(folder).manifest
    bundle.write(folder, manifest.model_copy(update={"lineage": Lineage(seed=number)}))
    return folder


def network(
    answer: tuple[float, ...] = (0.0, 0.0, 0.0), megabytes: float = 0.0, kind: str = "Softmax"
) -> bytes:
    """An ONNX file that adds numbers to its input and makes scores of them."""
    from onnx import TensorProto, helper, numpy_helper

    size, width = int(megabytes * 250_000), len(answer)
    weights = np.random.default_rng(1).random(size or 1, dtype=np.float32)
    constants = [
        numpy_helper.from_array(np.array([answer], dtype=np.float32), "more"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array(0.0, dtype=np.float32), "nought"),
        numpy_helper.from_array(np.zeros((3, width), dtype=np.float32) + 1, "spread"),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["weights"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nought"], ["nothing"]),
        helper.make_node("MatMul", ["x", "spread"], ["wide"]),
        helper.make_node("Add", ["wide", "more"], ["sum"]),
        helper.make_node("Add", ["sum", "nothing"], ["all"]),
        helper.make_node(kind, ["all"], ["scores"], **({"axis": 1} if kind == "Softmax" else {})),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, width])
    graph = helper.make_graph(nodes, "made", [x], [scores], constants)
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content


@pytest.mark.long
def test_a_hundred_swaps_under_load(
    workspace: Workspace, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: nothing. No request fails; each is answered by one of the two versions, and by the new
    one if it was sent after the swap was counted. Memory, threads and descriptors stay flat: of 90
    models with 4 MB of weights each, none is left behind."""
    shutil.rmtree(workspace.version("shape", 3))
    make_bundle(workspace.version("shape", 3), network=network(megabytes=MEGABYTES))
    other_version(workspace, 4)
    held: list[tuple[int, int, int]] = []
    with watching(workspace) as server, Load(server.port, [QUESTION], 2) as load:
        for turn in range(1, SWAPS + 1):
            number = 4 if turn % 2 else 3
            workspace.write_aliases("shape", {"champion": number})
            until(lambda goal=turn: swaps(server, "loaded") >= goal, server.words)
            count = len(load.records)
            document = server.request(QUESTION).json()
            assert document["model"]["version"] == str(number), f"after swap {turn}"
            until(lambda least=count: len(load.records) >= least + 4, "no more answers")
            if turn in (10, SWAPS):
                held.append(
                    (server.status("VmRSS"), server.status("Threads"), server.descriptors())
                )
        load.stop()
        assert (swaps(server, "loaded"), swaps(server, "refused")) == (SWAPS, 0)
    (memory, threads, descriptors), after = held
    with capsys.disabled():
        print(  # noqa: T201 - figures to be read
            f"\n{len(load.records)} answers during {SWAPS} swaps; memory, threads, descriptors "
            f"after 10: {held[0]}, after {SWAPS}: {after}"
        )
    assert load.failed == []
    assert {each.version for each in load.records} == {"3", "4"}
    assert after[0] < memory + 8 * MEGABYTES * 1000, "kB; 90 models would be 360,000"
    assert after[1] <= threads + 2
    assert after[2] <= descriptors + 4


# Bad bundles.


def checksum(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.seek(40)
        file.write(b"\xff")


def missing(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def more(folder: Path) -> None:
    (folder / "more.json").write_text("{}")


def link(folder: Path) -> None:
    (folder / "away.json").symlink_to("/etc/hostname")


def manifest(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / bundle.MANIFEST
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def listed(name: str, content: bytes) -> Callable[[Path], None]:
    """Add or replace a file, and list it with its right size and checksum."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)
        path = folder / bundle.MANIFEST
        document = json.loads(path.read_text())
        entry = {"bytes": len(content), "sha256": sha256_file(folder / name)}
        document["files"][name] = entry
        path.write_text(json.dumps(document))

    return change


def nested(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_text("[" * 100_000)


def no_file(folder: Path) -> None:
    (folder / bundle.MANIFEST).unlink()
    (folder / bundle.MANIFEST).mkdir()


INFINITE = (float("inf"), 0.0, 0.0)
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a wrong checksum": (checksum, "differs from its checksum"),
    "a missing file": (missing, "is listed but missing"),
    "a file too many": (more, "is there but not listed"),
    "a link out": (link, "is a link"),
    "a pickle": (listed("model.pkl", b"\x80\x04N."), "is of a kind that no bundle holds"),
    "another format": (manifest(format=4), "expected bundle format 3, found 4"),
    "altered preprocessing": (manifest(preprocessing={"size": 9}), "does not match its hash"),
    "another task": (manifest(task="colour"), "found one of 'colour'"),
    "labels of another task": (manifest(labels=["a", "b", "c"]), "expected the labels"),
    "half a network": (listed("model.onnx", network()[:90]), "cannot be opened by ONNX Runtime"),
    "no network": (listed("model.onnx", b"pickled"), "cannot be opened by ONNX Runtime"),
    "two scores for three": (listed("model.onnx", network((0.0,) * 2)), ""),
    "four scores for three": (listed("model.onnx", network((0.0,) * 4)), ""),
    "scores that are no numbers": (listed("model.onnx", network(INFINITE)), ""),
    "scores beyond 1": (listed("model.onnx", network((9.0, 1.0, 1.0), kind="Abs")), ""),
    "a manifest without end": (nested, ""),
    "a manifest that is a folder": (no_file, "has no bundle.json"),
}


def test_no_bad_bundle_takes_the_champion_s_place(workspace: Workspace) -> None:
    """Lost: nothing. Each kind of bad bundle is promoted in turn: it is refused once, the log says
    why, and the old version goes on answering. Then a good one is taken."""
    found: dict[str, str] = {}
    with watching(workspace) as server, Load(server.port, [QUESTION], 2) as load:
        load.reach(10)
        for place, (name, (harm, words)) in enumerate(BAD.items()):
            found[name] = refused(workspace, server, 10 + place, harm, words)
        load.reach(10)
        other_version(workspace, 99)
        workspace.write_aliases("shape", {"champion": 99})
        until(lambda: server.request(QUESTION).json()["model"]["version"] == "99", server.words)
        load.stop()
        assert server.request(get("/health")).status == 200
    assert found == dict.fromkeys(BAD, "refused once")
    assert load.failed == []
    assert {each.version for each in load.records} <= {"3", "99"}


def refused(
    workspace: Workspace, server: Server, number: int, harm: Callable[[Path], None], words: str
) -> str:
    """Promote a bad bundle and return what happened."""
    before, start, taken = swaps(server, "refused"), len(server.words()), swaps(server, "loaded")
    harm(other_version(workspace, number))
    workspace.write_aliases("shape", {"champion": number})
    try:
        until(
            lambda: swaps(server, "refused") > before or swaps(server, "loaded") > taken,
            "neither refused nor taken",
        )
    except AssertionError as error:
        return str(error)
    if swaps(server, "loaded") > taken:
        workspace.write_aliases("shape", {"champion": 3})
        until(lambda: swaps(server, "loaded") > taken + 1, "the old one is not taken again")
        return "TAKEN"
    health = server.request(get("/health"))
    version = health.json()["models"][-1]["version"]
    if health.status != 200 or version != "3":
        return f"/health is {health.status} with version {version}"
    if words not in server.words()[start:]:
        return f"the log says: {server.words()[start:][-300:]}"
    return "refused once" if swaps(server, "refused") == before + 1 else "refused more than once"


HARMS: dict[str, Callable[[Path], None]] = {
    **{name: BAD[name][0] for name in ("a missing file", "a manifest without end")},
    "aliases that are no JSON": lambda folder: aliases(folder).write_text("{"),
    "an endless number": lambda folder: aliases(folder).write_text('{"champion": 1e999}'),
    "no such version": lambda folder: aliases(folder).write_text('{"champion": 77}'),
    "nested aliases": lambda folder: aliases(folder).write_text("[" * 100_000),
    "no champion": lambda folder: aliases(folder).write_text("{}"),
}


def aliases(folder: Path) -> Path:
    return folder.parents[1] / "aliases.json"


@pytest.mark.parametrize("harm", sorted(HARMS))
def test_the_watch_outlives_what_it_looks_at(workspace: Workspace, harm: str) -> None:
    """Lost: nothing. The champion's own folder, or the file of aliases, is damaged in place: the
    model in memory answers, and the next good champion is taken."""
    other_version(workspace, 4)
    with watching(workspace) as server, Load(server.port, [QUESTION], 2) as load:
        load.reach(10)
        before = server.words()
        HARMS[harm](workspace.version("shape", 3))
        until(lambda: server.words() != before, "the log says nothing")
        load.reach(10)
        workspace.write_aliases("shape", {"champion": 4})
        until(lambda: server.request(QUESTION).json()["model"]["version"] == "4", server.words)
        load.stop()
    assert load.failed == []
    assert "Traceback" not in server.text()


def test_a_bundle_folder_is_followed_too(workspace: Workspace, make_bundle: MakeBundle) -> None:
    """Lost: nothing. A folder given by `--bundle` is replaced by a bad bundle, which is refused,
    and by a good one, which is taken, under load."""
    folder = workspace.home / "own"
    first = make_bundle(folder)
    with (
        watching(workspace, "--bundle", str(folder)) as server,
        Load(server.port, [QUESTION], 2) as load,
    ):
        load.reach(10)
        checksum(folder)
        until(lambda: swaps(server, "refused") == 1, server.words)
        load.reach(10)
        with atomic_dir(folder) as built:
            shutil.copytree(workspace.version("shape", 3), built, dirs_exist_ok=True)
            second = bundle.write(built, bundle.read(built).manifest.model_copy(update=NEW))
        until(lambda: swaps(server, "loaded") == 1, server.words)
        assert server.request(QUESTION).json()["model"]["version"] == second.digest[:12]
        load.stop()
    assert load.failed == []
    assert {each.version for each in load.records} <= {first.digest[:12], second.digest[:12]}


NEW = {"lineage": Lineage(seed=1)}


def test_a_bundle_that_was_bad_at_the_start_can_be_mended(
    workspace: Workspace, make_bundle: MakeBundle
) -> None:
    """Lost: answers until it is mended. A champion that could not be loaded is taken as soon as its
    folder is whole, without a restart."""
    folder = workspace.version("shape", 3)
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"")
    with watching(workspace, "shape", "colour") as server:
        assert server.request(QUESTION).status == 503
        (folder / "model.onnx").write_bytes(content)
        until(lambda: server.request(QUESTION).status == 200, server.words)
        assert server.request(get("/health")).status == 200
