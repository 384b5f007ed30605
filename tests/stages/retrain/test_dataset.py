"""Reviewed samples become training data or a test, and nothing of the champion's data moves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reviewed import KEY, keep_faces, keep_hands, say

from mien.config import RunConfig
from mien.errors import DataError
from mien.observability.review import store as files
from mien.observability.review.sample import Reviewed
from mien.observability.review.store import ReviewStore
from mien.stages import Run, retrain
from mien.stages.retrain.dataset import is_for_test
from mien.storage.versions import Version
from mien.storage.workspace import Workspace
from mien.task import Inspection, RepairPlan
from mien.tasks.gesture import landmarks, table
from mien.tasks.gesture.params import Params
from mien.tasks.gesture.reviewed import add_reviewed
from mien.tasks.gesture.sample import landmark_rows

ROWS = 8
"""Of each label in the champion's data, which have no column of splits."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    workspace = Workspace(tmp_path / "home")
    return Run.resolve(RunConfig(name="run", task="gesture"), workspace)


@pytest.fixture
def samples(run: Run) -> ReviewStore:
    return ReviewStore(run.workspace.review, KEY)


@pytest.fixture
def base(run: Run, tmp_path: Path) -> Version:
    """A table of drawn hands."""
    hands, labels = landmark_rows(ROWS, 3)
    write_table(tmp_path / "hands.csv", hands, labels)
    return stored(run, tmp_path / "hands.csv")


def write_table(path: Path, hands: np.ndarray, labels: list[str]) -> None:
    lines = [",".join([*table.COLUMNS, "label"])]
    lines += [
        ",".join([*map(repr, hand.ravel().tolist()), label])
        for hand, label in zip(hands, labels, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def stored(run: Run, source: Path) -> Version:
    from mien.stages.data import sources as opened

    with opened.open_source(str(source), run.cache) as each:
        return run.store.add(each.items, each.name)


def inspected(run: Run, version: Version, folder: Path) -> Inspection:
    folder.mkdir()
    run.store.write(version, folder)
    return run.task.data.inspect(folder, run.data_params, run.cache)


def by_trace_id(inspection: Inspection, trace_ids: list[str]) -> dict[str, tuple[str, str | None]]:
    """Label and split of the reviewed samples."""
    return {
        trace_id: (each.labels[0], each.split)
        for each in inspection.samples
        for trace_id in trace_ids
        if trace_id in each.name
    }


def test_splits_stay_and_reviewed_samples_are_in_train_or_in_their_test(
    run: Run, samples: ReviewStore, base: Version, tmp_path: Path
) -> None:
    """Never in both, never in the old val or test; the same ones in the test in every training."""
    new, labels = landmark_rows(4, 11)
    trace_ids = keep_hands(samples, new, labels)
    done = retrain.add_reviewed(run, base, samples)
    before = inspected(run, base, tmp_path / "before")
    after = inspected(run, done.version, tmp_path / "after")
    added = by_trace_id(after, trace_ids)
    tested = {each.sample.trace_id for each in done.test}
    assert {split for _, split in added.values()} == {"train"}
    assert added.keys() == {each.sample.trace_id for each in done.train}
    assert tested == set(trace_ids) - added.keys()
    assert 0.1 < len(tested) / len(trace_ids) < 0.4
    assert [added[each][0] for each in trace_ids if each in added] == [
        label for each, label in zip(trace_ids, labels, strict=True) if each in added
    ]
    old = {(each.digest, each.labels, each.split) for each in before.samples}
    kept = {(each.digest, each.labels, each.split) for each in after.samples}
    assert old <= kept
    assert len(after.samples) == len(before.samples) + len(added)
    assert run.store.latest_root == ""
    again = retrain.add_reviewed(run, base, samples)
    assert again.version == done.version
    later = retrain.add_reviewed(run, done.version, samples)
    assert {each.sample.trace_id for each in later.test} == tested
    assert (later.version.root, later.removed) == (done.version.root, 0)


def test_copies_of_what_is_known_give_nothing_away(
    run: Run, samples: ReviewStore, base: Version, tmp_path: Path
) -> None:
    """A reviewed sample that is in the old test is no training data, one of train is no test; the
    copies of one input come to one side."""
    old, labels = landmark_rows(ROWS, 3)
    keep_hands(samples, old, labels)
    new, more = landmark_rows(2, 11)
    pairs = [keep_hands(samples, new, more, first) for first in (1000, 2000)]
    done = retrain.add_reviewed(run, base, samples)
    test = {each.sample.trace_id for each in done.test}
    train = {each.sample.trace_id for each in done.train}
    assert [each in test for each in pairs[0]] == [each in test for each in pairs[1]]
    assert test
    assert done.left_out.keys() == {
        "equal to a sample of val or test",
        "for the test, and equal to a sample of train",
    }
    splits: dict[str, set[str | None]] = {}
    for each in inspected(run, done.version, tmp_path / "after").samples:
        splits.setdefault(each.digest, set()).add(each.split)
    assert all(len(each) == 1 for each in splits.values())
    assert not test & train


def test_what_was_forgotten_or_corrected_since_is_not_learned_again(
    run: Run, samples: ReviewStore, base: Version, tmp_path: Path
) -> None:
    """Also where the champion was trained on it: the next version is without it."""
    new, labels = landmark_rows(1, 11)
    trace_ids = keep_hands(samples, new, labels)
    first = retrain.add_reviewed(run, base, samples)
    gone, changed, disputed = [each.sample.trace_id for each in first.train][:3]
    files.forget(samples.folder, gone)
    say(samples, "gesture", changed, "mute")
    say(samples, "gesture", disputed, "stop", who="bob")
    second = retrain.add_reviewed(run, first.version, samples)
    added = by_trace_id(inspected(run, second.version, tmp_path / "after"), trace_ids)
    assert added[changed] == ("mute", "train")
    assert {gone, disputed} & added.keys() == set()
    assert second.removed == 2


def test_what_cannot_be_trained_on_is_said(run: Run, samples: ReviewStore, base: Version) -> None:
    """No labels at all, and labels of nothing alone."""
    with pytest.raises(DataError, match="label on which all reviewers agree, found none"):
        retrain.add_reviewed(run, base, samples)
    keep_hands(samples, landmark_rows(1, 11)[0][:2], [None, None])
    with pytest.raises(DataError, match=r"found none: 0 are in the test .*; 2 of a form that"):
        retrain.add_reviewed(run, base, samples)


@pytest.mark.parametrize("convention", ["auto", "pixels", "normalized", "wrist_relative"])
def test_hands_are_read_in_the_convention_of_the_config(
    samples: ReviewStore, tmp_path: Path, convention: str
) -> None:
    """In pixels, and relative to the wrist, in one set: each is read as it was answered."""
    hands, labels = landmark_rows(1, 11)
    mixed = hands.copy()
    mixed[::2] -= mixed[::2, :1]
    keep_hands(samples, mixed, labels)
    params = Params(convention=convention)  # type: ignore[arg-type]
    raw = tmp_path / "raw"
    raw.mkdir()
    write_table(raw / "hands.csv", hands, labels)
    answers = {each.trace_id: each for each in samples.read_all("gesture")}
    reviewed = [Reviewed(each, label) for each, label in zip(answers.values(), labels, strict=True)]
    add_reviewed(raw, reviewed, params)
    (raw / "hands.csv").unlink()
    inspection = run_inspection(raw, params, tmp_path)
    expected = dict(zip(answers, landmarks.normalize(hands), strict=True))
    assert len(inspection.samples) == len(labels)
    for each in inspection.samples:
        trace_id = each.name.removeprefix("reviewed:")
        np.testing.assert_allclose(each.values, expected[trace_id], atol=1e-3)


def run_inspection(raw: Path, params: Params, folder: Path) -> Inspection:
    from mien.tasks.gesture.inspection import inspect

    return inspect(raw, params, folder / "cache")


def test_crops_come_into_the_train_split_of_faces(
    drawn_samples: Callable[[str], Path], tmp_path: Path
) -> None:
    """With the box of the face; nothing to be seen is a picture without one."""
    from mien.tasks.emotion import TASK
    from mien.tasks.emotion.reviewed import add_reviewed as add_crops
    from mien.tasks.emotion.sample import write_sample

    source, raw = tmp_path / "drawn", tmp_path / "raw"
    source.mkdir()
    write_sample(source, 0, {"train": 9, "valid": 9, "test": 9})
    params = TASK.training.Params()
    TASK.data.repair(source, raw, RepairPlan(repair=False), params, tmp_path / "cache")
    store = ReviewStore(tmp_path / "review", KEY)
    trace_ids = keep_faces(store, ["anger", "happy", None])
    labels = ("anger", "happy", None)
    kept = [Reviewed(*each) for each in zip(store.read_all("emotion"), labels, strict=True)]
    add_crops(raw, kept, params)
    added = {
        each.name: (each.labels, each.box)
        for each in TASK.data.inspect(raw, params, tmp_path / "cache").samples
        if each.name.partition("/")[2].removesuffix(".png") in trace_ids
    }
    assert [each[0] for each in added.values()] == [("anger",), ("happy",), ()]
    assert all(name.startswith("train/") for name in added)


def test_a_quarter_is_for_the_test() -> None:
    """By the digest alone."""
    digests = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{'0' * 48}" for number in range(4000)]
    assert sum(map(is_for_test, digests)) == pytest.approx(1000, abs=100)
