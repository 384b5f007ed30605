"""Lists, compares, restores and verifies versions of raw data.

VersionDiffs are counted in samples: images and rows. The samples of a version come from the task's
`inspect` and are cached by the version's hash. A sample is matched by its content: a row stays the
same when lines are inserted before it, an image when it moves to another split.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mien import config, tasks
from mien.config import Schema
from mien.errors import DataError
from mien.model import bundle
from mien.reporting import console
from mien.storage.cache_keys import stage_key
from mien.storage.files import atomic_dir, write_json
from mien.storage.versions import Store, Version
from mien.storage.workspace import Workspace
from mien.task import Task

from .folders import DRAWN_MARK

_MAX_NAMES = 5
_DRAWN = (
    "mien drew these data, so a model of them is trained_on: synthetic. Delete this file if you "
    "replace them by real data.\n"
)
NO_LABEL = "(none)"
"""The label of a sample without one."""


@dataclass(frozen=True)
class SampleState:
    """What is compared of a sample."""

    label: str
    digest: str
    split: str


@dataclass(frozen=True)
class VersionDiff:
    """The changes from one version to another, by names of samples (the new names)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: Mapping[str, tuple[str, str]]
    """Old and new label."""
    moved: Mapping[str, tuple[str, str]]
    """Old and new split."""
    altered: tuple[str, ...]
    """Other content under the same name."""
    before: Mapping[str, int]
    after: Mapping[str, int]
    """Samples by label."""
    files: tuple[str, ...] = ()
    """Files of both versions with another content, samples or not: repaired boxes only change label
    files."""


def log(task: str, workspace: Workspace) -> None:
    """Print the versions of a task's raw data, the latest last.

    Raises:
        DataError: there are none.
    """
    store = _store(task, workspace)
    versions = _versions(task, store)
    latest, refused = store.latest(), store.refused()
    rows = [
        [
            str(each.number),
            each.short,
            each.created_at[:16].replace("T", " "),
            f"{len(each.items):,}",
            f"{each.size_bytes / 1e6:,.1f}",
            each.source,
            "refused" if each.root in refused else each.reason,
        ]
        for each in versions
    ]
    columns = ["", "version", "created (UTC)", "files", "MB", "source", "reason"]
    mark = versions.index(latest) if latest else -1
    now = f" (now: {latest.number})" if latest else ""
    console.table(f"Versions of {task}{now}", columns, rows, mark)
    for each in versions:
        if each.root in refused:
            console.result(
                f"version {each.number} was refused: {refused[each.root]} "
                f"`mien data forget {task} {each.number}` deletes it."
            )


def diff(
    task: str, old: str, new: str | None, workspace: Workspace, overrides: Sequence[str] = ()
) -> VersionDiff:
    """Print and return the changes from one version to another, by default the latest one.

    Where the task cannot read one of them, files are compared instead of samples. `overrides` are
    params of the task that help to read them.

    Raises:
        ConfigError: an override cannot be used.
        DataError: no such version.
    """
    store = _store(task, workspace)
    first = store.find(old)
    second = store.find(new) if new else store.latest() or first
    if first.root == second.root:
        console.info(
            f"Version {first.number} is compared with itself; `mien data log {task}` lists the "
            "others."
        )
    params = config.params_of(tasks.load(task).training.Params, overrides)
    try:
        states = [_samples(task, each, params, workspace) for each in (first, second)]
    except DataError as error:
        console.info(f"Samples cannot be compared: {error} Files are compared instead.")
        changes = compare(_file_states(first), _file_states(second))
        _print(task, first, second, changes, "files")
        return changes
    changes = compare(*states)
    shared = sorted(first.items.keys() & second.items.keys())
    files = tuple(name for name in shared if first.items[name] != second.items[name])
    changes = replace(changes, files=files)
    _print(task, first, second, changes)
    return changes


def checkout(task: str, name: str, folder: Path | None, workspace: Workspace) -> None:
    """Make a version the latest one, or write its files to a new folder.

    Raises:
        DataError: no such version, damaged shards, the task refused it, or the folder exists.
    """
    store = _store(task, workspace)
    version = store.find(name)
    if folder is None and (reason := store.refused().get(version.root)):
        raise DataError(
            f"Version {version.number} of {task} was refused: {reason} To have it read again, give "
            f"--source @{version.number}, perhaps with other params."
        )
    if folder is None:
        with workspace.locked(task):
            store.set_latest(version.root)
        console.result(f"version {version.number} ({version.short}) is the latest of {task} now")
        return
    if folder.exists():
        raise DataError(f"{folder} exists. Name a new folder.")
    with atomic_dir(folder) as temporary:
        store.write(version, temporary)
        if version.synthetic:
            (temporary / DRAWN_MARK).write_text(_DRAWN, encoding="utf-8")
    console.result(f"version {version.number} ({version.short}): {folder}")


def forget(task: str, name: str, workspace: Workspace) -> None:
    """Delete a version that no registered model was trained on.

    Raises:
        DataError: no such version, it is the latest one, or a registered model needs it.
    """
    store = _store(task, workspace)
    with workspace.locked(task):
        version = store.find(name)
        if version.root == store.latest_root:
            raise DataError(
                f"Version {version.number} is the latest of {task}. Choose another one first: "
                f"`mien data checkout {task} VERSION`."
            )
        for number in workspace.exported_versions(task):
            manifest = bundle.read(workspace.version(task, number)).manifest
            if manifest.lineage.data_fingerprint == version.root:
                raise DataError(
                    f"Version {version.number} is the data of mien-{task} version {number}, which "
                    "could not be trained again without it."
                )
        freed = store.remove(version)
    console.result(f"version {version.number} ({version.short}) is deleted, {freed / 1e6:,.1f} MB")


def verify(task: str, workspace: Workspace) -> bool:
    """Read every byte of every version; print errors, and return whether there are none.

    Raises:
        DataError: there are no versions.
    """
    store = _store(task, workspace)
    errors = store.verify()
    for error in errors:
        console.failure(error)
    if errors:
        return False
    numbers = ", ".join(str(each.number) for each in _versions(task, store))
    console.result(f"{task}, version {numbers}: every byte is as it was stored")
    return True


def compare(old: Mapping[str, SampleState], new: Mapping[str, SampleState]) -> VersionDiff:
    """The changes between two sets of samples by name."""
    pairs = dict(_pairs(old, new))
    matched = set(pairs.values())
    both = [(name, old[before], new[name]) for name, before in pairs.items()]
    return VersionDiff(
        added=tuple(name for name in new if name not in pairs),
        removed=tuple(name for name in old if name not in matched),
        relabelled={name: (a.label, b.label) for name, a, b in both if a.label != b.label},
        moved={name: (a.split, b.split) for name, a, b in both if a.split != b.split},
        altered=tuple(name for name, a, b in both if a.digest != b.digest),
        before=Counter(each.label for each in old.values()),
        after=Counter(each.label for each in new.values()),
    )


def _pairs(
    old: Mapping[str, SampleState], new: Mapping[str, SampleState]
) -> Iterator[tuple[str, str]]:
    """New and old name of each sample in both sets; the best match comes first."""
    keys: tuple[Callable[[str, SampleState], tuple[str, ...]], ...] = (
        lambda name, each: (name, each.digest, each.label, each.split),
        lambda _, each: (each.digest, each.label, each.split),
        lambda _, each: (each.digest, each.label),
        lambda name, each: (name, each.digest),
        lambda _, each: (each.digest,),
        lambda name, _: (name,),
    )
    old, new = dict(old), dict(new)
    for key in keys:
        unmatched: dict[tuple[str, ...], deque[str]] = {}
        for name, each in old.items():
            unmatched.setdefault(key(name, each), deque()).append(name)
        for name, each in list(new.items()):
            if same := unmatched.get(key(name, each)):
                before = same.popleft()
                del old[before], new[name]
                yield name, before


def _print(
    task: str, first: Version, second: Version, diff: VersionDiff, unit: str = "samples"
) -> None:
    title = f"{task}: version {first.number} ({first.short}) to {second.number} ({second.short})"
    changes: list[tuple[str, Sequence[str]]] = [
        ("added", diff.added),
        ("removed", diff.removed),
        ("relabelled", [f"{name} {a} -> {b}" for name, (a, b) in diff.relabelled.items()]),
        ("moved", [f"{name} {a} -> {b}" for name, (a, b) in diff.moved.items()]),
        ("altered", diff.altered),
        ("other files", diff.files),
    ]
    rows = [[name, f"{len(each):,}", "; ".join(each[:_MAX_NAMES])] for name, each in changes]
    console.table(title, [unit, "number", "examples"], rows)
    counts = [
        [label, f"{diff.before.get(label, 0):,}", f"{diff.after.get(label, 0):,}"]
        for label in sorted({*diff.before, *diff.after})
    ]
    totals = ["all", f"{sum(diff.before.values()):,}", f"{sum(diff.after.values()):,}"]
    console.table(f"{unit.capitalize()} per label", ["", "before", "after"], [*counts, totals])


def _file_states(version: Version) -> dict[str, SampleState]:
    return {name: SampleState(NO_LABEL, each.sha256, "") for name, each in version.items.items()}


def _samples(
    task: str, version: Version, params: Schema, workspace: Workspace
) -> dict[str, SampleState]:
    cache = workspace.cache(task)
    path = cache / f"samples-{stage_key('samples', task, version.root, params)}.json"
    if not path.is_file():
        # Without the lock, a writer would remove the unpacked version as the remains of another.
        with workspace.locked(task):
            states = _sample_states(tasks.load(task), version, params, workspace)
            write_json(path, states, indent=None)
    stored: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: SampleState(*each) for name, each in stored.items()}


def _sample_states(
    task: Task[Any], version: Version, params: Schema, workspace: Workspace
) -> dict[str, list[str]]:
    with Store(workspace.raw(task.name), console.bar).unpacked(version) as raw:
        inspection = task.data.inspect(raw, params, workspace.cache(task.name))
    return {
        each.name: [" + ".join(each.labels) or NO_LABEL, each.digest, each.split or ""]
        for each in inspection.samples
    }


def _versions(task: str, store: Store) -> list[Version]:
    versions = store.versions()
    if not versions:
        raise DataError(f"There are no data of {task} yet. Run `mien data {task} --source PATH`.")
    return versions


def _store(task: str, workspace: Workspace) -> Store:
    return Store(workspace.raw(tasks.load(task).name), console.bar)
