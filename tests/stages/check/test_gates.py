"""Promises of the gates: each finds its fault and nothing else, and a config has the last word."""

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
from mien.config import GateConfig, Level
from mien.errors import ConfigError, WeightsError
from mien.model import runtime
from mien.stages.check import gates, material
from mien.stages.check.findings import Search, outcomes
from mien.stages.check.gates import Found, Outcome
from mien.stages.check.material import Material
from mien.stages.check.shortcuts import Shortcut
from mien.task import Gate, Inspection, Request, Sample, Split

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
    held: Material,
    shortcut: Shortcut | None = None,
    wishes: Mapping[str, GateConfig] = MappingProxyType({}),
) -> dict[str, Outcome]:
    chosen = gates.chosen(held.task, wishes)
    return {each.name: each for each in outcomes(Search(held, shortcut), chosen)}


def loud(held: Material, shortcut: Shortcut | None = None) -> dict[str, str]:
    """State of each gate that found something."""
    found = judged(held, shortcut)
    return {name: each.state for name, each in found.items() if each.state not in ("passed", "off")}


def changed(place: int, **changes: Any) -> list[Sample]:
    return [replace(each, **changes) if at == place else each for at, each in enumerate(CLEAN)]


def test_clean_data_pass_every_gate() -> None:
    """No gate finds a fault where there is none."""
    assert loud(sets.material(CLEAN)) == {}
    assert judged(sets.material(CLEAN))["copies across splits"].state == "passed"


FAULTS: dict[str, tuple[Callable[[], Material], dict[str, str]]] = {
    "a copy in the same split": (
        lambda: sets.material(CLEAN, exact=[(TRAIN, TRAIN + 1)]),
        {"exact copies": "warned"},
    ),
    "a copy in test": (
        lambda: sets.material(CLEAN, exact=[(TRAIN, TEST)]),
        {"exact copies": "warned", "copies across splits": "failed"},
    ),
    "copies within val": (
        lambda: sets.material(CLEAN, exact=[(VAL, VAL + 1, VAL + 2)]),
        {"exact copies": "warned"},
    ),
    "near copies in a split": (
        lambda: sets.material(CLEAN, near=[(TRAIN, TRAIN + 1, TRAIN + 2, TRAIN + 3)]),
        {"near copies": "warned"},
    ),
    "a near copy in val": (
        lambda: sets.material(CLEAN, near=[(TRAIN + 10, VAL)]),
        {"near copies": "noted", "near copies across splits": "warned"},
    ),
    "two labels": (
        lambda: sets.material(CLEAN, near=[(TRAIN, TRAIN + 10)], same=[(TRAIN, TRAIN + 10)]),
        {"near copies": "noted", "one picture, two labels": "failed"},
    ),
    "two labels, a moment apart": (
        lambda: sets.material(CLEAN, near=[(TRAIN, TRAIN + 10)]),
        {"near copies": "noted"},
    ),
    "a label without samples": (
        lambda: sets.material([each for each in CLEAN if "right" not in each.labels]),
        {"empty classes": "failed"},
    ),
    "a label that val alone has": (
        lambda: sets.material(CLEAN[:10] + CLEAN[20:]),
        {"empty classes": "failed"},
    ),
    "a small class": (
        lambda: sets.material(
            [*(sample(f"more {n}") for n in range(100)), *CLEAN[:11], *CLEAN[20:]]
        ),
        {"imbalance": "warned"},
    ),
    "a class of half the size": (
        lambda: sets.material(CLEAN[:15]),
        {"imbalance": "noted"},
    ),
    "a fault of the task": (
        lambda: sets.material(CLEAN, odd_boxes=[each.name for each in CLEAN[:9]]),
        {"odd boxes": "failed"},
    ),
    "few faults of the task": (
        lambda: sets.material(CLEAN, odd_boxes=["somewhere/else.txt"]),
        {"odd boxes": "noted"},
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_by_its_gate_and_by_no_other(kind: str) -> None:
    """Each gate is seen to find something, and the others to stay silent."""
    make, expected = FAULTS[kind]
    assert loud(make()) == expected


def test_only_what_was_seen_before_leaks() -> None:
    """A test picture that is also in val counts: val chose the model. Train is never at fault."""
    samples = [sample("a", split="train"), sample("b", split="val"), sample("c", split="test")]
    both = judged(sets.material(samples, exact=[(1, 2)]))["copies across splits"]
    assert (both.names, both.total) == (("c",), 2)
    all_three = judged(sets.material(samples, exact=[(0, 1, 2)]))["copies across splits"]
    assert all_three.names == ("b", "c")
    assert all_three.examples[0].names == ("b", "a")
    assert all_three.examples[0].what == "left in val; left in train"


def test_leaks_are_told_for_the_evaluation() -> None:
    """Copies in train count for the leak-free scores, those between val and test do not."""
    samples = [
        sample("train/a", digest="1"), sample("train/b", digest="2"),
        sample("val/c", split="val", digest="1"), sample("test/d", split="test", digest="3"),
        sample("test/e", split="test", digest="4"), sample("val/f", split="val", digest="4"),
    ]  # fmt: skip
    held = sets.material(samples, exact=[(0, 2), (4, 5)], near=[(0, 1, 2, 3), (4, 5)])
    assert material.leaks(held) == {"exact": ("val/c",), "near": ("test/d",)}


def test_a_shortcut_is_measured_against_the_commonest_label() -> None:
    """Guessing half of the labels from a file type is a shortcut; guessing the majority is none."""
    held = sets.material(CLEAN)
    told = Shortcut(accuracy=0.9, majority=0.5, by_fact=(("type", 0.85), ("size", 0.5)), chance=0.5)
    found = judged(held, told)["shortcut"]
    assert (found.state, found.found, found.total, found.names) == ("warned", 16, 40, ("type",))
    none = Shortcut(accuracy=0.45, majority=0.5, by_fact=(("type", 0.5),), chance=0.5)
    assert judged(held, none)["shortcut"].state == "passed"
    assert judged(held)["shortcut"].state == "off"


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


def gathered(folder: Path, samples: Sequence[Sample], **changes: Any) -> Material:
    made = sets.task(inspect=lambda raw, params, cache: Inspection(tuple(samples)), **changes)
    return material.gather(made, folder, made.training.Params(), folder / "cache")


def test_unreadable_files_are_counted_and_copy_nobody(tmp_path: Path) -> None:
    """A file that cannot be decoded never reaches a training: it is a fault, and no copy."""
    samples = list(pictured(tmp_path, 12, broken=2))
    samples[-2:] = [replace(each, digest="the same") for each in samples[-2:]]
    samples[-1] = replace(samples[-1], split="test")
    found = judged(gathered(tmp_path, samples, subject_counter=None))
    assert found["unreadable files"].state == "failed"
    assert found["unreadable files"].names == ("10.png", "11.png")
    assert found["copies across splits"].found == 0
    clean = judged(gathered(tmp_path, samples[:10], subject_counter=None))
    assert clean["unreadable files"].state == "passed"


def by_width(request: Request) -> int:
    """Nobody in the narrowest picture, two in those of 25 pixels and more."""
    width = request.size[0]
    return 0 if width == 20 else 1 + (width >= 25)


def test_subjects_are_counted(tmp_path: Path) -> None:
    """Pictures with a label and no subject, and with more subjects than labels."""
    held = gathered(tmp_path, pictured(tmp_path, 8), subject_counter=lambda: by_width)
    found = judged(held)
    assert found["no subject found"].names == ("0.png",)
    assert set(found["more than one subject"].names) == {"5.png", "6.png", "7.png"}
    assert found["no subject found"].total == 8
    one_each = judged(
        gathered(tmp_path, pictured(tmp_path, 8), subject_counter=lambda: lambda _: 1)
    )
    assert one_each["no subject found"].state == one_each["more than one subject"].state == "passed"


def test_each_core_counts_with_a_counter_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cores count at once, and no counter is asked by both at a time."""
    monkeypatch.setattr(runtime, "available_cpus", lambda: 2)
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
    assert found["no subject found"].names == ("0.png",)
    assert found["no subject found"].total == 8


def test_a_machine_without_what_counts_subjects_checks_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No network, no weights: it is said, those gates are off, and the others are as ever."""

    def absent() -> Any:
        raise WeightsError("The weights cannot be fetched.")

    found = judged(gathered(tmp_path, pictured(tmp_path, 8), subject_counter=absent))
    assert (found["no subject found"].state, found["more than one subject"].state) == ("off", "off")
    assert found["unreadable files"].state == "passed"
    assert "Subjects are not counted: The weights cannot be fetched." in capsys.readouterr().err


def test_subjects_are_counted_in_a_bounded_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice follows contents: another order of the files asks about the same pictures."""
    monkeypatch.setattr(material, "ASKED", 3)
    samples = pictured(tmp_path, 8)
    one, other = (
        gathered(tmp_path, each, subject_counter=lambda: by_width)
        for each in (samples, samples[::-1])
    )
    asked = [
        {held.samples[place].name for place in material.subjects(held)} for held in (one, other)
    ]
    assert asked[0] == asked[1] == {"0.png", "1.png", "2.png"}
    assert judged(one)["no subject found"].total == 3


def test_nothing_is_asked_that_is_switched_off(tmp_path: Path) -> None:
    """Counting subjects costs time: with both gates off it is not done."""

    def refuse() -> Callable[[Request], int]:
        raise AssertionError("asked")

    held = gathered(tmp_path, pictured(tmp_path, 3), subject_counter=refuse)
    off = GateConfig(level="off")
    wishes = {"no_subject_found": off, "more_than_one_subject": off}
    assert judged(held, wishes=wishes)["no subject found"].state == "off"
    with pytest.raises(AssertionError, match="asked"):
        judged(held)


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
    assert found["near copies"].names == ("t.csv:3",)
    assert found["unreadable files"].state == "off"


@pytest.mark.parametrize(
    "name",
    ["copies across splits", "copies_across_splits", "Copies Across_Splits"],
)
def test_a_config_changes_level_and_limit(name: str) -> None:
    """What it leaves out stays as the gate has it; names may be written as YAML keys."""
    held = sets.material(CLEAN, exact=[(TRAIN, TEST)])

    def state(level: Level | None = None, limit: float | None = None) -> str:
        wish = GateConfig(level=level, limit=limit)
        return judged(held, wishes={name: wish})["copies across splits"].state

    assert state() == "failed"
    assert state(level="warn") == "warned"
    assert state(limit=0.05) == "noted"
    assert state(limit=0.04) == "failed"
    assert state(level="off") == "off"


def test_a_name_with_a_comma_is_known_without_it() -> None:
    """`one_picture_two_labels` is easier to write in YAML than to quote."""
    chosen = gates.chosen(sets.task(), {"one_picture_two_labels": GateConfig(level="warn")})
    assert chosen["one picture, two labels"].level == "warn"


def test_an_unknown_gate_is_refused() -> None:
    """With the nearest name that there is."""
    with pytest.raises(ConfigError, match=r"'near_coppies'.*Did you mean 'near copies'"):
        gates.chosen(sets.task(), {"near_coppies": GateConfig()})


def test_a_fault_without_a_gate_is_a_mistake_of_the_task() -> None:
    """It must not pass unseen."""
    with pytest.raises(ValueError, match="no gate for its faults: odd people"):
        judged(sets.material(CLEAN, odd_people=["x"]))


@given(
    number=st.integers(0, 200),
    total=st.integers(1, 200),
    limit=st.floats(0, 1),
    level=st.sampled_from(["error", "warn"]),
)
def test_the_limit_is_a_share(number: int, total: int, limit: float, level: Any) -> None:
    """At the limit a gate still holds; beyond it, it fails or warns."""
    outcome = gates.judge("g", Gate("", level, limit), Found(total=total, number=number))
    if not number:
        assert outcome.state == "passed"
    elif number / total <= limit:
        assert outcome.state == "noted"
    else:
        assert outcome.state == {"error": "failed", "warn": "warned"}[level]


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True), max_size=12))
def test_clusters_that_touch_become_one(clusters: list[list[int]]) -> None:
    """No member stands in two, members of one stay together, and nothing is added."""
    found = material.joined(clusters)
    members = [place for cluster in found for place in cluster]
    assert len(members) == len(set(members))
    assert set(members) <= {place for cluster in clusters for place in cluster}
    home = {place: number for number, cluster in enumerate(found) for place in cluster}
    for cluster in clusters:
        assert len({home.get(place, -1 - place) for place in cluster}) == 1
        assert len(cluster) == 1 or cluster[0] in home


@pytest.mark.parametrize("task", tasks.names())
def test_the_docs_can_list_every_gate(task: str) -> None:
    """One row for each gate, with a level, a limit and a sentence."""
    loaded = tasks.load(task)
    rows = gates.table(loaded).splitlines()[2:]
    assert len(rows) == len(gates.known(loaded)) >= len(gates.GATES)
    assert "| copies across splits | error | 0 % | The same is in val" in gates.table(loaded)


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
    leaks = material.leaks(sets.material(samples, exact=clusters))
    assert set(leaks["exact"]) == expected
    assert leaks["near"] == ()


@pytest.mark.parametrize("name", tasks.names())
def test_the_docs_list_every_gate(name: str) -> None:
    """With level, limit and meaning as they are."""
    page = (ROOT / "docs" / "source" / "data.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in gates.table(tasks.load(name)).splitlines() if row not in page] == []
