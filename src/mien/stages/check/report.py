"""The report of a check, for machines (JSON) and for people (in a terminal).

report.json   {"format": 3, "task", "version" (root hash), "number", "source",
               "repaired": whether it was made from another version, "samples": how many,
               "splits": {split: {label: subjects}},
               "metadata_baseline": null or {"accuracy", "majority", "chance",
                                             "by_feature": [[name, accuracy], ...]},
               "checks": [{"slug", "level", "limit", "count", "total", "share" (0..1),
                           "state": passed|noted|warned|failed|off, "description", "fixable",
                           "setting": a config key with a value that helps,
                           "examples": [{"names": [...], "description"}],
                           "names": up to 10,000 of the samples with issues}]}
data_quality.json   {"version", "exact": val and test samples with an exact duplicate in train,
                     "near": those with a near duplicate there,
                     "completeness": {slug: share of items without the issue}}
duplicates.json   {"exact": [[names that are duplicates of each other], ...], "near": [...]}
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from mien.config import Schema
from mien.reporting import console
from mien.storage.files import write_json
from mien.storage.versions import Version
from mien.storage.workspace import DATA_QUALITY, REPORT, read_document

from .context import CheckContext, label_counts, train_leakage
from .metadata_baseline import MetadataBaseline
from .results import DataCheckResult, State

DUPLICATES = "duplicates.json"
MAX_NAMES = 10_000
"""Names of samples with issues that a report lists for each check."""
PAGE = "report.html"
WITH_ISSUES: Sequence[State] = ("failed", "warned", "noted")
"""States of checks that found issues, the worst first."""


class CheckReport(Schema):
    """The content of `report.json`."""

    format: Literal[3] = 3
    task: str
    version: str
    number: int
    source: str
    repaired: bool
    """Whether the version was made by repairing another one."""
    samples: int
    splits: Mapping[str, Mapping[str, int]]
    metadata_baseline: MetadataBaseline | None
    checks: tuple[DataCheckResult, ...]

    @property
    def title(self) -> str:
        """The version in words."""
        return f"version {self.number} ({self.version[:12]}) of {self.task}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all splits, once each."""
        return tuple(dict.fromkeys(name for split in self.splits.values() for name in split))

    def in_state(self, *states: State) -> tuple[DataCheckResult, ...]:
        """The checks in one of these states."""
        return tuple(each for each in self.checks if each.state in states)


def build(
    version: Version, context: CheckContext, results: Sequence[DataCheckResult]
) -> CheckReport:
    """Put the results of a check together."""
    return CheckReport(
        task=context.task.name,
        version=version.root,
        number=version.number,
        source=version.source,
        repaired=version.parent is not None,
        samples=len(context.samples),
        splits=label_counts(context),
        metadata_baseline=context.measured_baseline,
        checks=tuple(results),
    )


def write(report: CheckReport, context: CheckContext, folder: Path) -> None:
    """Write `report.json`, `data_quality.json` and `duplicates.json`."""
    document = report.model_dump(mode="json")
    for check in document["checks"]:
        check["names"] = check["names"][:MAX_NAMES]
    write_json(folder / REPORT, document)
    quality = {
        "version": report.version,
        **train_leakage(context),
        "completeness": {
            each.slug: max(0.0, 1 - each.share) for each in report.checks if each.state != "off"
        },
    }
    write_json(folder / DATA_QUALITY, quality)
    clusters = {"exact": context.duplicates, "near": context.near_duplicates}
    names = {
        kind: [[context.samples[index].name for index in cluster] for cluster in each]
        for kind, each in clusters.items()
    }
    write_json(folder / DUPLICATES, names)


def read(folder: Path) -> CheckReport:
    """Read the report of a folder.

    Raises:
        MienError: there is no such report, or it cannot be read.
    """
    remedy = "Remove the folder and run `mien data check CONFIG` again."
    return read_document(CheckReport, folder / REPORT, remedy)


def read_duplicates(folder: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Exact and near duplicates of a checked version, by names of samples."""
    document = json.loads((folder / DUPLICATES).read_text(encoding="utf-8"))
    return document["exact"], document["near"]


def show(report: CheckReport, page: Path, repaired_source: str = "") -> None:
    """Print the checks that found issues, the slugs of the others, and a verdict;
    `repaired_source` is the version that was made by repairing this one."""
    results = sorted(report.in_state(*WITH_ISSUES), key=lambda each: WITH_ISSUES.index(each.state))
    title = f"Check of {report.title}: {report.samples:,} samples"
    if results:
        rows = [[each.state, each.slug, _count(each), each.description] for each in results]
        console.table(title, ["state", "check", "issues", "description"], rows)
    else:
        console.result(title)
    for state, heading in (("passed", "no issues"), ("off", "off, or nothing to look at")):
        slugs = [each.slug for each in report.checks if each.state == state]
        if slugs:
            console.result(f"{heading}: {', '.join(slugs)}")
    console.result(verdict(report, repaired_source))
    console.result(f"Full report, with images: {page}")


def summary_rows(report: CheckReport) -> list[tuple[str, str, str, str]]:
    """State, slug, number of issues and description of each check that ran, the worst first."""
    order: tuple[State, ...] = (*WITH_ISSUES, "passed")
    results = sorted(report.in_state(*order), key=lambda each: order.index(each.state))
    return [(each.state, each.slug, _count(each), each.description) for each in results]


def verdict(report: CheckReport, repaired_source: str = "") -> str:
    """One or two sentences: whether the data pass, and what to do if they do not."""
    failed, warned = report.in_state("failed"), report.in_state("warned")
    subject = f"V{report.title[1:]}"
    if failed:
        return f"{subject} fails {_list(failed)}. {_remedy(report, repaired_source)}"
    if warned:
        return f"{subject} passes, with warnings of {_list(warned)}."
    return f"{subject} passes its checks."


def error_message(report: CheckReport, page: Path, repaired_source: str = "") -> str:
    """Why the training does not start, and what to do."""
    return (
        f"The data fail {_list(report.in_state('failed'))}. {_remedy(report, repaired_source)} "
        f"Report: {page}"
    )


def _remedy(report: CheckReport, repaired_source: str) -> str:
    failed = report.in_state("failed")
    quoted = dict.fromkeys(shlex.quote(each.setting) for each in failed)
    settings = " ".join(f"--set {each}" for each in quoted)
    if repaired_source:
        return f"A repaired version exists: --source {repaired_source}. Or use: {settings}"
    accept = f"use these settings: {settings}"
    if report.repaired or not any(each.fixable for each in failed):
        return f"Correct the source by hand and fetch it again, or {accept}"
    version = f"--source @{report.version[:12]}"
    return (
        f"`mien data check CONFIG {version} --fix` repairs what is safe to repair. Correct the "
        f"rest by hand, or {accept}"
    )


def _list(results: Sequence[DataCheckResult]) -> str:
    slugs = "; ".join(
        f"{each.slug} ({_count(each)}{each.hint and f': {each.hint}'})" for each in results
    )
    return f"{len(results)} check{'s' * (len(results) > 1)}: {slugs}"


def _count(result: DataCheckResult) -> str:
    return f"{result.count:,} of {result.total:,}" if result.total else "-"
