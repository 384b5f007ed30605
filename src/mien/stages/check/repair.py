"""Repairs a version without a person's decision: a plan for the task, and the new version.

Safe repairs are: dropping a duplicate that adds nothing, moving duplicates and people into one
split, and what the task itself knows how to repair. The old version stays as it was.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import DataError
from mien.reporting import console
from mien.stages import Run
from mien.storage.versions import OPEN, Version
from mien.task import SPLITS, RepairPlan, Sample, Split

from .checks.label_conflict import conflicts
from .context import Cluster
from .disjoint_set import merge_clusters

Names = Sequence[Sequence[str]]
"""Clusters of duplicates by names of samples."""
_MIN_REMAINING = 0.5
"""Share of a split's contents that must stay in it, or the splits cannot be repaired."""


@dataclass(frozen=True)
class PlannedRepairs:
    """A plan, and a summary of it in words."""

    plan: RepairPlan
    summary: tuple[str, ...]
    unresolved: int = 0
    """Groups that stay in several splits, because moving them would empty one."""


def repair(run: Run, version: Version, exact: Names, near: Names) -> Version:
    """Repair a version as a new one and print what changed; the same one where nothing did.

    Raises:
        DataError: the splits share so much that none would be left.
    """
    store, task, params = run.store, run.task, run.data_params
    with (
        store.unpacked(version) as raw,
        TemporaryDirectory(prefix=f"{OPEN}fix.", dir=store.folder) as temporary,
    ):
        out = Path(temporary)
        planned = plan_repairs(task.data.inspect(raw, params, run.cache).samples, exact, near)
        by_task = task.data.repair(raw, out, planned.plan, params, run.cache)
        changes = [*planned.summary, *(each.rstrip(".") for each in by_task)]
        if not changes:
            repaired = version
        else:
            repaired = store.add_folder(out, f"fixed: {', '.join(changes)}", version)
    _print(task.name, version, repaired, planned)
    return repaired


def plan_repairs(samples: Sequence[Sample], exact: Names, near: Names) -> PlannedRepairs:
    """Choose which samples to drop and which to move.

    One of several exact duplicates stays, in test before val before train, so that the measured
    splits stay as they are; none stays where their labels differ. Near duplicates and all samples
    of one person end in one split, the one that has most of them.

    Raises:
        DataError: less than half of a split's contents would be left.
    """
    index_of = {sample.name: index for index, sample in enumerate(samples)}
    clusters = [tuple(index_of[name] for name in cluster) for cluster in exact]
    conflicting = [each for each in clusters if conflicts(samples, [each])]
    contradicted = {index for cluster in conflicting for index in cluster}
    repeated = {
        index
        for cluster in clusters
        if cluster not in conflicting
        for index in set(cluster) - {_staying(samples, cluster)}
    }
    dropped = repeated | contradicted
    _require_splits(samples, dropped)
    near_clusters = [[index_of[name] for name in cluster] for cluster in near]
    moves, unresolved = _plan_moves(samples, near_clusters, dropped)
    plan = RepairPlan(
        drop=frozenset(samples[index].name for index in dropped),
        move={samples[index].name: split for index, split in moves.items()},
    )
    changes = [
        (len(repeated), "duplicates dropped"),
        (len(contradicted), "duplicates with conflicting labels dropped"),
        (len(moves), "moved to another split"),
    ]
    return PlannedRepairs(
        plan, tuple(f"{count:,} {change}" for count, change in changes if count), unresolved
    )


def _staying(samples: Sequence[Sample], cluster: Cluster) -> int:
    """The duplicate that stays: the first one of the last split."""
    order = (None, *SPLITS)
    return max(cluster, key=lambda index: (order.index(samples[index].split), -index))


def _require_splits(samples: Sequence[Sample], dropped: set[int]) -> None:
    for split in SPLITS:
        indices = [index for index, sample in enumerate(samples) if sample.split == split]
        before = len({samples[index].digest for index in indices})
        after = len({samples[index].digest for index in indices if index not in dropped})
        if after < _MIN_REMAINING * before:
            raise DataError(
                f"The splits cannot be repaired: {before - after:,} of the {before:,} contents of "
                f"{split} are also in another split or have conflicting labels. Split the data "
                "again and fetch them again."
            )


def _plan_moves(
    samples: Sequence[Sample], near: Sequence[Sequence[int]], dropped: set[int]
) -> tuple[dict[int, Split], int]:
    """The new split of each sample that must change it, and the number of unresolved groups."""
    staying = [
        index
        for index, each in enumerate(samples)
        if each.split is not None and index not in dropped
    ]
    by_person: dict[str, list[int]] = {}
    for index in staying:
        if samples[index].person:
            by_person.setdefault(samples[index].person, []).append(index)
    remaining = set(staying)
    clusters = [[index for index in cluster if index in remaining] for cluster in near]
    size = Counter(samples[index].split for index in staying)
    capacity = {split: int(size[split] * (1 - _MIN_REMAINING)) for split in SPLITS}
    moves: dict[int, Split] = {}
    unresolved = 0
    for group in merge_clusters((*clusters, *by_person.values()), len(samples)):
        counts = Counter(samples[index].split for index in group)
        target = max(SPLITS, key=lambda split: counts[split])  # the first of equals: train
        leaving = {split: counts[split] for split in SPLITS if split != target and counts[split]}
        if any(count > capacity[split] for split, count in leaving.items()):
            unresolved += 1
            continue
        for split, count in leaving.items():
            capacity[split] -= count
        moves |= {index: target for index in group if samples[index].split != target}
    return moves, unresolved


def _print(task: str, old: Version, new: Version, planned: PlannedRepairs) -> None:
    if planned.unresolved:
        console.result(
            f"{planned.unresolved} groups of duplicates or people stay in several splits: moving "
            "them would take more than half of a split. Split the data again."
        )
    if new.root == old.root:
        console.result(f"version {old.number} ({old.short}): nothing that is safe to repair")
        return
    console.result(f"version {new.number} ({new.short}) is version {old.number}, {new.reason}")
    console.result(f"Train on it: mien run CONFIG --source @{new.short}")
    console.result(f"See what changed: mien data diff {task} {old.number} {new.number}")
