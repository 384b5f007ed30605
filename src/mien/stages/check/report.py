"""What a check found, as a machine reads it and as a person sees it in a terminal.

report.json   {"format": 1, "task", "version" (root hash), "number", "source",
               "mended": whether it was made of another version, "samples": how many,
               "splits": {split: {label: subjects}},
               "shortcut": null or {"accuracy", "majority", "chance",
                                    "by_fact": [[name, accuracy], ...]},
               "gates": [{"name", "level", "limit", "found", "total", "share" (0..1),
                          "state": passed|noted|warned|failed|off, "meaning", "mends",
                          "examples": [{"names": [...], "what"}],
                          "names": up to 10,000 of those at fault}]}
leaks.json    {"version", "exact": val and test samples whose exact copy is in train,
               "near": those that have a near copy there}
copies.json   {"exact": [[names that are copies of each other], ...], "near": [...]}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.errors import DataError
from mien.reporting import console
from mien.storage.files import write_json
from mien.storage.versions import Version
from mien.storage.workspace import LEAKS, REPORT

from . import findings, material
from .findings import Search
from .gates import Case, Outcome, State
from .material import Cluster, Material

COPIES = "copies.json"
KEPT = 10_000
"""Names at fault that a report keeps of each gate."""
PAGE, PICTURE = "report.html", "report.png"
LOUD: Sequence[State] = ("failed", "warned", "noted")
"""States of gates that found something, the worst first."""


@dataclass(frozen=True)
class Report:
    """What `report.json` holds."""

    task: str
    version: str
    number: int
    source: str
    mended: bool
    """Whether the version was made by mending another one."""
    samples: int
    splits: Mapping[str, Mapping[str, int]]
    shortcut: Mapping[str, Any] | None
    gates: tuple[Outcome, ...]

    @property
    def title(self) -> str:
        """The version in words."""
        return f"version {self.number} ({self.version[:12]}) of {self.task}"

    def those(self, *states: State) -> tuple[Outcome, ...]:
        """The gates in one of these states."""
        return tuple(each for each in self.gates if each.state in states)


def of(version: Version, search: Search, judged: Sequence[Outcome]) -> Report:
    """Put together what a check found."""
    return Report(
        task=search.material.task.name,
        version=version.root,
        number=version.number,
        source=version.source,
        mended=version.parent is not None,
        samples=len(search.material.samples),
        splits=findings.counts(search.material),
        shortcut=asdict(search.shortcut) if search.shortcut else None,
        gates=tuple(judged),
    )


def write(report: Report, held: Material, folder: Path) -> None:
    """Write `report.json`, `leaks.json` and `copies.json`."""
    document = {"format": 1, **asdict(report)}
    for gate in document["gates"]:
        gate["names"] = gate["names"][:KEPT]
    _write(folder / REPORT, document)
    _write(folder / LEAKS, {"version": report.version, **material.leaks(held)})
    _write(folder / COPIES, {"exact": _named(held, held.exact), "near": _named(held, held.near)})


def read(folder: Path) -> Report:
    """Read what `write` wrote.

    Raises:
        DataError: there is no such report, or it cannot be read.
    """
    try:
        document = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if document.pop("format") != 1:
            raise ValueError("another format")
        judged = tuple(_outcome(each) for each in document.pop("gates"))
        return Report(**document, gates=judged)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{folder} holds no readable report of a check ({error}). Remove the folder and run "
            "`mien data check CONFIG` again."
        ) from None


def copies(folder: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Exact and near copies that a check found, by names of samples."""
    document = json.loads((folder / COPIES).read_text(encoding="utf-8"))
    return document["exact"], document["near"]


def show(report: Report, page: Path, mended: str = "") -> None:
    """Print the gates that found something, the names of the others, and a verdict; `mended` is the
    version that was made of this one, as a source."""
    found = sorted(report.those(*LOUD), key=lambda each: LOUD.index(each.state))
    title = f"Check of {report.title}: {report.samples:,} samples"
    if found:
        rows = [[each.state, each.name, _found(each), each.meaning] for each in found]
        console.table(title, ["state", "gate", "found", "meaning"], rows)
    else:
        console.result(title)
    for state, words in (("passed", "found nothing"), ("off", "off, or nothing to look at")):
        names = [each.name for each in report.gates if each.state == state]
        if names:
            console.result(f"{words}: {', '.join(names)}")
    console.result(verdict(report, mended))
    console.result(f"More, with pictures of what was found: {page}")


def verdict(report: Report, mended: str = "") -> str:
    """One or two sentences: whether the data pass, and what to do if they do not."""
    failed, warned = report.those("failed"), report.those("warned")
    subject = f"V{report.title[1:]}"
    if failed:
        return f"{subject} fails {_listed(failed)}. {_remedy(report, mended)}"
    if warned:
        return f"{subject} passes, with a warning of {_listed(warned)}."
    return f"{subject} passes its gates."


def fault(report: Report, page: Path, mended: str = "") -> str:
    """What stops a training, in sentences."""
    return (
        f"The data fail {_listed(report.those('failed'))}. {_remedy(report, mended)} "
        f"What was found: {page}"
    )


def _remedy(report: Report, mended: str) -> str:
    if mended:
        return f"They were mended: --source {mended} is that version."
    levels = "set another level or limit under `gates:` in the config."
    if report.mended or not any(each.mends for each in report.those("failed")):
        return f"Mend the source by hand and fetch it again, or {levels}"
    version = f"--source @{report.version[:12]}"
    return (
        f"`mien data check CONFIG {version} --fix` mends what is safe to mend. Mend the rest by "
        f"hand, or {levels}"
    )


def _listed(judged: Sequence[Outcome]) -> str:
    names = "; ".join(f"{each.name!r} ({_found(each)})" for each in judged)
    return f"{len(judged)} gate{'s' * (len(judged) > 1)}: {names}"


def _found(gate: Outcome) -> str:
    return f"{gate.found:,} of {gate.total:,}" if gate.total else "-"


def _outcome(document: Mapping[str, Any]) -> Outcome:
    examples = tuple(Case(tuple(each["names"]), each["what"]) for each in document["examples"])
    return Outcome(**{**document, "examples": examples, "names": tuple(document["names"])})


def _named(held: Material, clusters: Sequence[Cluster]) -> list[list[str]]:
    return [[held.samples[place].name for place in cluster] for cluster in clusters]


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_json(path, document)
