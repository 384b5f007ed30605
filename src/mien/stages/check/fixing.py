"""What is safe to mend of a version, as a plan for the task, and the mended data as a new version.

Safe is what takes no decision from a person: a copy that adds nothing, a copy or a person on both
sides of a division, and what the task knows how to repair. Nothing is mended in place: the old
version stays as it was. What is looked for is in `findings.py`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from mien.config import Schema
from mien.errors import DataError
from mien.reporting import console
from mien.storage.files import sha256_file
from mien.storage.versions import OPEN, Item, Store, Version
from mien.storage.workspace import Workspace
from mien.task import SPLITS, RepairPlan, Sample, Split, Task

from .findings import conflicts
from .material import Cluster, joined

Names = Sequence[Sequence[str]]
"""Clusters of copies by names of samples."""
_KEPT = 0.5
"""Share of a split's contents that must stay in it, or the division cannot be mended."""


@dataclass(frozen=True)
class Intent:
    """A plan, and in words what is in it."""

    plan: RepairPlan
    words: tuple[str, ...]
    left: int = 0
    """Groups that stay on both sides of the division, because moving them would empty a split."""


def fix(
    task: Task[Any],
    params: Schema,
    workspace: Workspace,
    version: Version,
    exact: Names,
    near: Names,
) -> Version:
    """Mend a version as a new one, and say what was done; the same one where nothing was.

    Raises:
        DataError: the splits are so much alike that none would be left.
    """
    store, cache = Store(workspace.raw(task.name), console.bar), workspace.cache(task.name)
    with (
        store.unpacked(version) as raw,
        TemporaryDirectory(prefix=f"{OPEN}fix.", dir=store.folder) as temporary,
    ):
        out = Path(temporary)
        intent = intend(task.data.inspect(raw, params, cache).samples, exact, near)
        repaired = task.data.repair(raw, out, intent.plan, params, cache)
        done = [*intent.words, *(each.rstrip(".") for each in repaired)]
        if not done:
            mended = version
        else:
            items = list(_items(out))
            mended = store.add(items, version.source, f"fixed: {', '.join(done)}", version.root)
    _tell(task.name, version, mended, intent)
    return mended


def intend(samples: Sequence[Sample], exact: Names, near: Names) -> Intent:
    """What to drop and what to move.

    Of exact copies one stays, in test before val before train, so that what is measured stays as it
    is; none where they contradict each other. Near copies and all samples of one person end in one
    split, the one that has most of them.

    Raises:
        DataError: less than half of what a split holds would be left in it.
    """
    place = {sample.name: number for number, sample in enumerate(samples)}
    clusters = [tuple(place[name] for name in cluster) for cluster in exact]
    contrary = [each for each in clusters if conflicts(samples, [each])]
    doubted = {number for cluster in contrary for number in cluster}
    again = {
        number for each in clusters if each not in contrary for number in _spare(samples, each)
    }
    _check_splits(samples, again | doubted)
    alike = [[place[name] for name in cluster] for cluster in near]
    move, left = _moves(samples, alike, again | doubted)
    plan = RepairPlan(
        drop=frozenset(samples[number].name for number in again | doubted),
        move={samples[number].name: split for number, split in move.items()},
    )
    words = [
        (len(again), "copies dropped"),
        (len(doubted), "copies with contradicting labels dropped"),
        (len(move), "moved to another split"),
    ]
    return Intent(plan, tuple(f"{number:,} {what}" for number, what in words if number), left)


def _spare(samples: Sequence[Sample], cluster: Cluster) -> list[int]:
    """All copies but the one that stays."""
    stays = max(cluster, key=lambda each: (_rank(samples[each]), -each))
    return [each for each in cluster if each != stays]


def _rank(sample: Sample) -> int:
    return SPLITS.index(sample.split) if sample.split else 0


def _check_splits(samples: Sequence[Sample], dropped: set[int]) -> None:
    for split in SPLITS:
        here = [place for place, sample in enumerate(samples) if sample.split == split]
        before = len({samples[place].digest for place in here})
        after = len({samples[place].digest for place in here if place not in dropped})
        if after < _KEPT * before:
            raise DataError(
                f"{before - after:,} of the {before:,} contents of {split} would have to go, for "
                "they stand in another split too or contradict each other: this is no division "
                "that can be mended. Divide the data anew and fetch them again."
            )


def _moves(
    samples: Sequence[Sample], alike: Sequence[Sequence[int]], dropped: set[int]
) -> tuple[dict[int, Split], int]:
    """The new split of each sample that must change it, and how many groups cannot be moved."""
    staying = [
        place
        for place, each in enumerate(samples)
        if each.split is not None and place not in dropped
    ]
    kept = set(staying)
    persons: dict[str, list[int]] = {}
    for place in staying:
        if samples[place].person:
            persons.setdefault(samples[place].person, []).append(place)
    near = [[place for place in cluster if place in kept] for cluster in alike]
    size = Counter(samples[place].split for place in staying)
    room = {split: int(size[split] * (1 - _KEPT)) for split in SPLITS}
    move: dict[int, Split] = {}
    left = 0
    for group in joined(each for each in (*near, *persons.values()) if each):
        there = Counter(samples[place].split for place in group)
        target = max(SPLITS, key=lambda split: there[split])  # the first of equals: train
        away = {split: there[split] for split in SPLITS if split != target and there[split]}
        if any(number > room[split] for split, number in away.items()):
            left += 1
            continue
        for split, number in away.items():
            room[split] -= number
        move |= {place: target for place in group if samples[place].split != target}
    return move, left


def _items(folder: Path) -> Iterator[Item]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in console.track(paths, "fingerprint"):
        name = path.relative_to(folder).as_posix()
        yield Item(name, sha256_file(path), path.stat().st_size, partial(_open, path))


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _tell(task: str, old: Version, new: Version, intent: Intent) -> None:
    if intent.left:
        console.result(
            f"{intent.left} groups of copies or persons stay on both sides of the division: moving "
            "them would take more than half of a split. Divide the data anew."
        )
    if new.root == old.root:
        console.result(f"version {old.number} ({old.short}): there is nothing that is safe to mend")
        return
    console.result(f"version {new.number} ({new.short}) is version {old.number}, {new.why}")
    console.result(f"Train on it: mien run CONFIG --source @{new.short}")
    console.result(f"See what changed: mien data diff {task} {old.number} {new.number}")
