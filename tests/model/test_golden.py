"""Promises of `mien.model.golden`: a bundle that answers differently on this machine is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_bundle import golden_bundle
from onnx import TensorProto, helper

from mien.errors import BundleError, RequestError
from mien.model import bundle, golden
from mien.model.runtime import Model


def network(path: Path, factor: float) -> None:
    """Two numbers, each times `factor`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    factors = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph(nodes, "times", [x], [y], [factors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


MANIFEST = bundle.describe("t", ("a", "b"), "c", {})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A bundle of one network that doubles."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    network(folder / "model.onnx", 2.0)
    golden_bundle(folder, MANIFEST)
    return folder


def _change(folder: Path, change: Callable[[], None]) -> Path:
    """The bundle after a change, its checksums made to match."""
    change()
    bundle.write(folder, MANIFEST)
    return folder


def test_a_bundle_that_answers_as_recorded_is_opened(made: Path) -> None:
    """The check says how many inputs were run and the largest difference."""
    with golden.load(made) as model:
        assert golden.check(model) == golden.GoldenCheck(checked=1, max_difference=0.0)
    document = json.loads((made / golden.GOLDEN).read_text())
    assert document["networks"]["model.onnx"]["tolerance"] == golden.TOLERANCE["float32"]


def test_other_answers_are_refused_with_all_that_is_needed_to_act(made: Path) -> None:
    """File, difference, tolerance, both processors and what to do."""
    document = json.loads((made / golden.GOLDEN).read_text())
    document["processor"] = "vax fortran"
    (made / golden.GOLDEN).write_text(json.dumps(document))
    _change(made, lambda: network(made / "model.onnx", 2.5))
    with pytest.raises(BundleError) as refused:
        golden.load(made)
    message = str(refused.value)
    # 0.5 x 2 is recorded, 0.5 x 2.5 is answered: 0.25 / (1 + 1).
    assert "expected a difference of at most 0.001 (float32), found 0.125." in message
    assert str(made / "model.onnx") in message
    assert "recorded on: vax fortran" in message
    assert f"This processor: {' '.join(golden.processor_features())}" in message
    assert "mien run" in message


@pytest.mark.parametrize(("form", "refused"), [(None, True), ("int8", False), ("fp16", False)])
def test_the_form_decides_the_tolerance(
    tmp_path: Path, form: golden.Form | None, refused: bool
) -> None:
    """A difference of 0.025 is borne in few bits, and not in float32."""
    network(tmp_path / "model.onnx", 2.0)
    feeds = {"x": np.full((1, 2), 0.5, np.float32)}
    golden.write(
        tmp_path, MANIFEST, [lambda model: model.run(feeds)], {"model.onnx": form} if form else {}
    )
    _change(tmp_path, lambda: network(tmp_path / "model.onnx", 2.1))
    if refused:
        with pytest.raises(BundleError, match=r"found 0\.025"):
            golden.load(tmp_path)
    else:
        golden.load(tmp_path).close()


def test_a_bundle_without_golden_answers_is_refused(made: Path) -> None:
    """With what to do: it is unknown whether it answers as it was measured."""
    _change(made, (made / golden.ARRAYS).unlink)
    with pytest.raises(BundleError, match=r"has no golden answers.*Train it again"):
        golden.load(made)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_golden_answers_that_cannot_be_read_are_refused(made: Path, content: bytes) -> None:
    """Whatever lies in the file."""
    _change(made, lambda: (made / golden.ARRAYS).write_bytes(content) and None)
    with pytest.raises(BundleError, match="cannot be read"):
        golden.load(made)


def test_a_pickle_in_the_arrays_is_refused(made: Path) -> None:
    """Reading one could run code."""

    def pickle() -> None:
        with np.load(made / golden.ARRAYS) as stored:
            arrays = {name: np.array(["a", None], object) for name in stored}
        np.savez(made / golden.ARRAYS, **arrays)  # type: ignore[arg-type]

    _change(made, pickle)
    with pytest.raises(BundleError, match="cannot be read"):
        golden.load(made)


def test_every_network_of_a_bundle_needs_golden_answers(made: Path) -> None:
    """A network that was added later was never recorded."""
    _change(made, lambda: shutil.copyfile(made / "model.onnx", made / "more.onnx") and None)
    with pytest.raises(BundleError, match=r"more\.onnx"):
        golden.load(made)


def test_a_network_that_no_request_reaches_is_refused(tmp_path: Path) -> None:
    """It would be served unchecked."""
    network(tmp_path / "model.onnx", 2.0)
    network(tmp_path / "second.onnx", 2.0)
    feeds = {"x": np.zeros((1, 2), np.float32)}
    with pytest.raises(BundleError, match=r"second\.onnx has no golden answers.*drawn_predictions"):
        golden.write(tmp_path, MANIFEST, [lambda model: model.run(feeds)])


def test_a_request_that_the_model_refuses_is_left_out(tmp_path: Path) -> None:
    """A model may take one kind of request alone."""

    def refuse(_: Model) -> None:
        raise RequestError("no pictures")

    network(tmp_path / "model.onnx", 2.0)
    feeds = {"x": np.zeros((1, 2), np.float32)}
    golden.write(tmp_path, MANIFEST, [refuse, lambda model: model.run(feeds)])
    with golden.load(tmp_path) as model:
        assert golden.check(model).checked == 1


def test_a_network_that_bundles_share_runs_once_for_each_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the file of arrays is the one that numpy writes."""
    runs: list[str] = []
    run = Model.run

    def counted(model: Model, feeds: golden.Mapping[str, Any], name: str = "model.onnx") -> Any:
        runs.append(name)
        return run(model, feeds, name)

    monkeypatch.setattr(Model, "run", counted)
    shared = golden.SharedAnswers()
    feeds = {"x": np.full((1, 2), 0.5, np.float32)}
    requests = [lambda model: [model.run(feeds, name) for name in ("model.onnx", "second.onnx")]]
    for factor in (2.0, 3.0):
        folder = tmp_path / str(factor)
        folder.mkdir()
        network(folder / "model.onnx", factor)
        network(folder / "second.onnx", 5.0)
        golden.write(folder, MANIFEST, requests, shared=shared)
        with np.load(folder / golden.ARRAYS) as stored:
            arrays = dict(stored)
        assert arrays["model.onnx/0/out/0"].tolist() == [[factor / 2] * 2]
        np.savez_compressed(tmp_path / "numpy.npz", allow_pickle=False, **arrays)
        assert (tmp_path / "numpy.npz").read_bytes() == (folder / golden.ARRAYS).read_bytes()
    assert runs == ["model.onnx", "second.onnx", "model.onnx"]


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ([0.0, 300.0], [0.5, 300.0], 0.5),
        ([0.0, 299.0], [0.0, 269.0], 0.1),
        ([np.inf], [np.inf], 0.0),
        ([1.0], [np.nan], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        (["a"], ["a"], 0.0),
        (["a"], ["b"], np.inf),
        ([1], [2], np.inf),
    ],
)
def test_differences_count_for_scores_beside_pixels(
    expected: list[float], actual: list[float], difference: float
) -> None:
    """Absolute around zero, relative for large values; texts and whole numbers must be equal."""
    assert golden.difference(np.array(expected), np.array(actual)) == pytest.approx(difference)


def test_the_same_bundle_gets_the_same_golden_answers(made: Path, tmp_path: Path) -> None:
    """So the digest of a bundle depends on its content alone."""
    again = tmp_path / "again"
    again.mkdir()
    network(again / "model.onnx", 2.0)
    assert golden_bundle(again, MANIFEST).digest == bundle.read(made).digest
