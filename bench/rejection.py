"""Ways to reject hands that show no known gesture: one gesture after the other is left out.

MIEN_REJECTION_ALL=1 also trains a second network on changed hands and four classifiers for each
gesture that is left out, which takes three times as long; without it they are named as not
measured.
"""

import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import page
from bench.calibration import photos, processed
from bench.changed_hands import changed
from mien import pipeline, tasks
from mien.model import runtime
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.tasks.gesture import data, landmarks, rejection_training
from mien.tasks.gesture.hand_shape import shape_features
from mien.tasks.gesture.rejection import RejectionModel, standardize
from mien.tasks.gesture.table import LandmarkTable

ALL = "MIEN_REJECTION_ALL"
LIMITS = (0.015, 0.02, 0.025)
"""Shares of the validation hands that a threshold may cost."""
SEED = 0
PRODUCT = "the network and the parts: taken"
SLOW = ("a network that learns from changed hands, too", "disagreement of the four classifiers")
Floats = NDArray[np.float64]
Features = NDArray[np.float32]
Scores = Mapping[str, Floats]


def main() -> None:
    """Leave out every gesture, and write what each way rejects and what it costs."""
    source = page.real_data() / "gesture"
    everything = bool(os.environ.get(ALL))
    with tempfile.TemporaryDirectory() as folder:
        home, run = Workspace(Path(folder)), tasks.run_config("gesture")
        update = {"source": str(source / "landmarks_iti.csv")}
        run = run.model_copy(update={**update, "params": {"candidates": ["svm"]}})
        pipeline.run(run, home, "bench")
        with runtime.load(home.version("gesture", home.aliases("gesture")["champion"])) as model:
            shown = photos(model, source / "photos")
        ready = processed(run, home)
        tables = {name: data.read_split(ready, name) for name in ("train", "val", "test")}
        left_out = {}
        for label in data.read_labels(ready):
            left_out[label] = _scores(label, tables, everything)
            console.info(f"{label}: {_rejected(left_out[label][PRODUCT], 0.02)}")
    parts = [
        "One gesture after the other is left out of the training. A threshold costs a share of the "
        "validation hands of the others; what it costs of their test hands is *lost*, mean over "
        "all gestures. *Rejected* is the share of the hands of the gesture that was left out.",
        *(_table(left_out, limit) for limit in LIMITS),
        *([] if everything else [f"NOT MEASURED without {ALL}=1: {'; '.join(SLOW)}."]),
        f"## Each gesture, {LIMITS[1]:.1%} of the validation hands",
        _each(left_out),
        f"## Photos of people, at `policy.max_rejected` = {run.policy.max_rejected}",
        shown,
    ]
    page.write("rejection", "Hands that show no gesture", parts)


def _scores(label: str, tables: Mapping[str, LandmarkTable], slow: bool) -> dict[str, Scores]:
    """Of each way, the scores of validation, test and unseen hands: larger is less known."""
    hands, unseen = {}, []
    for name, table in tables.items():
        features, own = landmarks.normalize(table.landmarks), np.array(table.labels) == label
        hands[name] = features[~own]
        unseen.append(features[own])
        if name == "train":
            names = np.array(table.labels)[~own]
            classes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    train, asked = hands.pop("train"), {**hands, "unseen": np.concatenate(unseen)}
    rng = np.random.default_rng(SEED)
    asked["changed"] = changed(asked["val"], rng, 0.5)
    both = rejection_training.fit_rejection(train, classes, SEED)
    ways = _network_and_parts(both, asked)
    ways |= _distances(both, train, classes, asked)
    ways["logistic regression of all these on changed hands"] = _combined(ways)
    if slow:
        more = _second_network(train, classes, both, rng)
        ways[SLOW[0]] = {name: more.novelty(each) for name, each in asked.items()}
        ways[SLOW[1]] = _disagreement(train, classes, asked)
    return ways


def _network_and_parts(both: RejectionModel, asked: Mapping[str, Features]) -> dict[str, Scores]:
    network = replace(both, training_hands=None)
    odds = {name: network.novelty(each) for name, each in asked.items()}
    sums = {name: both.novelty(each) for name, each in asked.items()}
    parts = {name: sums[name] - odds[name] for name in asked}
    return {
        PRODUCT: sums,
        "the network alone: until now": odds,
        "the largest distance of a part alone": parts,
    }


def _distances(
    both: RejectionModel, train: Features, classes: NDArray[np.int64], asked: Mapping[str, Features]
) -> dict[str, Scores]:
    """Mahalanobis distances and neighbours in the features of the network, but for landmarks."""
    shapes = {
        name: standardize(shape_features(each), both.mean, both.scale)[:, 63:]
        for name, each in {"train": train, **asked}.items()
    }
    own = shapes.pop("train")
    shared, single = _mahalanobis(own, classes, shapes)
    nearest = {name: each.argmin(axis=1) for name, each in single.items()}
    limits = [
        np.quantile(single["val"].min(axis=1)[nearest["val"] == each], 0.97)
        if (nearest["val"] == each).any()
        else np.inf
        for each in range(classes.max() + 1)
    ]
    return {
        "Mahalanobis, one shrunk covariance": {n: each.min(axis=1) for n, each in shared.items()},
        "Mahalanobis, half the covariance of each class": {
            name: each.min(axis=1) for name, each in single.items()
        },
        "the same, relative to the 97 % quantile of each class": {
            name: each.min(axis=1) / np.array(limits)[nearest[name]]
            for name, each in single.items()
        },
        "fifth neighbour, relative to the neighbours' own": _neighbours(own, shapes),
    }


def _mahalanobis(
    own: Floats, classes: NDArray[np.int64], shapes: Scores
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Squared distances to each class: with a shared covariance, and with half of the class's."""
    from sklearn.covariance import LedoitWolf

    means = np.stack([own[classes == each].mean(axis=0) for each in range(classes.max() + 1)])
    shared = LedoitWolf().fit(own - means[classes]).covariance_
    inverse = np.linalg.inv(shared)
    result: tuple[dict[str, list[Floats]], dict[str, list[Floats]]] = ({}, {})
    for each, mean in enumerate(means):
        single = np.linalg.inv(0.5 * np.cov(own[classes == each], rowvar=False) + 0.5 * shared)
        for kind, matrix in zip(result, (inverse, single), strict=True):
            for name, rows in shapes.items():
                offset = rows - mean
                kind.setdefault(name, []).append(((offset @ matrix) * offset).sum(axis=1))
    one, other = ({n: np.stack(each, axis=1) for n, each in kind.items()} for kind in result)
    return one, other


def _neighbours(own: Floats, shapes: Scores) -> Scores:
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(own)
    usual = model.kneighbors()[0][:, 4]
    found = {name: model.kneighbors(rows) for name, rows in shapes.items()}
    return {name: far[:, 4] / usual[near].mean(axis=1) for name, (far, near) in found.items()}


def _combined(ways: Mapping[str, Scores]) -> Scores:
    """Learnt from validation hands, and changed ones as hands that show no gesture."""
    from sklearn.linear_model import LogisticRegression

    def stack(name: str) -> Floats:
        columns = [
            each[name] if way == PRODUCT or each["val"].min() < 0 else np.log(each[name] + 1e-3)
            for way, each in ways.items()
        ]
        return np.stack(columns, axis=1)

    val, none = stack("val"), stack("changed")
    mean, scale = val.mean(axis=0), val.std(axis=0) + 1e-9
    rows = (np.concatenate([val, none]) - mean) / scale
    model = LogisticRegression(max_iter=500).fit(rows, np.repeat([0, 1], [len(val), len(none)]))
    names = ("val", "test", "unseen", "changed")
    return {name: model.decision_function((stack(name) - mean) / scale) for name in names}


def _second_network(
    train: Features, classes: NDArray[np.int64], both: RejectionModel, rng: np.random.Generator
) -> RejectionModel:
    """A network of the product, whose hands without a gesture are changed ones, too."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rows, targets = rejection_training.training_hands(train, classes, SEED)
    more = changed(train, rng, 0.6)
    rows = np.concatenate([rows, more])
    targets = np.concatenate([targets, np.full(len(more), classes.max() + 1)])
    network = MLPClassifier(
        (rejection_training.HIDDEN_UNITS,), max_iter=12, batch_size=256, random_state=SEED
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        network.fit(standardize(shape_features(rows), both.mean, both.scale), targets)
    weights, biases = network.coefs_, network.intercepts_
    pairs = (weights[0], weights[1]), (biases[0], biases[1])
    return RejectionModel(both.mean, both.scale, *pairs)


def _disagreement(
    train: Features, classes: NDArray[np.int64], asked: Mapping[str, Features]
) -> Scores:
    """Entropy of the mean of four classifiers, less the mean of their entropies."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    models = [
        SVC(C=10).fit(train, classes),
        LogisticRegression(C=10, max_iter=2000).fit(train, classes),
        RandomForestClassifier(100, random_state=SEED).fit(train, classes),
        LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbose=-1).fit(train, classes),
    ]
    result = {}
    for name, rows in asked.items():
        votes = np.exp(3 * models[0].decision_function(rows))
        shares = [votes / votes.sum(axis=1, keepdims=True)]
        shares += [np.asarray(each.predict_proba(rows)) for each in models[1:]]
        mean = np.mean(shares, axis=0)
        result[name] = _entropy(mean) - np.mean([_entropy(each) for each in shares], axis=0)
    return result


def _entropy(shares: Floats) -> Floats:
    result: Floats = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
    return result


def _rejected(scores: Scores, limit: float) -> tuple[float, float]:
    """Shares of the unseen hands and of the test hands above the threshold."""
    threshold = np.quantile(scores["val"], 1 - limit)
    return float((scores["unseen"] > threshold).mean()), float((scores["test"] > threshold).mean())


def _table(left_out: Mapping[str, Mapping[str, Scores]], limit: float) -> str:
    rows = []
    for way in next(iter(left_out.values())):
        rejected, lost = np.array([_rejected(each[way], limit) for each in left_out.values()]).T
        columns = {"rejected": float(rejected.mean()), "worst gesture": float(rejected.min())}
        rows.append({f"threshold at {limit:.1%}": way, **columns, "lost": float(lost.mean())})
    return page.table(sorted(rows, key=lambda row: -float(str(row["rejected"]))))


def _each(left_out: Mapping[str, Mapping[str, Scores]]) -> str:
    ways = {"rejected": PRODUCT, "by the network alone": "the network alone: until now"}
    return page.table(
        [
            {
                "left out": label,
                "hands": len(scores[PRODUCT]["unseen"]),
                **{name: _rejected(scores[way], LIMITS[1])[0] for name, way in ways.items()},
                "lost of the others (test)": _rejected(scores[PRODUCT], LIMITS[1])[1],
            }
            for label, scores in left_out.items()
        ]
    )


if __name__ == "__main__":
    main()
