"""Promises of the checks: each finds its issue and nothing else, and a config sets the limits."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from project import ROOT
from waiting import PATIENCE

from mien import tasks
from mien.config import CheckConfig, Level
from mien.errors import ConfigError, WeightsError
from mien.model import cpus
from mien.stages.check import context as check_context
from mien.stages.check.checks import SHARED_CHECKS, split_leakage
from mien.stages.check.context import CheckContext, build_context, train_leakage
from mien.stages.check.metadata_baseline import MetadataBaseline
from mien.stages.check.results import (
    DataCheckResult,
    checks_of,
    configured,
    judge,
    markdown_table,
    run_checks,
)
from mien.task import Inspection, Issues, Request, Sample, Split, recorded_check

from . import sets
from .sets import sample

CLEAN = [
    *(sample(f"train {number}", "left") for number in range(10)),
    *(sample(f"train {number}", "right") for number in range(10, 20)),
    *(sample(f"val {number}", "right", "val") for number in range(10)),
    *(sample(f"test {number}", "left", "test") for number in range(10)),
]
MANY = [sample(f"more {number}") for number in range(100)]
TRAIN, VAL, TEST = 0, 20, 30
"""Places of the first sample of each split."""


def judged(
    context: CheckContext,
    baseline: MetadataBaseline | None = None,
    config: Mapping[str, CheckConfig] = MappingProxyType({}),
) -> dict[str, DataCheckResult]:
    vars(context)["metadata_baseline"] = baseline  # in place of the computed one
    results = run_checks(context, configured(context.task, config))
    return {each.slug: each for each in results}


def states(context: CheckContext) -> dict[str, str]:
    """State of each check with issues."""
    results = judged(context)
    return {
        slug: each.state for slug, each in results.items() if each.state not in ("passed", "off")
    }


def changed(place: int, **changes: Any) -> list[Sample]:
    return [replace(each, **changes) if at == place else each for at, each in enumerate(CLEAN)]


def test_clean_data_pass_every_check() -> None:
    """No check finds an issue where there is none."""
    assert states(sets.context(CLEAN)) == {}
    assert judged(sets.context(CLEAN))["split_leakage"].state == "passed"


FAULTS: dict[str, tuple[Callable[[], CheckContext], dict[str, str]]] = {
    "a copy in the same split": (
        lambda: sets.context(CLEAN, exact=[(TRAIN, TRAIN + 1)]),
        {"duplicates": "warned"},
    ),
    "a copy in test": (
        lambda: sets.context(CLEAN, exact=[(TRAIN, TEST)]),
        {"duplicates": "warned", "split_leakage": "failed"},
    ),
    "copies within val": (
        lambda: sets.context(CLEAN, exact=[(VAL, VAL + 1, VAL + 2)]),
        {"duplicates": "warned"},
    ),
    "near copies in a split": (
        lambda: sets.context(CLEAN, near=[(TRAIN, TRAIN + 1, TRAIN + 2, TRAIN + 3)]),
        {"near_duplicates": "warned"},
    ),
    "a near copy in val": (
        lambda: sets.context(CLEAN, near=[(TRAIN + 10, VAL)]),
        {"near_duplicates": "noted", "near_split_leakage": "warned"},
    ),
    "two labels": (
        lambda: sets.context(CLEAN, near=[(TRAIN, TRAIN + 10)], same=[(TRAIN, TRAIN + 10)]),
        {"near_duplicates": "noted", "label_conflict": "failed"},
    ),
    "two labels, a moment apart": (
        lambda: sets.context(CLEAN, near=[(TRAIN, TRAIN + 10)]),
        {"near_duplicates": "noted"},
    ),
    "a label without samples": (
        lambda: sets.context([each for each in CLEAN if "right" not in each.labels]),
        {"empty_class": "failed"},
    ),
    "a label that val alone has": (
        lambda: sets.context(CLEAN[:10] + CLEAN[20:]),
        {"empty_class": "failed"},
    ),
    "a small class": (
        lambda: sets.context(
            [*(sample(f"more {n}") for n in range(100)), *CLEAN[:11], *CLEAN[20:]]
        ),
        {"class_imbalance": "warned"},
    ),
    "a class of half the size": (
        lambda: sets.context(CLEAN[:15]),
        {"class_imbalance": "noted"},
    ),
    "a fault of the task": (
        lambda: sets.context(CLEAN, odd_boxes=[each.name for each in CLEAN[:9]]),
        {"odd_boxes": "failed"},
    ),
    "few faults of the task": (
        lambda: sets.context(CLEAN, odd_boxes=["somewhere/else.txt"]),
        {"odd_boxes": "noted"},
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_an_issue_is_found_by_its_check_and_by_no_other(kind: str) -> None:
    """Each check finds something, and the others stay silent."""
    make, expected = FAULTS[kind]
    assert states(make()) == expected


def test_only_what_was_seen_before_leaks() -> None:
    """A test picture that is also in val counts: val chose the model. Train is never at fault."""
    samples = [sample("a", split="train"), sample("b", split="val"), sample("c", split="test")]
    both = judged(sets.context(samples, exact=[(1, 2)]))["split_leakage"]
    assert (both.names, both.total) == (("c",), 2)
    all_three = judged(sets.context(samples, exact=[(0, 1, 2)]))["split_leakage"]
    assert all_three.names == ("b", "c")
    assert all_three.examples[0].names == ("b", "a")
    assert all_three.examples[0].description == "left in val; left in train"


def test_leaks_are_told_for_the_evaluation() -> None:
    """Copies in train count for the leak-free scores, those between val and test do not."""
    samples = [
        sample("train/a", digest="1"), sample("train/b", digest="2"),
        sample("val/c", split="val", digest="1"), sample("test/d", split="test", digest="3"),
        sample("test/e", split="test", digest="4"), sample("val/f", split="val", digest="4"),
    ]  # fmt: skip
    context = sets.context(samples, exact=[(0, 2), (4, 5)], near=[(0, 1, 2, 3), (4, 5)])
    assert train_leakage(context) == {"exact": ("val/c",), "near": ("test/d",)}


def test_a_shortcut_is_measured_against_the_commonest_label() -> None:
    """Guessing half of the labels from a file type is a shortcut; guessing the majority is none."""
    context = sets.context(CLEAN)
    features = (("type", 0.85), ("size", 0.5))
    predictive = MetadataBaseline(accuracy=0.9, majority=0.5, by_feature=features, chance=0.5)
    found = judged(context, predictive)["spurious_correlation"]
    assert (found.state, found.count, found.total, found.names) == ("warned", 16, 40, ("type",))
    assert found.hint.startswith("type alone 85.0% right")
    none = MetadataBaseline(accuracy=0.45, majority=0.5, by_feature=(("type", 0.5),), chance=0.5)
    assert judged(context, none)["spurious_correlation"].state == "passed"
    assert judged(context)["spurious_correlation"].state == "off"


def pictured(folder: Path, number: int, broken: int = 0) -> Sequence[Sample]:
    """Pictures whose width is 20 and more; the last ones cannot be decoded."""
    samples = []
    for place in range(number):
        path = folder / f"{place}.png"
        Image.new("RGB", (20 + place, 30), (place * 9 % 256, 40, 90)).save(path)
        if place >= number - broken:
            path.write_bytes(b"\x89PNG\r\n\x1a\n cut off")
        samples.append(Sample(path.name, ("left",), str(place), "train", path))
    return samples


def gathered(folder: Path, samples: Sequence[Sample], **changes: Any) -> CheckContext:
    made = sets.task(inspect=lambda raw, params, cache: Inspection(tuple(samples)), **changes)
    return build_context(made, folder, made.training.Params(), folder / "cache")


def test_unreadable_files_are_counted_and_copy_nobody(tmp_path: Path) -> None:
    """A file that cannot be decoded never reaches a training: it is a fault, and no copy."""
    samples = list(pictured(tmp_path, 12, broken=2))
    samples[-2:] = [replace(each, digest="the same") for each in samples[-2:]]
    samples[-1] = replace(samples[-1], split="test")
    found = judged(gathered(tmp_path, samples, subject_counter=None))
    assert found["unreadable"].state == "failed"
    assert found["unreadable"].names == ("10.png", "11.png")
    assert found["split_leakage"].count == 0
    clean = judged(gathered(tmp_path, samples[:10], subject_counter=None))
    assert clean["unreadable"].state == "passed"


def by_width(request: Request) -> int:
    """Nobody in the narrowest picture, two in those of 25 pixels and more."""
    width = request.size[0]
    return 0 if width == 20 else 1 + (width >= 25)


def test_subjects_are_counted(tmp_path: Path) -> None:
    """Pictures with a label and no subject, and with more subjects than labels."""
    context = gathered(tmp_path, pictured(tmp_path, 8), subject_counter=lambda: by_width)
    found = judged(context)
    assert found["no_subject"].names == ("0.png",)
    assert set(found["multiple_subjects"].names) == {"5.png", "6.png", "7.png"}
    assert found["no_subject"].total == 8
    one_each = judged(
        gathered(tmp_path, pictured(tmp_path, 8), subject_counter=lambda: lambda _: 1)
    )
    assert one_each["no_subject"].state == one_each["multiple_subjects"].state == "passed"


def test_each_core_counts_with_a_counter_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cores count at once, and no counter is asked by both at a time."""
    monkeypatch.setattr(cpus, "available_cpus", lambda: 2)
    both = threading.Barrier(2)

    def subjects() -> Callable[[Request], int]:
        alone = threading.Lock()

        def count(request: Request) -> int:
            assert alone.acquire(blocking=False), "a counter is for one thread at a time"
            both.wait(timeout=PATIENCE)
            alone.release()
            return by_width(request)

        return count

    found = judged(gathered(tmp_path, pictured(tmp_path, 8), subject_counter=subjects))
    assert found["no_subject"].names == ("0.png",)
    assert found["no_subject"].total == 8


def test_a_machine_without_what_counts_subjects_checks_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No network, no weights: a message, those checks are off, and the others run."""

    def absent() -> Any:
        raise WeightsError("The weights cannot be fetched.")

    found = judged(gathered(tmp_path, pictured(tmp_path, 8), subject_counter=absent))
    assert (found["no_subject"].state, found["multiple_subjects"].state) == ("off", "off")
    assert found["unreadable"].state == "passed"
    assert "Subjects are not counted: The weights cannot be fetched." in capsys.readouterr().err


def test_subjects_are_counted_in_a_bounded_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice follows contents: another order of the files asks about the same pictures."""
    monkeypatch.setattr(check_context, "MAX_COUNTED_IMAGES", 3)
    samples = pictured(tmp_path, 8)
    one, other = (
        gathered(tmp_path, each, subject_counter=lambda: by_width)
        for each in (samples, samples[::-1])
    )
    asked = [
        {context.samples[place].name for place in context.subject_counts}
        for context in (one, other)
    ]
    assert asked[0] == asked[1] == {"0.png", "1.png", "2.png"}
    assert judged(one)["no_subject"].total == 3


def test_nothing_is_asked_that_is_switched_off(tmp_path: Path) -> None:
    """Counting subjects costs time: with both checks off it is not done."""

    def refuse() -> Callable[[Request], int]:
        raise AssertionError("asked")

    context = gathered(tmp_path, pictured(tmp_path, 3), subject_counter=refuse)
    off = CheckConfig(level="off")
    config = {"no_subject": off, "multiple_subjects": off}
    assert judged(context, config=config)["no_subject"].state == "off"
    with pytest.raises(AssertionError, match="asked"):
        judged(context)


def test_near_copies_are_found_in_rows_too(tmp_path: Path) -> None:
    """Rows of numbers are compared as pictures are; a copy that differs in nothing counts once."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 63))
    rows[3] = rows[2] + 1e-6
    samples = [
        Sample(f"t.csv:{number}", ("left",), str(number), "train", values=tuple(row.tolist()))
        for number, row in enumerate(rows)
    ]
    found = judged(gathered(tmp_path, samples))
    assert found["near_duplicates"].names == ("t.csv:3",)
    assert found["unreadable"].state == "off"


def test_a_config_changes_level_and_limit() -> None:
    """What it leaves out stays at the default of the check."""
    context = sets.context(CLEAN, exact=[(TRAIN, TEST)])

    def state(level: Level | None = None, limit: float | None = None) -> str:
        wish = CheckConfig(level=level, limit=limit)
        return judged(context, config={"split_leakage": wish})["split_leakage"].state

    assert state() == "failed"
    assert state(level="warn") == "warned"
    assert state(limit=0.05) == "noted"
    assert state(limit=0.04) == "failed"
    assert state(level="off") == "off"


def test_an_unknown_check_is_refused() -> None:
    """With the nearest name that there is."""
    with pytest.raises(ConfigError, match=r"'near_duplicate'.*Did you mean 'near_duplicates'"):
        configured(sets.task(), {"near_duplicate": CheckConfig()})


def test_an_issue_without_a_check_is_a_mistake_of_the_task() -> None:
    """It must not pass unseen."""
    with pytest.raises(ValueError, match="no check for issues odd_people"):
        judged(sets.context(CLEAN, odd_people=["x"]))


@given(
    number=st.integers(0, 200),
    total=st.integers(1, 200),
    limit=st.floats(0, 1),
    level=st.sampled_from(["error", "warn"]),
)
def test_the_limit_is_a_share(number: int, total: int, limit: float, level: Any) -> None:
    """At the limit a check does not fail; beyond it, it fails or warns."""
    outcome = judge(recorded_check("g", "", level, limit), Issues(total=total, count=number))
    if not number:
        assert outcome.state == "passed"
    elif number / total <= limit:
        assert outcome.state == "noted"
    else:
        assert outcome.state == {"error": "failed", "warn": "warned"}[level]


@pytest.mark.parametrize("task", tasks.names())
def test_the_table_lists_every_check(task: str) -> None:
    """One row for each check, with level, limit and description."""
    loaded = tasks.load(task)
    rows = markdown_table(loaded).splitlines()[2:]
    assert len(rows) == len(checks_of(loaded)) >= len(SHARED_CHECKS)
    description = split_leakage.CHECK.description
    assert f"| `split_leakage` | error | 0 % | {description} |" in rows


SPLITS: tuple[Split, ...] = ("train", "val", "test")


@given(st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 4)), max_size=25))
def test_no_leak_without_a_copy_in_train(drawn: list[tuple[Split, int]]) -> None:
    """A leak is a val or test sample whose content train has, whatever the clusters look like."""
    samples = [
        sample(str(number), split=split, digest=str(content))
        for number, (split, content) in enumerate(drawn)
    ]
    homes: dict[str, list[int]] = {}
    for place, each in enumerate(samples):
        homes.setdefault(each.digest, []).append(place)
    clusters = [tuple(each) for each in homes.values() if len(each) > 1]
    train = {each.digest for each in samples if each.split == "train"}
    expected = {each.name for each in samples if each.split != "train" and each.digest in train}
    leaks = train_leakage(sets.context(samples, exact=clusters))
    assert set(leaks["exact"]) == expected
    assert leaks["near"] == ()


@pytest.mark.parametrize("name", tasks.names())
def test_the_docs_list_every_check(name: str) -> None:
    """With level, limit and description as they are."""
    page = (ROOT / "docs" / "source" / "data.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in markdown_table(tasks.load(name)).splitlines() if row not in page] == []
