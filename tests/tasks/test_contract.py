"""The contract of `mien.task`, held against every folder under `tasks/` by one suite."""

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
from PIL import Image

from mien import images, pipeline, tasks
from mien.config import RunConfig
from mien.errors import ConfigError, DataError
from mien.model import runtime
from mien.observability.drift import NO_LABEL
from mien.storage.files import sha256_file
from mien.storage.workspace import Workspace
from mien.task import SPLITS, DataReport, Prediction, Request, Task

pytestmark = [
    pytest.mark.parametrize(
        "task", [tasks.load(name) for name in tasks.names()], ids=tasks.names()
    ),
    pytest.mark.xdist_group("contract"),
]

OUTCOMES = {"ok", "no_face", "no_hand", "unsure"}


@pytest.fixture(scope="module")
def prepared(
    few_samples: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, DataReport]]:
    """The prepared sample data of every task, with the report."""
    results = {}
    for name in tasks.names():
        task = tasks.load(name)
        ready, cache = (tmp_path_factory.mktemp(f"{name}-{kind}") for kind in ("ready", "cache"))
        params = task.training.Params()
        results[name] = ready, task.data.prepare(few_samples(name), ready, params, cache)
    return results


@pytest.fixture
def champion(task: Task[Any], request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle of the task. That of emotions is not trained: a training takes a minute."""
    if task.name == "gesture":
        return small.champion(request.getfixturevalue("small_gesture"), task.name)
    if task.name == "emotion":
        return request.getfixturevalue("drawn_detector")
    run, workspace = RunConfig(name="drawn", task=task.name, source="sample"), Workspace(tmp_path)
    pipeline.run(run, workspace, force="test")
    return small.champion(workspace, task.name)


def test_it_is_named_by_its_folder(task: Task[Any]) -> None:
    """The folder's name is the route, the key of the answer and the name of the command."""
    assert task.name in tasks.names()
    assert task.summary


def test_labels_are_distinct_and_sorted(task: Task[Any]) -> None:
    """Their order is fixed for ever: models of years ago must mean the same by it."""
    assert len(set(task.default_labels)) == len(task.default_labels) > 1
    assert list(task.default_labels) == sorted(task.default_labels)
    assert NO_LABEL not in task.default_labels, "the word for nothing found"


def test_params_have_defaults_and_refuse_unknown_keys(task: Task[Any]) -> None:
    """A config may leave everything out, and cannot misspell anything."""
    from mien import config

    assert config.parse(task.training.Params, {}, "params") == task.training.Params()
    with pytest.raises(ConfigError, match="no_such_key"):
        config.parse(task.training.Params, {"no_such_key": 1}, "params")
    assert set(task.data.param_names) <= set(task.training.Params.model_fields)


def test_candidates_are_named_once(task: Task[Any]) -> None:
    """There is at least one, and no name stands twice."""
    names = task.training.candidates(task.training.Params())
    assert names
    assert len(set(names)) == len(names)


@pytest.fixture
def _few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face of each label in each split: a picture does not depend on how many are drawn."""
    if "emotion" in tasks.names():
        counts = dict.fromkeys(("train", "valid", "test"), 8)
        monkeypatch.setattr("mien.tasks.emotion.sample.COUNTS", counts)


@pytest.mark.usefixtures("_few_faces")
def test_the_sample_is_the_same_every_time(task: Task[Any], tmp_path: Path) -> None:
    """One seed, the same files to the byte; another seed, others."""
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        folder.mkdir()
        task.data.write_sample(folder, seed)
    trees = []
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        trees.append({path.relative_to(folder): sha256_file(path) for path in files})
    assert trees[0] == trees[1] != trees[2]


def test_preparing_reports_every_split_and_counts_every_example(
    task: Task[Any], prepared: dict[str, tuple[Path, DataReport]]
) -> None:
    """The report's counts are those of the examples that evaluation gets to see."""
    ready, report = prepared[task.name]
    assert list(report.counts) == list(SPLITS)
    for split in SPLITS:
        found = [example.label for example in task.data.examples(ready, split)]
        counted = {label: found.count(label) for label in task.default_labels if label in found}
        assert {k: v for k, v in report.counts[split].items() if v} == counted
        assert set(counted) == set(task.default_labels)
    assert report.skipped == {}


def test_checks_are_documented_and_see_the_sample(
    task: Task[Any], few_samples: Callable[[str], Path], tmp_path: Path
) -> None:
    """Slugs are unique and in snake case, and no issue is recorded without a check."""
    slugs = [check.slug for check in task.data.checks]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", slug) for slug in slugs)
    assert all(check.description.endswith(".") for check in task.data.checks)
    params = task.training.Params()
    inspection = task.data.inspect(few_samples(task.name), params, tmp_path / "cache")
    assert set(inspection.issues) <= set(slugs)
    for check in task.data.checks:
        issues = check.find(inspection)
        assert len(issues.names) <= check.limit * issues.total, check.slug


def test_examples_come_in_the_same_order(
    task: Task[Any], prepared: dict[str, tuple[Path, DataReport]]
) -> None:
    """Two readings of a split name the same examples in the same order."""
    ready, _ = prepared[task.name]
    one, two = ([each.name for each in task.data.examples(ready, "test")] for _ in range(2))
    assert one == two
    assert len(set(one)) == len(one)


def test_the_uses_of_a_task_are_stated(task: Task[Any]) -> None:
    """They fill two sections of the model card, without which no model is registered."""
    assert task.intended_use.endswith(".")
    assert task.forbidden_use.endswith(".")


def test_an_empty_source_is_a_data_error(task: Task[Any], tmp_path: Path) -> None:
    """A folder without anything that the task knows ends in a message."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "readme.md").write_text("nothing here")
    (tmp_path / "ready").mkdir()
    with pytest.raises(DataError):
        task.data.prepare(
            tmp_path / "raw", tmp_path / "ready", task.training.Params(), tmp_path / "cache"
        )


def test_the_drawn_picture_survives_a_round_trip(task: Task[Any]) -> None:
    """It encodes to a file that the service would take, the same every time."""
    streams = []
    for _ in range(2):
        stream = io.BytesIO()
        task.inference.sample_picture().save(stream, "PNG")
        streams.append(stream.getvalue())
    assert streams[0] == streams[1]
    assert images.decode(streams[0]).ndim == 3


def test_a_champion_answers_for_its_own_examples(
    task: Task[Any], prepared: dict[str, tuple[Path, DataReport]], champion: Path
) -> None:
    """Predictions hold what the contract says, for the picture and for every test example."""
    ready, _ = prepared[task.name]
    requests = [example.request for example in task.data.examples(ready, "test")]
    requests.append(Request(image=np.asarray(task.inference.sample_picture().convert("RGB"))))
    with runtime.load(champion) as model:
        predictions = [task.inference.predict(request, model) for request in requests]
        if task.inference.batching:
            for alone, other in zip(
                predictions, task.inference.predict_many(requests, model), strict=True
            ):
                assert_alike(alone, other)
    for prediction in predictions:
        assert prediction.outcome in OUTCOMES
        assert bool(prediction.detections) == (prediction.outcome in {"ok", "unsure"})
        assert all(isinstance(value, float) for value in prediction.input_stats.values())
        assert all(math.isfinite(value) for value in prediction.input_stats.values())
        for detection in prediction.detections:
            assert set(detection.scores) == set(task.default_labels)
            assert detection.label == max(
                detection.scores, key=lambda label: detection.scores[label]
            )
            assert detection.confidence == pytest.approx(detection.scores[detection.label])
            assert 0 <= detection.confidence <= 1


def assert_alike(alone: Prediction, together: Prediction) -> None:
    """But for the last digits: a network computes eight pictures in another order than one."""
    assert alone.outcome == together.outcome
    assert alone.input_stats == pytest.approx(together.input_stats, abs=1e-4)
    for one, other in zip(alone.detections, together.detections, strict=True):
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
        assert one.box == (other.box and pytest.approx(other.box, abs=0.02))
        assert one.extra == other.extra


def large(task: Task[Any], kind: str) -> bytes:
    """The drawn picture as a file with a little more pixels than are read, of odd sides."""
    drawn = task.inference.sample_picture().convert("RGB")
    times = (2 * (task.inference.min_side or 500) + 3) / min(drawn.size)
    size = (round(drawn.width * times), round(drawn.height * times))
    stream = io.BytesIO()
    drawn.resize(size, Image.Resampling.LANCZOS).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_champion_answers_a_large_picture_as_if_it_had_been_read_whole(
    task: Task[Any], champion: Path, kind: str
) -> None:
    """The same label, in the same place of the picture as it was sent, with the same measures."""
    data = large(task, kind)
    asked, whole = task.inference.read(data), Request(image=images.decode(data))
    assert asked.image is not None
    assert whole.image is not None
    assert asked.size == whole.size
    if task.inference.min_side is not None:
        assert task.inference.min_side <= min(asked.image.shape[:2]) <= 2 * task.inference.min_side
    with runtime.load(champion) as model:
        one, two = (task.inference.predict(request, model) for request in (asked, whole))
    assert one.best is not None
    assert two.best is not None
    assert one.best.label == two.best.label
    assert one.best.confidence == pytest.approx(two.best.confidence, abs=0.05)
    if one.best.box is not None and two.best.box is not None:
        assert one.best.box == pytest.approx(two.best.box, abs=0.02 * max(asked.size))
    for name in {"brightness", "subject_size"} & set(two.input_stats):
        assert one.input_stats[name] == pytest.approx(two.input_stats[name], rel=0.05)


def test_an_empty_picture_is_no_error(
    task: Task[Any], drawn_detector: Path, fitted_gesture: Path
) -> None:
    """Where there is nothing to see, the outcome says so."""
    grey = np.full((120, 160, 3), 127, np.uint8)
    bundles = {"gesture": fitted_gesture, "emotion": drawn_detector}
    if task.name not in bundles:
        pytest.skip(f"no small model of {task.name} is made for tests")
    with runtime.load(bundles[task.name]) as model:
        for pixels in (grey, grey[:1, :1]):
            prediction = task.inference.predict(Request(image=pixels), model)
            assert prediction.best is None
            assert prediction.outcome.startswith("no_")
