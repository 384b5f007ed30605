"""Make a registered version again from its own record, and say whether it came out the same.

    models/<task>/versions/<n>/ -> code, packages, data and config as recorded -> a scratch
    workspace, where the pipeline of that code runs -> the same bytes, or the first that differ

`record.py` reads a bundle's record of itself, `code.py` and `environment.py` provide the code and
packages that it was made with, `scratch.py` runs the pipeline, `compare.py` compares the results.
No task is known by name.
"""

import hashlib
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mien import config
from mien.errors import RegistryError
from mien.model import bundle, lineage
from mien.model.bundle import Bundle
from mien.reporting import console
from mien.storage.files import atomic_dir
from mien.storage.workspace import Workspace
from mien.tracking import DIGEST, Tracker, Version, model_name

from . import code, compare, environment, record, scratch
from .record import CERTIFICATE, PENDING, Target
from .steps import COMPARED, Outcome, Step

RUNS = 2
"""Rebuilds of a certificate: one could be alike by luck."""
_CARD = "card.md"
_SECTION = "## Certified"


@dataclass(frozen=True)
class RebuildOptions:
    """What a rebuild may do."""

    keep: Path | None = None
    """Where the scratch workspace stays; None for one that is removed."""
    build: bool = False
    """Whether packages that differ are installed as they were locked then."""
    present: bool = False
    """Whether the present code and packages are used, whatever was recorded."""


def reproduce(asked: str, workspace: Workspace, options: RebuildOptions | None = None) -> Outcome:
    """Rebuild the version that `asked` names and compare it stage by stage.

    Raises:
        RegistryError: there is no such version.
        BundleError: its bundle is damaged.
        ConfigError: the scratch folder is in use, or packages cannot be installed.
    """
    return _outcome(record.find(asked, workspace), workspace, options or RebuildOptions())


def certify(asked: str, workspace: Workspace, build: bool = False) -> tuple[Outcome, bool]:
    """Rebuild a version twice and write what came of it to its card and lineage.

    Returns:
        The last outcome, and whether it was written: a rebuild that could not run says nothing.

    Raises:
        RegistryError: there is no such version, or it changed meanwhile.
    """
    target = record.find(asked, workspace)
    with workspace.locked(target.task):
        _mend(target, workspace)
    outcomes: list[Outcome] = []
    while len(outcomes) < RUNS and all(each.passed for each in outcomes):
        outcomes.append(_outcome(target, workspace, RebuildOptions(build=build)))
    if not outcomes[-1].rebuilt:
        return outcomes[-1], False
    with workspace.locked(target.task):
        _write(target, workspace, _certificate(target, outcomes))
    return outcomes[-1], True


def _outcome(target: Target, workspace: Workspace, options: RebuildOptions) -> Outcome:
    steps: list[Step] = []
    with closing(_steps(target, workspace, options)) as found:
        for step in found:
            console.info(f"{_MARKS[step.state]} {step.stage:<11} {step.text}")
            steps.append(step)
            if step.state == "different" and step.stage not in COMPARED[1:]:
                break  # what follows would not be a rebuild of the record
    opened = target.bundle
    return Outcome(
        model=model_name(target.task),
        version=target.number,
        candidate=opened.manifest.candidate,
        digest=opened.digest,
        steps=tuple(steps),
    )


_MARKS = {"identical": "=", "within_tolerance": "~", "warning": "!", "different": "x"}


def _steps(
    target: Target, workspace: Workspace, options: RebuildOptions
) -> Generator[Step, None, None]:
    yield record.check(target, workspace)
    with scratch.opened(options.keep) as folder:
        file, step = record.write_config(target, folder)
        yield step
        yield scratch.copy_data(target, workspace, Workspace(folder / "workspace"))
        recorded = record.code(target, workspace)
        with code.checkout(recorded, folder / "code", options.present) as (found, step):
            yield step
            if found is not None:
                yield from _rebuilt(target, workspace, options, folder, file, found)


def _rebuilt(
    target: Target,
    workspace: Workspace,
    options: RebuildOptions,
    folder: Path,
    file: Path,
    found: code.Code,
) -> Iterator[Step]:
    python, step = _packages(target, options, folder, found)
    yield step
    training = target.lineage.get("training", {})
    step = environment.machine(target.lineage["platform"], training)
    yield step
    own = Workspace(folder / "workspace")
    console.info("running the pipeline in a scratch workspace; what it says of versions is of that")
    made = scratch.run(target, file, found, python, own)
    if isinstance(made, Step):
        yield made
        return
    where = compare.PreparedFolders(target.task, workspace, own)
    yield from compare.stages(target.bundle, made, step.state == "identical", where)


def _packages(
    target: Target, options: RebuildOptions, folder: Path, found: code.Code
) -> tuple[Path, Step]:
    recorded, python = target.lineage["environment"], Path(sys.executable)
    step = environment.packages(recorded, found, python)
    if step.state == "identical":
        return python, step
    if options.present:
        return python, Step(step.stage, "warning", f"the present one, as asked: {step.text}")
    if options.build:
        python = environment.build(found, folder / "packages", recorded["python"])
        step = environment.packages(recorded, found, python)
        return python, Step(step.stage, step.state, f"installed anew: {step.text}")
    remedy = "--build installs what was locked then, --present takes what is here"
    return python, Step(step.stage, step.state, f"{step.text}. {remedy}")


def _certificate(target: Target, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    last, here = outcomes[-1], lineage.machine()
    packages = target.lineage["environment"]  # the rebuild had the same, or it would not have run
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": len(outcomes),
        "identical": all(each.identical for each in outcomes),
        "verdict": last.verdict,
        "compared": {step.stage: step.text for step in last.steps if step.stage in COMPARED},
        "rebuilt_from": last.digest,
        "environment": {
            "python": packages["python"],
            "packages": len(packages) - 1,
            "sha256": config.digest(packages),
        },
        "platform": here,
    }


def _write(target: Target, workspace: Workspace, certificate: dict[str, Any]) -> None:
    """Put a certificate into a version's bundle, and let the registry know the new digest.

    The registry is told first what is about to come (`PENDING`), so that whatever is cut off
    can be completed by the next certificate: see `_mend`.
    """
    if bundle.read(target.bundle.folder).digest != target.bundle.digest:
        raise RegistryError(
            f"Version {target.number} of {model_name(target.task)} changed while it was rebuilt; "
            "certify it again."
        )
    tracker = Tracker(workspace.home)
    entry = record.registered(target, tracker)
    with atomic_dir(target.bundle.folder) as temporary:
        new = _certified(target.bundle, temporary, certificate)
        if entry is not None:
            tracker.set_tag(model_name(target.task), target.number, PENDING, new.digest)
    if entry is not None:
        _settle(target, workspace, tracker, entry, new.digest)


def _certified(opened: Bundle, folder: Path, certificate: dict[str, Any]) -> Bundle:
    shutil.copytree(opened.folder, folder, dirs_exist_ok=True)
    card = folder / _CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    text = text.partition(f"\n{_SECTION}\n")[0].rstrip("\n")
    card.write_text(f"{text}\n\n{_SECTION}\n\n{_words(certificate)}\n", encoding="utf-8")
    manifest = opened.manifest
    said = {**manifest.lineage, CERTIFICATE: certificate}
    return bundle.write(folder, manifest.model_copy(update={"lineage": said}))


def _words(certificate: dict[str, Any]) -> str:
    where, packages = certificate["platform"], certificate["environment"]
    cpu = where["cpu"].get("maker", "")
    rows = "\n".join(f"| {name} | {text} |" for name, text in certificate["compared"].items())
    return (
        f"Rebuilt {certificate['runs']} times from its own record, last on {certificate['when']}: "
        f"**{certificate['verdict']}**.\n\n"
        f"On {where['system']} {where['machine']} {cpu}, {where['libc']}, Python "
        f"{packages['python']}, {packages['packages']} packages.\n\n"
        f"| stage | compared |\n| --- | --- |\n{rows}"
    )


def _mend(target: Target, workspace: Workspace) -> None:
    """Complete a certificate that was cut off after its folder was in place, or forget it."""
    tracker = Tracker(workspace.home)
    entry = record.registered(target, tracker)
    pending = entry.tags.get(PENDING) if entry else None
    if entry is None or not pending:
        return
    if target.bundle.digest == pending:
        _settle(target, workspace, tracker, entry, pending)
    else:
        tracker.set_tag(model_name(target.task), target.number, PENDING, "")


def _settle(
    target: Target, workspace: Workspace, tracker: Tracker, entry: Version, digest: str
) -> None:
    """Let everything that knew the version by its old digest know it by the new one.

    The measured bundle that it was exported from is the same one: `register` tells by its digest
    that a run is registered already.
    """
    for path in workspace.evaluated(target.task).glob(f"*/*/{bundle.MANIFEST}"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == entry.digest:
            bundle.copy(workspace.version(target.task, target.number), path.parent)
    name = model_name(target.task)
    tracker.set_tag(name, target.number, DIGEST, digest)
    tracker.set_tag(name, target.number, PENDING, "")
