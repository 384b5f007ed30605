"""Checks the quality of a version of raw data before a training, and repairs what is safe.

    version -> task.inspect + checks -> data/checked/<task>/<key>/
               report.json, report.html, data_quality.json, duplicates.json

A version is unpacked and read once. The folder is named by all inputs, so that a second check reads
no data. Each check is a file of `checks/`, or part of a task's own `checks.py`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataCheckError
from mien.stages import Run
from mien.storage.files import atomic_dir, atomic_write
from mien.storage.versions import Store, Version
from mien.storage.workspace import REPORT, write_latest
from mien.task import Check

from . import page, report, results
from .context import CheckContext, build_context
from .repair import repair as repair_version
from .report import PAGE


@dataclass(frozen=True)
class CheckedData:
    """The report of a check: its folder, whether it is new, and whether the data pass."""

    folder: Path
    fresh: bool
    failed: tuple[str, ...]
    """Slugs of the failed checks: level error, and more issues than their limit."""
    repaired_source: str = ""
    """Where it fails: the version that was made by repairing it, as a source; "" without one."""

    @property
    def passed(self) -> bool:
        return not self.failed


def check(run: Run, version: Version, verbose: bool = False) -> CheckedData:
    """Check a version of a task's data, with the levels and limits of the run's config.

    Prints the report where it is new and has issues, and always if `verbose`.

    Raises:
        ConfigError: the config names an unknown check, or params that do not fit the task.
        DataError: the task cannot read the data at all.
        WeightsError: a check of level error counts subjects, and the weights are not available.
    """
    checks = results.configured(run.task, run.config.checks)
    levels = {slug: [each.level, each.limit] for slug, each in checks.items()}
    folder = run.checked / run.key("check", version.root, levels, run.data_params)
    # A user who asks for the report may have a network now; a run does not wait for one.
    fresh = not folder.is_dir() or (verbose and (folder / _SUBJECT_COUNT_ERROR).is_file())
    if fresh:
        _write(run, checks, version, folder)
    write_latest(run.checked, run.config.name, folder.name)
    _publish(folder, run.reports)
    document = report.read(folder)
    failed = tuple(each.slug for each in document.in_state("failed"))
    repaired_source = _repaired_source(run.store, version) if failed else ""
    if verbose or (fresh and document.in_state("failed", "warned")):
        report.show(document, run.reports / _PUBLIC[PAGE], repaired_source)
    return CheckedData(folder, fresh, failed, repaired_source)


def require_passed(checked: CheckedData) -> None:
    """Stop here if the data fail a check.

    Raises:
        DataCheckError: naming the failed checks and what to do.
    """
    if not checked.passed:
        document = report.read(checked.folder)
        path = checked.folder / PAGE
        raise DataCheckError(report.error_message(document, path, checked.repaired_source))


def summary(checked: CheckedData) -> tuple[str, list[tuple[str, str, str, str]]]:
    """The verdict of a check, and (state, check, issues, description) of each, the worst first."""
    document = report.read(checked.folder)
    return report.verdict(document, checked.repaired_source), report.summary_rows(document)


def repair(run: Run, version: Version) -> Version:
    """Repair what is safe to repair, as a new version; the same version if there is nothing.

    Raises:
        ConfigError, DataError: as `check`.
    """
    checked = check(run, version)
    exact, near = report.read_duplicates(checked.folder)
    return repair_version(run, version, exact, near)


_PUBLIC = {REPORT: "check.json", PAGE: "check.html"}
"""Names of the newest report's files in `reports/<task>/`."""


_SUBJECT_COUNT_ERROR = "subject_count_error.txt"
"""Beside a report: why subjects were not counted."""


def _repaired_source(store: Store, version: Version) -> str:
    if len(store.roots()) == 1:  # it was not repaired; a large manifest takes long to read
        return ""
    repaired = [each for each in store.versions() if each.parent == version.root]
    return f"@{repaired[-1].short}" if repaired else ""


def _write(
    run: Run, checks: Mapping[str, Check[CheckContext]], version: Version, folder: Path
) -> None:
    with run.store.unpacked(version) as raw, atomic_dir(folder) as temporary:
        context = build_context(run.task, raw, run.data_params, run.cache)
        document = report.build(version, context, results.run_checks(context, checks))
        if context.subject_count_error:
            (temporary / _SUBJECT_COUNT_ERROR).write_text(
                context.subject_count_error + "\n", encoding="utf-8"
            )
        report.write(document, context, temporary)
        page.write(document, context.samples, temporary, run.task.inference.skeleton)


def _publish(folder: Path, reports: Path) -> None:
    """Copy a report to where users look for the newest one."""
    for name, public in _PUBLIC.items():
        with atomic_write(reports / public) as temporary:
            shutil.copyfile(folder / name, temporary)
