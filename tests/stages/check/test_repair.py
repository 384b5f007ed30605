"""Promises of `--fix`: what it changes is safe, reported, a new version, and enough."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import pipeline
from mien.config import CheckConfig
from mien.errors import DataCheckError, DataError
from mien.stages import Run
from mien.stages import check as stage
from mien.stages.check import report
from mien.stages.check.repair import plan_repairs
from mien.stages.data import data, versions
from mien.storage.versions import OPEN, Store
from mien.storage.workspace import DATA_QUALITY
from mien.task import Sample, Split

from . import sets
from .sets import sample

OFF = {name: CheckConfig(level="off") for name in ("no_subject", "multiple_subjects")}


def some(split: Split, number: int = 8, person: str = "") -> list[Sample]:
    """Samples of which nothing is to be said."""
    return [sample(f"{split} {place}", split=split, person=person) for place in range(number)]


MANY = [*some("train"), *some("val"), *some("test")]


def twins(*changes: tuple[str, dict[str, Any]]) -> list[Sample]:
    """`MANY`, and copies of one content by name."""
    return [*MANY, *(replace(sample(name, digest="same"), **each) for name, each in changes)]


@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (("train", "train"), "0"),
        (("train", "test"), "1"),
        (("train", "val"), "1"),
        (("test", "train", "val"), "0"),
        (("val", "test"), "1"),
    ],
)
def test_one_of_each_copy_stays_where_it_is_measured(splits: Sequence[Split], kept: str) -> None:
    """Test before val before train; the first of those in one split."""
    copies = twins(*((str(place), {"split": split}) for place, split in enumerate(splits)))
    names = [str(place) for place in range(len(splits))]
    intent = plan_repairs(copies, [names], [names])
    assert intent.plan.drop == set(names) - {kept}
    assert intent.plan.move == {}
    assert intent.summary == (f"{len(names) - 1} duplicates dropped",)


def test_copies_that_contradict_each_other_all_go() -> None:
    """Nobody knows which label is right, so none may teach or judge."""
    copies = twins(
        ("a", {"labels": ("left",)}), ("b", {"labels": ("right",), "split": "test"}),
        ("c", {"labels": ("left",)}),
    )  # fmt: skip
    intent = plan_repairs(copies, [["a", "b", "c"]], [["a", "b", "c"]])
    assert intent.plan.drop == {"a", "b", "c"}
    assert intent.summary == ("3 duplicates with conflicting labels dropped",)


def test_the_order_of_labels_is_no_contradiction() -> None:
    """Two subjects of one picture, in another order."""
    copies = twins(("a", {"labels": ("left", "right")}), ("b", {"labels": ("right", "left")}))
    assert plan_repairs(copies, [["a", "b"]], []).plan.drop == {"b"}


@pytest.mark.parametrize(
    ("splits", "target"),
    [
        (("train", "test"), "train"),
        (("val", "test", "test"), "test"),
        (("train", "val", "val"), "val"),
        (("val", "test"), "val"),
    ],
)
def test_near_copies_end_in_one_split(splits: Sequence[Split], target: Split) -> None:
    """The one that has most of them; of equals train. Nothing is lost."""
    near = [sample(str(place), split=split) for place, split in enumerate(splits)]
    names = [each.name for each in near]
    intent = plan_repairs([*MANY, *near], [], [names])
    assert intent.plan.drop == set()
    ends = {each.name: intent.plan.move.get(each.name, each.split) for each in near}
    assert set(ends.values()) == {target}
    assert "moved to another split" in intent.summary[0]


def test_a_person_ends_in_one_split() -> None:
    """With all near copies of each of their pictures; who is not known stays."""
    people = [
        sample("a1", split="train", person="a"), sample("a2", split="train", person="a"),
        sample("a3", split="val", person="a"), sample("copy of a3", split="test"),
    ]  # fmt: skip
    intent = plan_repairs([*MANY, *people], [], [["a3", "copy of a3"]])
    assert intent.plan.move == {"a3": "train", "copy of a3": "train"}


def test_a_group_that_would_empty_a_split_stays_and_is_told() -> None:
    """A chain of near copies must not carry half of a split away."""
    held = [*some("train", 8), *some("val", 4)]
    chain = [each.name for each in held[:5]] + [each.name for each in held[8:11]]
    intent = plan_repairs(held, [], [chain])
    assert intent.plan.move == {}
    assert intent.unresolved == 1


def test_splits_that_are_the_same_cannot_be_mended() -> None:
    """Dropping a copy of everything would leave nothing to learn from."""
    held = [
        sample(f"{split} {place}", split=split, digest=str(place))
        for split in ("train", "val")
        for place in range(4)
    ]
    pairs = [[f"train {place}", f"val {place}"] for place in range(4)]
    with pytest.raises(DataError, match=r"4 of the 4 contents of train.*Split the data again"):
        plan_repairs(held, pairs, pairs)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "val", "test"]),
            st.integers(0, 12),
            st.integers(0, 6),
            st.sampled_from(["", "", "a", "b"]),
        ),
        max_size=30,
    )
)
def test_after_a_fix_nothing_spans_splits(drawn: list[tuple[Split, int, int, str]]) -> None:
    """Whatever the copies look like, none of a content, a likeness or a person is on both sides,
    but of groups that were reported; and a second look finds nothing to mend."""
    held = [
        *MANY, *MANY_MORE,
        *(
            replace(sample(str(place), split=split, digest=str(content)), person=person)
            for place, (split, content, _, person) in enumerate(drawn)
        ),
    ]  # fmt: skip
    likeness = {str(place): look for place, (_, _, look, _) in enumerate(drawn)}
    intent = plan_repairs(held, *clustered(held, likeness))
    after = [
        replace(each, split=intent.plan.move.get(each.name, each.split))
        for each in held
        if each.name not in intent.plan.drop
    ]
    again = plan_repairs(after, *clustered(after, likeness))
    assert again.plan.drop == set()
    if not intent.unresolved:
        assert again.plan.move == {}
        for person in ("a", "b"):
            assert len({each.split for each in after if each.person == person}) <= 1
    assert len({each.digest for each in after}) == len(after)


MANY_MORE = [
    sample(f"{split} more {place}", split=split)
    for split in ("train", "val", "test")
    for place in range(60)
]


def clustered(
    held: Sequence[Sample], likeness: dict[str, int]
) -> tuple[list[list[str]], list[list[str]]]:
    """Names of samples with one content, and of those with one look."""
    exact: dict[str, list[str]] = {}
    near: dict[int, list[str]] = {}
    for each in held:
        exact.setdefault(each.digest, []).append(each.name)
        if each.name in likeness:
            near.setdefault(likeness[each.name], []).append(each.name)
    found = [[each for each in homes if len(each) > 1] for homes in (exact.values(), near.values())]
    return found[0], found[1]


def faulty() -> dict[str, list[tuple[str, str, sets.Pixels]]]:
    """A leak, a near copy on both sides, a copy in train, and a picture with two labels."""
    drawn = sets.distinct()
    name, label, pixels = drawn["train"][0]
    drawn["test"].append((name, label, pixels))
    drawn["valid"].append(("near.png", "happy", sets.portrait(1001)))
    drawn["train"] += [
        ("near.png", "happy", sets.retouched(sets.portrait(1001))),
        ("twice.png", "sad", sets.portrait(1002)), ("twice more.png", "sad", sets.portrait(1002)),
        ("doubt.png", "sad", sets.portrait(1003)), ("doubted.png", "fear", sets.portrait(1003)),
    ]  # fmt: skip
    return drawn


def test_a_fixed_version_passes_and_is_not_fixed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a set that fails to one that passes: a new version, reported in one sentence, the old
    one still there; fixing that one does nothing."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", faulty()), tmp_path / "home", checks=OFF
    )
    assert not stage.check(Run.resolve(run, workspace), version).passed
    mended = stage.repair(Run.resolve(run, workspace), version)
    assert mended.reason == (
        "fixed: 2 duplicates dropped, 2 duplicates with conflicting labels dropped, "
        "1 moved to another split"
    )
    assert (mended.parent, mended.source, mended.number) == (version.root, version.source, 2)
    verbose = capsys.readouterr().out
    assert f"mien run CONFIG --source @{mended.short}" in verbose
    assert "mien data diff emotion 1 2" in verbose

    done = stage.check(Run.resolve(run, workspace), mended)
    assert report.read(done.folder).in_state("failed", "warned") == ()
    assert json.loads((done.folder / DATA_QUALITY).read_text())["near"] == []
    assert Store(workspace.raw("emotion")).verify() == []

    assert stage.repair(Run.resolve(run, workspace), mended) == mended
    assert "nothing that is safe to repair" in capsys.readouterr().out
    assert len(Store(workspace.raw("emotion")).versions()) == 2
    assert stage.repair(Run.resolve(run, workspace), version) == mended
    with pytest.raises(
        DataCheckError, match=f"A repaired version exists: --source @{mended.short}"
    ):
        stage.require_passed(stage.check(Run.resolve(run, workspace), version))


def test_the_difference_is_what_was_told(tmp_path: Path) -> None:
    """`mien data diff` shows the samples that the sentence counts."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", faulty()), tmp_path / "home", checks=OFF
    )
    mended = stage.repair(Run.resolve(run, workspace), version)
    found = versions.diff("emotion", version.short, mended.short, workspace)
    gone = {"train/0.png", "train/twice.png", "train/doubt.png", "train/doubted.png"}
    assert set(found.removed) == gone
    assert list(found.moved.values()) == [("val", "train")]
    assert found.relabelled == {}
    ready = data(Run.resolve(run, workspace), mended)
    assert ready.fingerprint == mended.root


def test_clean_data_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No version is made of nothing."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", sets.distinct(1)), tmp_path / "home", checks=OFF
    )
    assert stage.repair(Run.resolve(run, workspace), version) == version
    assert "nothing that is safe to repair" in capsys.readouterr().out
    assert len(Store(workspace.raw("emotion")).versions()) == 1


def test_a_fix_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is as before, and the next fix does all of it."""
    run, workspace, version = sets.fetched(
        sets.yolo(tmp_path / "set", faulty()), tmp_path / "home", checks=OFF
    )

    def cut(self: Store, *_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", cut)
        with pytest.raises(KeyboardInterrupt):
            stage.repair(Run.resolve(run, workspace), version)
    store = Store(workspace.raw("emotion"))
    assert [each.root for each in store.versions()] == [version.root]
    assert not list(store.folder.glob(f"{OPEN}*"))
    assert stage.repair(Run.resolve(run, workspace), version).number == 2


def test_hands_are_fixed_as_faces_are(tmp_path: Path) -> None:
    """A table: copies go, one person ends in one split, and what is divided stays divided."""
    from mien import tasks

    tasks.load("gesture").data.write_sample(tmp_path / "raw", 0)
    lines = next((tmp_path / "raw").rglob("*.csv")).read_text().splitlines()
    header = lines[0].split(",")
    place = header.index("label")
    rows = sorted((line.split(",") for line in lines[1:]), key=lambda row: row[place])[::9]
    if "split" not in header:
        header.append("split")
        words = ("train", "train", "train", "val", "test")
        rows = [[*row, words[number % 5]] for number, row in enumerate(rows)]
    copied = [*rows, [*rows[0][:-1], "test"], [*rows[1][:-1], "train"]]
    text = "\n".join(",".join(row) for row in (header, *copied)) + "\n"
    (tmp_path / "hands.csv").write_text(text)
    run, workspace, version = sets.fetched(
        tmp_path / "hands.csv", tmp_path / "home", task="gesture"
    )
    assert stage.check(Run.resolve(run, workspace), version).failed == ("split_leakage",)
    mended = stage.repair(Run.resolve(run, workspace), version)
    assert "2 duplicates dropped" in mended.reason
    assert stage.check(Run.resolve(run, workspace), mended).passed
    assert stage.repair(Run.resolve(run, workspace), mended) == mended
    assert data(Run.resolve(run, workspace), mended).fingerprint == mended.root


def test_the_pipeline_checks_what_it_fixed(tmp_path: Path) -> None:
    """`mien data check CONFIG --fix` ends well where the fix was enough."""
    run, workspace, _ = sets.fetched(
        sets.yolo(tmp_path / "set", faulty()), tmp_path / "home", checks=OFF
    )
    assert not pipeline.check(run, workspace).passed
    assert pipeline.repair(run, workspace).passed
