"""Hold a version of raw data to its gates before a training, and mend what is safe to mend.

    version -> task.survey + what holds for every task -> data/checked/<task>/<key>/
               report.json, report.html, report.png, leaks.json, copies.json

A version is unpacked and read once; the folder is named by all that went into it, so that checking
again reads no data. What is looked for is in `findings.py`, what is mended in `fixing.py`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien import config, tasks
from mien.config import RunConfig, Schema
from mien.errors import GateError
from mien.reporting import console
from mien.storage.cache_keys import stage_key
from mien.storage.files import atomic_dir, atomic_write
from mien.storage.versions import Store, Version
from mien.storage.workspace import REPORT, Workspace, write_latest
from mien.task import Gate, Task

from . import findings, fixing, gates, material, page, picture, report
from .report import PAGE, PICTURE


@dataclass(frozen=True)
class Checked:
    """Where the report of a check lies, whether it was made just now, and whether the data pass."""

    folder: Path
    fresh: bool
    failed: tuple[str, ...]
    """Names of the gates at level error that found more than their limit."""
    mended: str = ""
    """Where it fails: the version that was made of it by mending it, as a source; "" where none."""

    @property
    def passed(self) -> bool:
        return not self.failed


def check(run: RunConfig, workspace: Workspace, version: Version, told: bool = False) -> Checked:
    """Hold a version to the gates of its task, as the run's config has them.

    Prints what was found where it was found just now, and everything where it is `told` to.

    Raises:
        ConfigError: the config names a gate that there is not, or params that do not fit the task.
        DataError: the task understands nothing of the data.
        WeightsError: a gate of the level error needs what counts subjects, and that is not here.
    """
    task = tasks.load(run.task)
    chosen = gates.chosen(task, run.gates)
    params = _params(task, run)
    levels = {name: [gate.level, gate.limit] for name, gate in chosen.items()}
    folder = workspace.checked(run.task) / stage_key(
        "check", run.task, version.root, levels, params
    )
    # Whoever asks for the report may have a network now; a run does not wait for one.
    fresh = not folder.is_dir() or (told and (folder / _UNCOUNTED).is_file())
    if fresh:
        _make(task, params, chosen, workspace, version, folder)
    write_latest(workspace.checked(run.task), run.name, folder.name)
    _publish(folder, workspace.reports(run.task))
    found = report.read(folder)
    failed = tuple(each.name for each in found.those("failed"))
    mended = _mended(Store(workspace.raw(run.task), console.bar), version) if failed else ""
    if told or (fresh and found.those("failed", "warned")):
        report.show(found, workspace.reports(run.task) / _PUBLIC[PAGE], mended)
    return Checked(folder, fresh, failed, mended)


def require(checked: Checked) -> None:
    """Let nothing on that fails a gate.

    Raises:
        GateError: naming the gates and what to do.
    """
    if not checked.passed:
        found = report.read(checked.folder)
        raise GateError(report.fault(found, checked.folder / PAGE, checked.mended))


def fix(run: RunConfig, workspace: Workspace, version: Version) -> Version:
    """Mend what is safe to mend, as a new version; the same version where there is nothing to do.

    Raises:
        ConfigError, DataError: as `check`.
    """
    checked = check(run, workspace, version)
    task = tasks.load(run.task)
    exact, near = report.copies(checked.folder)
    return fixing.fix(task, _params(task, run), workspace, version, exact, near)


_PUBLIC = {REPORT: "check.json", PICTURE: "check.png", PAGE: "check.html"}
"""Names of the report's files where people look for the newest one."""


_UNCOUNTED = "uncounted.txt"
"""Beside a report: why subjects were not counted."""


def _mended(store: Store, version: Version) -> str:
    made = [each for each in store.versions() if each.parent == version.root]
    return f"@{made[-1].short}" if made else ""


def _params(task: Task[Any], run: RunConfig) -> Schema:
    """The params that the data depend on; all others at their defaults."""
    params = config.parse(task.training.Params, run.params, "params")
    wanted: Schema = task.training.Params(
        **{name: getattr(params, name) for name in task.data.param_names}
    )
    return wanted


def _make(
    task: Task[Any],
    params: Schema,
    chosen: dict[str, Gate],
    workspace: Workspace,
    version: Version,
    folder: Path,
) -> None:
    store, cache = Store(workspace.raw(task.name), console.bar), workspace.cache(task.name)
    with store.unpacked(version) as raw, atomic_dir(folder) as temporary:
        held = material.gather(task, raw, params, cache)
        search = findings.Search(held, material.shortcut(held))
        found = report.of(version, search, findings.outcomes(search, chosen))
        if search.uncounted:
            (temporary / _UNCOUNTED).write_text(search.uncounted + "\n", encoding="utf-8")
        report.write(found, held, temporary)
        picture.draw(found, temporary / PICTURE)
        page.write(found, held.samples, temporary)


def _publish(folder: Path, reports: Path) -> None:
    """Copy a report to where people look for the newest one."""
    for name, public in _PUBLIC.items():
        with atomic_write(reports / public) as temporary:
            shutil.copyfile(folder / name, temporary)
