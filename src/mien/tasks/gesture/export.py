"""The trained classifier as an ONNX file, and what keeps the two equal.

Options of the libraries that their exporters drop without a word are refused before the export; the
exported file is compared with the original on validation hands after it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mien.errors import TrainingError

from .landmarks import Floats
from .predict import INPUT

TOLERANCE = 1e-3
"""Largest difference of a probability between the classifier and its exported form."""
_OPSET = {"": 18, "ai.onnx.ml": 3}
_LIGHTGBM_DEFAULTS: Mapping[str, Any] = {
    "boosting_type": "gbdt",
    "boosting": "gbdt",
    "objective": None,
    "linear_tree": False,
    "sigmoid": 1.0,
    "zero_as_missing": False,
}
"""With other values the file of onnxmltools 1.16 answers otherwise than LightGBM 4.7: up to 0.7."""
_SVM_METHODS = ("sigmoid",)
"""skl2onnx 1.20 cannot export the calibration `temperature` of scikit-learn 1.9."""


def to_onnx(
    candidate: str, estimator: Any, label_indices: tuple[int, ...], label_count: int
) -> bytes:
    """The classifier as ONNX: landmarks float32 [N, 63] -> probabilities float32 [N, labels].

    Raises:
        TrainingError: its exported form would answer otherwise.
    """
    require_exportable(estimator)
    model = _convert(candidate, estimator)
    _drop_zero_votes(model)
    _output_all_labels(model, label_indices, label_count)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def require_exportable(estimator: Any) -> None:
    """Raise TrainingError for options that an exporter drops, or cannot export."""
    params: Mapping[str, Any] = estimator.get_params()
    kind = type(estimator).__name__
    wrong: dict[str, Any] = {}
    if kind == "LGBMClassifier":
        wrong = {
            name: params[name]
            for name, value in _LIGHTGBM_DEFAULTS.items()
            if name in params and params[name] != value
        }
    elif kind == "CalibratedClassifierCV" and params["method"] not in _SVM_METHODS:
        wrong = {"method": params["method"]}
    elif params.get("probability") is True or params.get("estimator__probability") is True:
        wrong = {"probability": True}
    if wrong:
        listed = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
        raise TrainingError(
            f"{kind}: expected options that its ONNX exporter keeps, found {listed}. Leave these "
            "at their defaults: the exported model would answer otherwise."
        )


def compare(expected: Floats, actual: Floats) -> dict[str, float]:
    """Compare scores (n, labels) of the classifier and of its exported form.

    Raises:
        TrainingError: a label differs, or a probability by more than `TOLERANCE`.
    """
    labels = int((expected.argmax(axis=1) != actual.argmax(axis=1)).sum())
    largest = float(np.abs(expected - actual).max())
    if labels or largest > TOLERANCE:
        raise TrainingError(
            f"the exported model on {len(expected)} rows: expected the labels of the trained one "
            f"and probabilities within {TOLERANCE:g}, found {labels} other labels and differences "
            f"up to {largest:.2g}. Check the versions of skl2onnx, onnxmltools and onnxruntime."
        )
    return {"rows": len(expected), "label_mismatches": labels, "largest_difference": largest}


def _convert(candidate: str, estimator: Any) -> Any:
    if candidate == "lightgbm":
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType as Tensor

        return onnxmltools.convert_lightgbm(
            estimator,
            name="gesture",
            initial_types=[(INPUT, Tensor([None, 63]))],
            zipmap=False,
            target_opset=15,  # the newest that this exporter writes
        )
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    with _trees_not_searched():
        return skl2onnx.to_onnx(
            estimator,
            name="gesture",
            initial_types=[(INPUT, FloatTensorType([None, 63]))],
            options={id(estimator): {"zipmap": False}},
            target_opset=_OPSET,
        )


@contextmanager
def _trees_not_searched() -> Iterator[None]:
    """Without it, skl2onnx looks for pipelines in every tree of a forest, for most of its time."""
    from skl2onnx.common import utils_sklearn

    search = utils_sklearn.enumerate_model_names

    def enumerate_models(model: Any, *args: Any, **options: Any) -> Any:
        is_forest = type(model).__name__ == "RandomForestClassifier"
        return [("", model)] if is_forest else search(model, *args, **options)

    utils_sklearn.enumerate_model_names = enumerate_models
    try:
        yield
    finally:
        utils_sklearn.enumerate_model_names = search


def _drop_zero_votes(model: Any) -> None:
    """Remove votes without effect: a leaf of a forest has all classes, most with weight 0."""
    for node in model.graph.node:
        if node.op_type != "TreeEnsembleClassifier":
            continue
        fields = {field.name: field for field in node.attribute}
        nonzero = np.flatnonzero(np.array(fields["class_weights"].floats)).tolist()
        for name in ("class_ids", "class_nodeids", "class_treeids"):
            values = [fields[name].ints[index] for index in nonzero]
            fields[name].ints[:] = values
        votes = [fields["class_weights"].floats[index] for index in nonzero]
        fields["class_weights"].floats[:] = votes


def _output_all_labels(model: Any, label_indices: tuple[int, ...], label_count: int) -> None:
    """Make (N, labels) probabilities the only output; a label without training rows gets 0."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    name = graph.output[1].name
    if len(label_indices) < label_count:
        spread = np.zeros((len(label_indices), label_count), dtype=np.float32)
        spread[np.arange(len(label_indices)), list(label_indices)] = 1.0
        graph.initializer.append(numpy_helper.from_array(spread, "spread"))
        graph.node.append(helper.make_node("MatMul", [name, "spread"], ["all_probabilities"]))
        name = "all_probabilities"
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", label_count])
    del graph.output[:]
    graph.output.append(output)
