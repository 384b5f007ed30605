"""Trains four classifiers of normalized landmarks and exports them to ONNX.

The only importer of scikit-learn, LightGBM and their exporters. Each candidate's hyperparameters
are selected by cross-validation inside the training split; the exported file must predict like the
trained classifier on every row of the validation split. One thread everywhere except for the
forest, whose trees do not depend on it: the same data and seed give the same bytes.
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

from . import data, export, landmarks
from .landmarks import Floats
from .outlier_model import fit_outlier_model
from .params import Params
from .predict import RunModel, class_scores, round_scores
from .rejection import RejectionModel
from .rejection_training import fit_rejection
from .table import LandmarkTable

Features = NDArray[np.float32]
Classes = NDArray[np.int64]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
Hyperparameters = Mapping[str, Any]

_GRIDS: Mapping[str, tuple[Hyperparameters, ...]] = {
    "random_forest": ({"max_features": "sqrt"}, {"max_features": 0.25}),
    "svm": ({"C": 3.0}, {"C": 10.0}, {"C": 30.0}),
    "logistic_regression": ({"C": 10.0}, {"C": 100.0}),
    "lightgbm": ({"num_leaves": 15}, {"num_leaves": 31}),
}
_SEARCH_TREES = 30
"""Trees of a forest, and rounds of LightGBM, in the search: enough to rank hyperparameters."""
_FOREST_THREADS = 2


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier before its export, with which the exported file is compared."""

    estimator: Any
    labels: tuple[str, ...]
    """All labels of the data, in the order of the scores."""
    label_indices: tuple[int, ...]
    """Indices in `labels` of those that have training rows, in its own order."""
    hyperparameters: Hyperparameters
    history: tuple[Mapping[str, float], ...]
    grouped_by_user: bool
    """Whether no user is on both sides of a fold."""

    def predict_proba(self, points: Floats) -> Floats:
        """Probabilities (n, labels) of hands (n, 21, 3) of the common frame."""
        scores = np.zeros((len(points), len(self.labels)))
        with _quiet(), _one_thread():
            probabilities = self.estimator.predict_proba(landmarks.normalize(points))
        scores[:, list(self.label_indices)] = probabilities
        return scores


def candidates(params: Params) -> tuple[str, ...]:
    """The classifiers to train."""
    return params.candidates


def fit(candidate: str, ready: Path, out: Path, params: Params, seed: int, record: Recorder) -> Fit:
    """Train one classifier; write `model.onnx`, and the hand landmarker if pictures are accepted.

    Raises:
        TrainingError: too few rows, no landmarker, or an export that predicts otherwise.
    """
    landmarker = _write_landmarker(out) if params.accept_images else None
    trained = train_classifier(candidate, ready, params, seed, record)
    path = out / "model.onnx"
    path.write_bytes(_export(candidate, trained))
    session = Session(path)
    parity = verify_export(trained, session.run, data.read_split(ready, "val").landmarks)
    with _one_thread():
        rows = data.read_split(ready, "train")
        features = landmarks.normalize(rows.landmarks)
        outlier_model = fit_outlier_model(features)
        rejection = _fit_rejection(features, rows.labels, seed)
    return Fit(
        preprocessing={
            "preprocessing_version": landmarks.NORMALIZATION_VERSION,
            "outlier_model": outlier_model.as_json(),
            "rejection": rejection.as_json(),
        },
        history=trained.history,
        lineage={
            "hyperparameters": dict(trained.hyperparameters),
            "cv_folds": params.cv_folds,
            "folds_grouped_by_user": trained.grouped_by_user,
            "export_parity": parity,
            "threads": _FOREST_THREADS if candidate == "random_forest" else 1,
            "libraries": {name: version(name) for name in _LIBRARIES},
            "landmarker": landmarker,
        },
        labels=trained.labels,
    )


def _fit_rejection(features: Features, labels: Sequence[str], seed: int) -> RejectionModel:
    """The model of hands without a gesture, the same for every candidate."""
    classes = np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)
    return fit_rejection(features, classes, seed)


def _export(candidate: str, trained: TrainedClassifier) -> bytes:
    with _quiet():
        return export.to_onnx(
            candidate, trained.estimator, trained.label_indices, len(trained.labels)
        )


def verify_export(trained: TrainedClassifier, run: RunModel, points: Floats) -> dict[str, float]:
    """Compare the exported file with the classifier on hands (n, 21, 3).

    Raises:
        TrainingError: a label differs, or a probability by more than `export.TOLERANCE`.
    """
    return export.compare(round_scores(trained.predict_proba(points)), class_scores(run, points))


def _write_landmarker(folder: Path) -> dict[str, str]:
    try:
        return write_hand_landmarker(folder)
    except WeightsError as error:
        raise WeightsError(
            f"{error} Or train a model that takes landmarks only: --set params.accept_images=false."
        ) from error


_LIBRARIES = ("scikit-learn", "lightgbm", "skl2onnx", "onnxmltools", "onnx")


def train_classifier(
    candidate: str, ready: Path, params: Params, seed: int, record: Recorder | None = None
) -> TrainedClassifier:
    """Select hyperparameters and fit on the training split; deterministic.

    Raises:
        TrainingError: a label has fewer rows than there are folds, or there is only one label.
    """
    rows = data.read_split(ready, "train")
    _check_labels(rows, params.cv_folds)
    labels = data.read_labels(ready)
    features = landmarks.normalize(rows.landmarks)
    _require_finite(features)
    label_indices = tuple(index for index, label in enumerate(labels) if label in rows.labels)
    class_of = {labels[index]: number for number, index in enumerate(label_indices)}
    classes = np.array([class_of[label] for label in rows.labels], dtype=np.int64)
    with _quiet(), _one_thread():
        folds, grouped = _folds(rows, classes, params.cv_folds, seed)
        history = list(_search(candidate, features, classes, folds, params, seed, record))
        hyperparameters = _best(_GRIDS[candidate], history, len(folds))
        estimator = _final_estimator(candidate, hyperparameters, folds, params, seed)
        _fit_estimator(estimator, features, classes)
    return TrainedClassifier(
        estimator, labels, label_indices, hyperparameters, tuple(history), grouped
    )


def _require_finite(features: Features) -> None:
    """Forests of scikit-learn train on NaN, and their exported form answers otherwise than they."""
    if not np.isfinite(features).all():
        raise TrainingError(
            "the training rows: expected finite numbers, found NaN or infinity. Prepare the data "
            "again with `mien data`, which leaves such rows out."
        )


def _check_labels(rows: LandmarkTable, folds: int) -> None:
    count = Counter(rows.labels)
    too_few = {label: number for label, number in count.items() if number < folds}
    if too_few or len(count) < 2:
        counts = sorted((too_few or dict(count)).items())
        listed = ", ".join(f"{label}: {number}" for label, number in counts)
        raise TrainingError(
            f"expected at least 2 labels with {folds} rows each to train on (params.cv_folds "
            f"= {folds}), found {listed}. "
            "Add rows of these labels or skip them by params.ignore_labels."
        )


def _folds(rows: LandmarkTable, classes: Classes, count: int, seed: int) -> tuple[Folds, bool]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = [f"u {u}" if u else f"r {n}" for u, n in zip(rows.users, rows.names, strict=True)]
    if any(rows.users) and len(set(groups)) >= count:
        grouped = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        folds = list(grouped.split(classes, classes, groups))
        # A label of a single person is missing in one fold; then rows cannot be grouped by person.
        if all(len(set(classes[train])) == len(set(classes)) for train, _ in folds):
            return folds, True
    ungrouped = StratifiedKFold(count, shuffle=True, random_state=seed)
    return list(ungrouped.split(classes, classes)), False


def _search(
    candidate: str,
    features: Features,
    classes: Classes,
    folds: Folds,
    params: Params,
    seed: int,
    record: Recorder | None,
) -> Iterator[Mapping[str, float]]:
    """Yield the scores of all hyperparameters on every fold, one setting after the other."""
    from sklearn.metrics import accuracy_score, f1_score

    trials = [(setting, fold) for setting in _GRIDS[candidate] for fold in folds]
    for step, (setting, (train, validation)) in enumerate(trials, start=1):
        estimator = _estimator(candidate, setting, params, seed, searching=True)
        _fit_estimator(estimator, features[train], classes[train])
        predicted, truth = estimator.predict(features[validation]), classes[validation]
        scores = {
            "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0.0)),
            "accuracy": float(accuracy_score(truth, predicted)),
        }
        if record:
            record(step, len(trials), scores)
        yield scores


def _best(
    grid: Sequence[Hyperparameters], history: Sequence[Mapping[str, float]], folds: int
) -> Hyperparameters:
    means = [
        float(np.mean([scores["macro_f1"] for scores in history[start : start + folds]]))
        for start in range(0, len(history), folds)
    ]
    return grid[int(np.argmax(means))]


def _final_estimator(
    candidate: str, hyperparameters: Hyperparameters, folds: Folds, params: Params, seed: int
) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    estimator = _estimator(candidate, hyperparameters, params, seed)
    if candidate != "svm":
        return estimator
    # SVC's own probabilities are deprecated. One SVM on all rows, with margins calibrated on the
    # folds, makes a small exported file.
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=list(folds), ensemble=False)


def _estimator(
    candidate: str,
    hyperparameters: Hyperparameters,
    params: Params,
    seed: int,
    searching: bool = False,
) -> Any:
    if candidate == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        trees = min(params.trees, _SEARCH_TREES) if searching else params.trees
        return RandomForestClassifier(
            trees, random_state=seed, n_jobs=_FOREST_THREADS, **hyperparameters
        )
    if candidate == "svm":
        from sklearn.svm import SVC

        return SVC(random_state=seed, **hyperparameters)
    if candidate == "logistic_regression":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, **hyperparameters))
    rounds = params.boosting_rounds
    return _lightgbm(hyperparameters, min(rounds, _SEARCH_TREES) if searching else rounds, seed)


def _fit_estimator(estimator: Any, features: Features, classes: Classes) -> None:
    """Fit; a forest predicts in one thread from then on, because threads add up its votes in the
    order in which they finish, which changes the last digits."""
    estimator.fit(features, classes)
    if "n_jobs" in estimator.get_params(deep=False):
        estimator.set_params(n_jobs=1)


def _lightgbm(hyperparameters: Hyperparameters, rounds: int, seed: int) -> Any:
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
        **hyperparameters,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads differ from run to run, and idle threads cost more than they gain."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings of the libraries about each other: feature names, deprecations."""
    with warnings.catch_warnings():
        for kind in (UserWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", kind)
        yield
