"""What one asks of versions of raw data: which there are, what changed, whether they are whole.

A change is told in what people label: pictures and rows. What a version's samples are is found out
once by the task's survey and kept by the version's hash. A sample is known again by its content: a
row stays itself when lines are put in before it, a picture when it goes to another split.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import DataError
from mien.reporting import console
from mien.storage.cache_keys import stage_key
from mien.storage.files import atomic_dir, write_json
from mien.storage.versions import Store, Version
from mien.storage.workspace import Workspace
from mien.task import Task

_NAMED = 5
NOTHING = "(none)"
"""What stands for the label of a sample that has none."""


@dataclass(frozen=True)
class Listed:
    """What a difference knows of a sample."""

    label: str
    digest: str
    split: str


@dataclass(frozen=True)
class Difference:
    """From one version to another, by names of samples; the new name where it has two."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: Mapping[str, tuple[str, str]]
    """Old and new label."""
    moved: Mapping[str, tuple[str, str]]
    """Old and new split."""
    altered: tuple[str, ...]
    """Other pixels or numbers under the same name."""
    before: Mapping[str, int]
    after: Mapping[str, int]
    """Samples by label."""
    files: tuple[str, ...] = ()
    """Files that are in both with another content, those that are no sample among them: of labels
    whose boxes were mended, they alone tell."""


def log(task: str, workspace: Workspace) -> None:
    """Print the versions of a task's raw data, the newest last.

    Raises:
        DataError: there is none yet.
    """
    store = _store(task, workspace)
    known = _known(task, store)
    latest = store.latest()
    rows = [
        [
            str(each.number),
            each.short,
            each.created_at[:16].replace("T", " "),
            f"{len(each.items):,}",
            f"{each.size_bytes / 1e6:,.1f}",
            each.source,
            each.reason,
        ]
        for each in known
    ]
    columns = ["", "version", "created (UTC)", "files", "MB", "source", "reason"]
    mark = known.index(latest) if latest else -1
    now = f" (now: {latest.number})" if latest else ""
    console.table(f"Versions of {task}{now}", columns, rows, mark)


def diff(task: str, old: str, new: str | None, workspace: Workspace) -> Difference:
    """Print and return what changed from one version to another, by default the newest one."""
    store = _store(task, workspace)
    first = store.find(old)
    second = store.find(new) if new else store.latest() or first
    if first.root == second.root:
        console.info(
            f"Version {first.number} is compared with itself; `mien data log {task}` lists the "
            "others."
        )
    found = compare(_samples(task, first, workspace), _samples(task, second, workspace))
    both = first.items.keys() & second.items.keys()
    others = [name for name in sorted(both) if first.items[name] != second.items[name]]
    found = replace(found, files=tuple(others))
    _tell(task, first, second, found)
    return found


def checkout(task: str, name: str, folder: Path | None, workspace: Workspace) -> None:
    """Make a version the newest, or write its files to a new folder.

    Raises:
        DataError: there is no such version, its shards are damaged, or the folder is there.
    """
    store = _store(task, workspace)
    version = store.find(name)
    if folder is None:
        with workspace.locked(task):
            store.set_latest(version.root)
        console.result(f"version {version.number} ({version.short}) is the newest of {task} now")
        return
    if folder.exists():
        raise DataError(f"{folder} is there already; name a folder that is not.")
    with atomic_dir(folder) as temporary:
        store.write(version, temporary)
    console.result(f"version {version.number} ({version.short}): {folder}")


def verify(task: str, workspace: Workspace) -> bool:
    """Read every byte of every version; print what is wrong, and return whether all is well.

    Raises:
        DataError: there is no version yet.
    """
    store = _store(task, workspace)
    faults = store.verify()
    for fault in faults:
        console.failure(fault)
    if faults:
        return False
    numbers = ", ".join(str(each.number) for each in _known(task, store))
    console.result(f"{task}, version {numbers}: every byte is as it was kept")
    return True


def compare(old: Mapping[str, Listed], new: Mapping[str, Listed]) -> Difference:
    """What changed between two lists of samples by name."""
    pairs = dict(_pairs(old, new))
    taken = set(pairs.values())
    both = [(name, old[before], new[name]) for name, before in pairs.items()]
    return Difference(
        added=tuple(name for name in new if name not in pairs),
        removed=tuple(name for name in old if name not in taken),
        relabelled={name: (a.label, b.label) for name, a, b in both if a.label != b.label},
        moved={name: (a.split, b.split) for name, a, b in both if a.split != b.split},
        altered=tuple(name for name, a, b in both if a.digest != b.digest),
        before=Counter(each.label for each in old.values()),
        after=Counter(each.label for each in new.values()),
    )


def _pairs(old: Mapping[str, Listed], new: Mapping[str, Listed]) -> Iterator[tuple[str, str]]:
    """New and old name of each sample that both lists hold: what agrees in most comes first."""
    ways: tuple[Callable[[str, Listed], tuple[str, ...]], ...] = (
        lambda name, each: (name, each.digest, each.label, each.split),
        lambda _, each: (each.digest, each.label, each.split),
        lambda _, each: (each.digest, each.label),
        lambda name, each: (name, each.digest),
        lambda _, each: (each.digest,),
        lambda name, _: (name,),
    )
    old, new = dict(old), dict(new)
    for way in ways:
        waiting: dict[tuple[str, ...], deque[str]] = {}
        for name, each in old.items():
            waiting.setdefault(way(name, each), deque()).append(name)
        for name, each in list(new.items()):
            if same := waiting.get(way(name, each)):
                before = same.popleft()
                del old[before], new[name]
                yield name, before


def _tell(task: str, first: Version, second: Version, found: Difference) -> None:
    title = f"{task}: version {first.number} ({first.short}) to {second.number} ({second.short})"
    changes: list[tuple[str, Sequence[str]]] = [
        ("added", found.added),
        ("removed", found.removed),
        ("relabelled", [f"{name} {a} -> {b}" for name, (a, b) in found.relabelled.items()]),
        ("moved", [f"{name} {a} -> {b}" for name, (a, b) in found.moved.items()]),
        ("altered", found.altered),
        ("other files", found.files),
    ]
    rows = [[name, f"{len(each):,}", "; ".join(each[:_NAMED])] for name, each in changes]
    console.table(title, ["samples", "number", "the first of them"], rows)
    counts = [
        [label, f"{found.before.get(label, 0):,}", f"{found.after.get(label, 0):,}"]
        for label in sorted({*found.before, *found.after})
    ]
    totals = ["all", f"{sum(found.before.values()):,}", f"{sum(found.after.values()):,}"]
    console.table("Samples per label", ["", "before", "after"], [*counts, totals])


def _samples(task: str, version: Version, workspace: Workspace) -> dict[str, Listed]:
    cache = workspace.cache(task)
    path = cache / f"samples-{stage_key('samples', task, version.root)}.json"
    if not path.is_file():
        # Whoever holds the lock takes an unpacked version of another for remains, and clears up.
        with workspace.locked(task):
            write_json(path, _list(tasks.load(task), version, workspace), indent=None)
    known: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: Listed(*each) for name, each in known.items()}


def _list(task: Task[Any], version: Version, workspace: Workspace) -> dict[str, list[str]]:
    with Store(workspace.raw(task.name), console.bar).unpacked(version) as raw:
        inspect = task.data.inspect(raw, task.training.Params(), workspace.cache(task.name))
    return {
        each.name: [" + ".join(each.labels) or NOTHING, each.digest, each.split or ""]
        for each in inspect.samples
    }


def _known(task: str, store: Store) -> list[Version]:
    known = store.versions()
    if not known:
        raise DataError(f"There is no data of {task} yet: `mien data {task} --source PATH`.")
    return known


def _store(task: str, workspace: Workspace) -> Store:
    return Store(workspace.raw(tasks.load(task).name), console.bar)
