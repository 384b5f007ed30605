"""Four candidates: the same bytes twice, and an exported form that answers like its original."""

import csv
import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.config import parse
from mien.errors import ConfigError, TrainingError
from mien.model import bundle, runtime
from mien.model.runtime import Session
from mien.tasks.gesture import data, landmarks
from mien.tasks.gesture.outlier_model import fit_outlier_model
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.predict import class_scores, round_scores
from mien.tasks.gesture.sample import write_sample
from mien.tasks.gesture.train import TrainedClassifier, fit, train_classifier, verify_export

PARAMS = Params(accept_images=False, trees=10, boosting_rounds=10)
CANDIDATES = Params().candidates
SLOWER = ("random_forest", "svm")


def ignore(step: int, total: int, metrics: Any) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared sample data, 40 rows a label."""
    raw, ready, cache = (tmp_path_factory.mktemp(name) for name in ("raw", "ready", "cache"))
    write_sample(raw, 0, per_label=40)
    data.prepare(raw, ready, PARAMS, cache)
    return ready


def test_the_listed_candidates_are_the_four_by_default() -> None:
    """Another one is refused, and so is a duplicate."""
    assert set(CANDIDATES) == {"random_forest", "svm", "logistic_regression", "lightgbm"}
    for wrong in (["forest"], ["svm", "svm"], []):
        with pytest.raises(ConfigError):
            parse(Params, {"candidates": wrong}, "params")


@pytest.mark.parametrize(
    "candidate",
    [pytest.param(name, marks=[pytest.mark.long] * (name in SLOWER)) for name in CANDIDATES],
)
def test_the_same_data_and_seed_give_the_same_bytes(
    candidate: str, ready: Path, tmp_path: Path
) -> None:
    """And these answer like the original, on rows that it never saw, through the product's path."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    fits = [fit(candidate, ready, tmp_path / name, PARAMS, 3, ignore) for name in ("one", "two")]
    one, two = (tmp_path / name / "model.onnx" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert fits[0] == fits[1]
    assert fits[0].lineage["export_parity"]["label_mismatches"] == 0
    test = data.read_split(ready, "test")
    trained = train_classifier(candidate, ready, PARAMS, 3)
    expected = trained.predict_proba(test.landmarks)
    session = Session(one)
    found = class_scores(session.run, test.landmarks)
    assert (found.argmax(axis=1) == round_scores(expected).argmax(axis=1)).all()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-3)
    right = np.array(HAGRID_LABELS)[found.argmax(axis=1)] == np.array(test.labels)
    assert right.mean() > 0.6
    assert session.outputs == (session.outputs[0],), "probabilities are the only output"
    assert found.shape == (len(test.labels), 18)


def test_every_fold_of_every_grid_point_is_recorded(ready: Path, tmp_path: Path) -> None:
    """Steps count from 1 to the announced total; the history has the same numbers."""
    recorded: list[tuple[int, int, Any]] = []
    done = fit("svm", ready, tmp_path, PARAMS, 0, lambda *each: recorded.append(each))
    assert [step for step, _, _ in recorded] == list(range(1, 10))
    assert {total for _, total, _ in recorded} == {9}
    assert [metrics for _, _, metrics in recorded] == list(done.history)
    assert done.lineage["hyperparameters"]["C"] in (3.0, 10.0, 30.0)
    assert set(done.preprocessing) == {"preprocessing_version", "outlier_model", "rejection"}
    assert done.preprocessing["preprocessing_version"] == landmarks.NORMALIZATION_VERSION
    training = landmarks.normalize(data.read_split(ready, "train").landmarks)
    assert done.preprocessing["outlier_model"] == fit_outlier_model(training).as_json()
    assert done.preprocessing == json.loads(json.dumps(done.preprocessing)), "plain JSON values"


def test_another_normalization_in_serving_is_detected(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of published projects: serving scales the hand by another joint."""
    fit("logistic_regression", ready, tmp_path, PARAMS, 0, ignore)
    trained = train_classifier("logistic_regression", ready, PARAMS, 0)
    points = data.read_split(ready, "val").landmarks
    session = Session(tmp_path / "model.onnx")
    assert verify_export(trained, session.run, points)["rows"] == len(points)
    original_normalize = landmarks.normalize

    def other(hands: Any) -> Any:
        features = original_normalize(hands).reshape(-1, 21, 3)
        size = np.linalg.norm(features[:, 12:13, :2], axis=2, keepdims=True)
        return (features / size).reshape(-1, 63)

    serving = importlib.import_module("mien.tasks.gesture.predict")
    fake = type("Landmarks", (), {"normalize": staticmethod(other)})
    monkeypatch.setattr(serving, "landmarks", fake)
    with pytest.raises(TrainingError, match="expected the labels of the trained one"):
        verify_export(trained, session.run, points)


def test_a_wrong_probability_alone_is_detected(ready: Path) -> None:
    """Labels may agree while probabilities differ."""
    points = data.read_split(ready, "val").landmarks
    trained = TrainedClassifier(_Constant(0.5), HAGRID_LABELS, tuple(range(18)), {}, (), False)

    def run(_: Any) -> list[Any]:
        return [_Constant(0.502).predict_proba(points)]

    with pytest.raises(TrainingError, match=r"found 0 other labels and differences up to 0\.002"):
        verify_export(trained, run, points)


class _Constant:
    """Gives one probability to the first label and none to the others."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def predict_proba(self, features: Any) -> Any:
        scores = np.zeros((len(features), 18))
        scores[:, 0] = self.probability
        return scores


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_labels_without_rows_get_no_probability(
    candidate: str, ready: Path, tmp_path: Path
) -> None:
    """Five gestures to train on, and a sixth to validate on: scores of all six."""
    kept = ("fist", "like", "palm", "rock", "two_up")
    small = subset(ready, tmp_path / "ready", train=kept, val=(*kept, "one"), test=kept)
    fitted = fit(candidate, small, tmp_path, PARAMS, 0, ignore)
    assert fitted.labels == ("fist", "like", "one", "palm", "rock", "two_up")
    test = data.read_split(small, "test")
    scores = class_scores(Session(tmp_path / "model.onnx").run, test.landmarks)
    assert scores.shape == (len(test.labels), 6)
    assert not scores[:, 2].any()
    assert (np.array(fitted.labels)[scores.argmax(axis=1)] == np.array(test.labels)).mean() > 0.8


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_two_labels_of_one_s_own_are_enough(candidate: str, ready: Path, tmp_path: Path) -> None:
    """Libraries write classifiers of two classes in a form of their own."""
    kept = ("fist", "palm")
    names = {"fist": "wave", "palm": "thumb"}
    small = subset(ready, tmp_path / "ready", names, train=kept, val=kept, test=kept)
    fitted = fit(candidate, small, tmp_path, PARAMS, 0, ignore)
    assert fitted.labels == ("thumb", "wave")
    test = data.read_split(small, "test")
    scores = class_scores(Session(tmp_path / "model.onnx").run, test.landmarks)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
    assert (np.array(fitted.labels)[scores.argmax(axis=1)] == np.array(test.labels)).mean() > 0.9


def subset(
    ready: Path, out: Path, names: Mapping[str, str] | None = None, **kept: Sequence[str]
) -> Path:
    """Prepared data with some labels of each split, under other names."""
    out.mkdir()
    for split, labels in kept.items():
        lines = (ready / f"{split}.csv").read_text(encoding="utf-8").splitlines()
        rows = [line.split(",") for line in lines[1:]]
        chosen = [row for row in rows if row[63] in labels]
        for row in chosen:
            row[63] = (names or {}).get(row[63], row[63])
        text = "\n".join([lines[0], *(",".join(row) for row in chosen)])
        (out / f"{split}.csv").write_text(text + "\n", encoding="utf-8")
    return out


def test_rows_with_nan_are_not_trained_on(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forest takes them, and its exported form answers otherwise."""
    features = np.full((len(data.read_split(ready, "train").labels), 63), np.nan, np.float32)
    monkeypatch.setattr(landmarks, "normalize", lambda points: features)
    with pytest.raises(TrainingError, match="expected finite numbers, found NaN"):
        train_classifier("random_forest", ready, PARAMS, 0)


def test_too_few_rows_of_a_label_are_named(ready: Path, tmp_path: Path) -> None:
    """Cross-validation needs a row of every label in every fold."""
    lines = (ready / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    mute = [line for line in lines if line.split(",")[63] == "mute"]
    rest = [line for line in lines if line not in mute]
    (tmp_path / "train.csv").write_text("".join(rest + mute[:2]), encoding="utf-8")
    with pytest.raises(TrainingError, match=r"params\.cv_folds.*found mute: 2"):
        train_classifier("svm", tmp_path, PARAMS, 0)


def test_folds_are_grouped_by_person_if_users_are_given(tmp_path: Path) -> None:
    """A validation fold must not contain a person of its training folds."""
    write_sample(tmp_path / "raw", 0, per_label=40)
    path = tmp_path / "raw" / "landmarks.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join([lines[0] + ",user", *(f"{line},u{n % 30}" for n, line in enumerate(lines[1:]))]),
        encoding="utf-8",
    )
    (tmp_path / "ready").mkdir()
    data.prepare(tmp_path / "raw", tmp_path / "ready", PARAMS, tmp_path / "cache")
    assert train_classifier("logistic_regression", tmp_path / "ready", PARAMS, 0).grouped_by_user


def test_fewer_people_than_folds_are_no_obstacle(ready: Path, tmp_path: Path) -> None:
    """Rows of a single person, such as one session before a camera, are divided one by one."""
    with (ready / "train.csv").open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    user = rows[0].index("user")
    for row in rows[1:]:
        row[user] = "session 1"
    with (tmp_path / "train.csv").open("w", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    shutil.copy(ready / "val.csv", tmp_path)
    assert not train_classifier("logistic_regression", tmp_path, PARAMS, 0).grouped_by_user


@pytest.mark.long
def test_champions_of_real_hands_generalize_to_other_people(
    real_data: Path, tmp_path: Path
) -> None:
    """Trained on one team's table, at least 96 % right on photos of another, through a bundle."""
    tables = {}
    for name in ("iti", "photos"):
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "ready").mkdir()
        source = real_data / "gesture" / f"landmarks_{name}.csv"
        (tmp_path / name / "raw" / source.name).write_bytes(source.read_bytes())
        data.prepare(
            tmp_path / name / "raw", tmp_path / name / "ready", Params(), tmp_path / "cache"
        )
        tables[name] = tmp_path / name / "ready"
    done = fit("svm", tables["iti"], tmp_path, PARAMS, 0, ignore)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "model.onnx").rename(tmp_path / "bundle" / "model.onnx")
    manifest = bundle.describe("gesture", HAGRID_LABELS, "svm", done.preprocessing)
    bundle.write(tmp_path / "bundle", manifest)
    right = total = 0
    with runtime.load(tmp_path / "bundle") as model:
        for split in ("train", "val", "test"):
            rows = data.read_split(tables["photos"], split)
            predicted = np.array(HAGRID_LABELS)[
                class_scores(model.run, rows.landmarks).argmax(axis=1)
            ]
            right, total = right + int((predicted == rows.labels).sum()), total + len(rows.labels)
    assert right / total >= 0.96
