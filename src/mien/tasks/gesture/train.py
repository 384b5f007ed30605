"""Four classifiers of normalised landmarks, tuned, fitted and exported to ONNX.

The only importer of scikit-learn, LightGBM and their exporters. Each candidate's settings are
chosen by cross-validation inside the training split; the exported file must answer like its
original on every row of the validation split. One thread everywhere but for the forest, whose
trees do not depend on it: the same data and seed give the same bytes.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import TrainingError, WeightsError
from mien.mediapipe.weights import write_hand_landmarker
from mien.model.runtime import Session
from mien.task import Fit, Recorder

from . import data, landmarks, typical
from .landmarks import Floats
from .params import LABELS, Params
from .predict import INPUT, LANDMARKER, Run, class_scores, rounded
from .table import Rows

Features = NDArray[np.float32]
Classes = NDArray[np.int64]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
Setting = Mapping[str, Any]

TOLERANCE = 1e-3
"""Largest difference of a probability between the original and its exported form."""

_GRIDS: Mapping[str, tuple[Setting, ...]] = {
    "random_forest": ({"max_features": "sqrt"}, {"max_features": 0.25}),
    "svm": ({"C": 3.0}, {"C": 10.0}, {"C": 30.0}),
    "logistic_regression": ({"C": 10.0}, {"C": 100.0}),
    "lightgbm": ({"num_leaves": 15}, {"num_leaves": 31}),
}
_SEARCH_TREES = 30
"""Trees of a forest, and rounds of LightGBM, while settings are compared: enough to rank them."""
_FOREST_THREADS = 2
_OPSET = {"": 18, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Original:
    """A fitted classifier before its export: the yardstick of the exported file."""

    estimator: Any
    present: tuple[int, ...]
    """Places in LABELS of the labels that it was trained on, in its own order."""
    setting: Setting
    history: tuple[Mapping[str, float], ...]
    grouped: bool
    """Whether no user stood on both sides of a fold."""

    def probabilities(self, points: Floats) -> Floats:
        """Probabilities (n, 18) in the order of LABELS of hands (n, 21, 3) of the common frame."""
        scores = np.zeros((len(points), len(LABELS)))
        with _quiet(), _one_thread():
            found = self.estimator.predict_proba(landmarks.normalise(points))
        scores[:, list(self.present)] = found
        return scores


def candidates(params: Params) -> tuple[str, ...]:
    """The classifiers to try."""
    return params.candidates


def fit(candidate: str, ready: Path, out: Path, params: Params, seed: int, record: Recorder) -> Fit:
    """Train one classifier; leave `model.onnx`, and the hand landmarker where it is wanted.

    Raises:
        TrainingError: too few rows, no landmarker to be had, or an export unlike its original.
    """
    carried = _write_landmarker(out / LANDMARKER) if params.images else None
    trained = original(candidate, ready, params, seed, record)
    path = out / "model.onnx"
    path.write_bytes(_export(candidate, trained))
    session = Session(path)
    parity = compare(trained, session.run, data.read(ready, "val").landmarks)
    with _one_thread():
        known = typical.describe(landmarks.normalise(data.read(ready, "train").landmarks))
    return Fit(
        preprocessing={
            "normalisation": landmarks.VERSION,
            "min_confidence": params.min_confidence,
            "typical": known,
        },
        history=trained.history,
        lineage={
            "setting": dict(trained.setting),
            "folds": params.folds,
            "folds_by_user": trained.grouped,
            "parity": parity,
            "threads": _FOREST_THREADS if candidate == "random_forest" else 1,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "landmarker": carried,
        },
    )


def _write_landmarker(path: Path) -> dict[str, str]:
    try:
        return write_hand_landmarker(path)
    except WeightsError as error:
        raise WeightsError(
            f"{error} Or train a model that takes landmarks only: --set params.images=false."
        ) from error


_LIBRARIES = ("scikit-learn", "lightgbm", "skl2onnx", "onnxmltools", "onnx")


def original(
    candidate: str, ready: Path, params: Params, seed: int, record: Recorder | None = None
) -> Original:
    """Choose settings and fit on the training split; the same every time.

    Raises:
        TrainingError: a label has fewer rows than there are folds, or there is only one label.
    """
    rows = data.read(ready, "train")
    features = landmarks.normalise(rows.landmarks)
    present = tuple(place for place, label in enumerate(LABELS) if label in rows.labels)
    own = {LABELS[place]: number for number, place in enumerate(present)}
    classes = np.array([own[label] for label in rows.labels], dtype=np.int64)
    _check(rows, params.folds)
    with _quiet(), _one_thread():
        folds, grouped = _folds(rows, classes, params.folds, seed)
        history = list(_search(candidate, features, classes, folds, params, seed, record))
        setting = _best(_GRIDS[candidate], history, len(folds))
        estimator = _final(candidate, setting, folds, params, seed)
        _fit_alike(estimator, features, classes)
    return Original(estimator, present, setting, tuple(history), grouped)


def compare(trained: Original, run: Run, points: Floats) -> dict[str, float]:
    """Hold the exported file's answers against the original's on hands (n, 21, 3).

    Raises:
        TrainingError: a label differs, or a probability by more than `TOLERANCE`.
    """
    expected = rounded(trained.probabilities(points))
    found = class_scores(run, points)
    labels = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    largest = float(np.abs(expected - found).max())
    if labels or largest > TOLERANCE:
        raise TrainingError(
            f"the exported model is unlike its original: on {len(points)} rows {labels} labels "
            f"differ and probabilities by up to {largest:.2g}; expected none and at most "
            f"{TOLERANCE:g}. Check the versions of skl2onnx, onnxmltools and onnxruntime."
        )
    return {"rows": len(points), "labels_that_differ": labels, "largest_difference": largest}


def _check(rows: Rows, folds: int) -> None:
    count = Counter(rows.labels)
    few = {label: number for label, number in count.items() if number < folds}
    if few or len(count) < 3:
        found = few or dict(count)
        raise TrainingError(
            f"expected at least 3 labels with {folds} rows each to train on (params.folds = "
            f"{folds}); found {', '.join(f'{label}: {n}' for label, n in sorted(found.items()))}. "
            "Add rows of these labels or leave them out by params.ignore_labels."
        )


def _folds(rows: Rows, classes: Classes, count: int, seed: int) -> tuple[Folds, bool]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if any(rows.users):
        groups = [f"u {u}" if u else f"r {n}" for u, n in zip(rows.users, rows.names, strict=True)]
        grouped = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        folds = list(grouped.split(classes, classes, groups))
        # A label of a single person leaves a fold without it; then people cannot be kept apart.
        if all(len(set(classes[kept])) == len(set(classes)) for kept, _ in folds):
            return folds, True
    simple = StratifiedKFold(count, shuffle=True, random_state=seed)
    return list(simple.split(classes, classes)), False


def _search(
    candidate: str,
    features: Features,
    classes: Classes,
    folds: Folds,
    params: Params,
    seed: int,
    record: Recorder | None,
) -> Iterator[Mapping[str, float]]:
    """Yield the scores of every setting on every fold, setting by setting."""
    from sklearn.metrics import accuracy_score, f1_score

    tries = [(setting, fold) for setting in _GRIDS[candidate] for fold in folds]
    for step, (setting, (kept, held)) in enumerate(tries, start=1):
        estimator = _estimator(candidate, setting, params, seed, searching=True)
        _fit_alike(estimator, features[kept], classes[kept])
        said = estimator.predict(features[held])
        scores = {
            "macro_f1": float(f1_score(classes[held], said, average="macro", zero_division=0.0)),
            "accuracy": float(accuracy_score(classes[held], said)),
        }
        if record:
            record(step, len(tries), scores)
        yield scores


def _best(grid: Sequence[Setting], history: Sequence[Mapping[str, float]], folds: int) -> Setting:
    means = [
        float(np.mean([scores["macro_f1"] for scores in history[place : place + folds]]))
        for place in range(0, len(history), folds)
    ]
    return grid[int(np.argmax(means))]


def _final(candidate: str, setting: Setting, folds: Folds, params: Params, seed: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    estimator = _estimator(candidate, setting, params, seed)
    if candidate != "svm":
        return estimator
    # SVC's own probabilities are deprecated; one machine on all rows, its margins calibrated on
    # the folds, keeps the exported file small.
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=list(folds), ensemble=False)


def _estimator(
    candidate: str, setting: Setting, params: Params, seed: int, searching: bool = False
) -> Any:
    if candidate == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        trees = min(params.trees, _SEARCH_TREES) if searching else params.trees
        return RandomForestClassifier(trees, random_state=seed, n_jobs=_FOREST_THREADS, **setting)
    if candidate == "svm":
        from sklearn.svm import SVC

        return SVC(random_state=seed, **setting)
    if candidate == "logistic_regression":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, **setting))
    return _lightgbm(
        setting, min(params.rounds, _SEARCH_TREES) if searching else params.rounds, seed
    )


def _fit_alike(estimator: Any, features: Features, classes: Classes) -> None:
    """Fit, and have a forest answer in one thread from then on: threads add its votes up in the
    order in which they come, and the last digits with them."""
    estimator.fit(features, classes)
    if "n_jobs" in estimator.get_params(deep=False):
        estimator.set_params(n_jobs=1)


def _lightgbm(setting: Setting, rounds: int, seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=rounds,
        colsample_bytree=0.3,  # trees differ more, and cost a third: as good here as all columns
        max_bin=63,
        random_state=seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
        **setting,
    )


def _export(candidate: str, trained: Original) -> bytes:
    """The classifier as ONNX: landmarks float32 [N, 63] -> probabilities float32 [N, 18]."""
    with _quiet():
        model = _converted(candidate, trained.estimator)
    _drop_zero_votes(model)
    _answer_all_labels(model, trained.present)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _converted(candidate: str, estimator: Any) -> Any:
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

    return skl2onnx.to_onnx(
        estimator,
        name="gesture",
        initial_types=[(INPUT, FloatTensorType([None, 63]))],
        options={"zipmap": False},
        target_opset=_OPSET,
    )


def _drop_zero_votes(model: Any) -> None:
    """Leave out what adds nothing: a leaf of a forest names all 18 classes, most with weight 0."""
    for node in model.graph.node:
        if node.op_type != "TreeEnsembleClassifier":
            continue
        fields = {field.name: field for field in node.attribute}
        kept = np.flatnonzero(np.array(fields["class_weights"].floats)).tolist()
        for name in ("class_ids", "class_nodeids", "class_treeids"):
            values = [fields[name].ints[place] for place in kept]
            fields[name].ints[:] = values
        votes = [fields["class_weights"].floats[place] for place in kept]
        fields["class_weights"].floats[:] = votes


def _answer_all_labels(model: Any, present: tuple[int, ...]) -> None:
    """Make (N, 18) probabilities the only output; a label without training rows gets 0."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    name = graph.output[1].name
    if len(present) < len(LABELS):
        spread = np.zeros((len(present), len(LABELS)), dtype=np.float32)
        spread[np.arange(len(present)), list(present)] = 1.0
        graph.initializer.append(numpy_helper.from_array(spread, "spread"))
        graph.node.append(helper.make_node("MatMul", [name, "spread"], ["all_probabilities"]))
        name = "all_probabilities"
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", len(LABELS)])
    del graph.output[:]
    graph.output.append(output)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of many threads differ from run to run, and waiting threads cost more than they give."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the libraries say of each other: feature names, and their own deprecations."""
    with warnings.catch_warnings():
        for kind in (UserWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield
