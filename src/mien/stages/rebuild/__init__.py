"""Rebuilds a registered version from its own record, and compares the result with it.

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

from mien import config
from mien.errors import RegistryError
from mien.model import bundle, lineage
from mien.model.bundle import Bundle
from mien.model.lineage import Certificate
from mien.reporting import console
from mien.reporting.model_card import CARD
from mien.storage.files import atomic_dir
from mien.storage.registry import DIGEST, PENDING, ModelVersion
from mien.storage.workspace import Workspace, model_name
from mien.tracking import Tracker

from . import code, compare, environment, record, scratch
from .code import SourceTree
from .outcome import COMPARED_STAGES, RebuildOutcome, RebuildStep
from .record import RebuildTarget

CERTIFICATE_RUNS = 2
"""Rebuilds for a certificate: a single one could be identical at random."""
_CARD_SECTION = "## Certified"
_MARKS = {"identical": "=", "within_tolerance": "~", "warning": "!", "different": "x"}


@dataclass(frozen=True)
class RebuildOptions:
    """What a rebuild may do."""

    keep: Path | None = None
    """A folder for the scratch workspace; None for one that is deleted."""
    build: bool = False
    """Whether to install the recorded packages if others are present."""
    present: bool = False
    """Whether to use the present code and packages, whatever is recorded."""


def reproduce(
    reference: str, workspace: Workspace, options: RebuildOptions | None = None
) -> RebuildOutcome:
    """Rebuild a version and compare it with its record stage by stage.

    Args:
        reference: `TASK`, `TASK@ALIAS` or `TASK:VERSION`.

    Raises:
        RegistryError: there is no such version.
        BundleError: its bundle is damaged.
        ConfigError: the scratch folder is in use, or packages cannot be installed.
    """
    with console.bar("read the record"):
        target = record.find_target(reference, workspace)
    return _rebuild(target, workspace, options or RebuildOptions())


def certify(
    reference: str, workspace: Workspace, build: bool = False
) -> tuple[RebuildOutcome, bool]:
    """Rebuild a version twice and write the result to its card and lineage.

    Returns:
        The last outcome, and whether it was written: a rebuild that could not run proves nothing.

    Raises:
        RegistryError: there is no such version, or it changed in the meantime.
    """
    target = record.find_target(reference, workspace)
    with console.bar("read the record"), workspace.locked(target.task):
        _complete_pending(target, workspace)
    outcomes: list[RebuildOutcome] = []
    while len(outcomes) < CERTIFICATE_RUNS and all(outcome.passed for outcome in outcomes):
        outcomes.append(_rebuild(target, workspace, RebuildOptions(build=build)))
    if not outcomes[-1].rebuilt:
        return outcomes[-1], False
    with console.bar("write the certificate"), workspace.locked(target.task):
        _store_certificate(target, workspace, _certificate(target, outcomes))
    return outcomes[-1], True


def _rebuild(
    target: RebuildTarget, workspace: Workspace, options: RebuildOptions
) -> RebuildOutcome:
    steps: list[RebuildStep] = []
    with closing(_steps(target, workspace, options)) as running:
        for step in running:
            console.info(f"{_MARKS[step.state]} {step.stage:<11} {step.text}")
            steps.append(step)
            if step.state == "different" and step.stage not in COMPARED_STAGES[1:]:
                break  # the next steps would not rebuild the record
    return RebuildOutcome(
        model=model_name(target.task),
        version=target.number,
        candidate=target.bundle.manifest.candidate,
        digest=target.bundle.digest,
        model_sha256=target.bundle.model_sha256,
        steps=tuple(steps),
    )


def _steps(
    target: RebuildTarget, workspace: Workspace, options: RebuildOptions
) -> Generator[RebuildStep, None, None]:
    yield record.check_record(target, workspace)
    with scratch.scratch_folder(options.keep) as folder:
        config_file, step = record.write_config(target, folder)
        yield step
        yield scratch.copy_data(target, workspace, Workspace(folder / "workspace"))
        recorded = record.recorded_code(target, workspace)
        with code.checkout(recorded, folder / "code", options.present) as (tree, step):
            yield step
            if tree is not None:
                yield from _run_and_compare(target, workspace, options, folder, config_file, tree)


def _run_and_compare(
    target: RebuildTarget,
    workspace: Workspace,
    options: RebuildOptions,
    folder: Path,
    config_file: Path,
    tree: SourceTree,
) -> Iterator[RebuildStep]:
    python, step = _select_python(target, options, folder, tree)
    yield step
    step = environment.compare_platform(target.lineage.platform, target.lineage.training)
    yield step
    own_workspace = Workspace(folder / "workspace")
    console.info("running the pipeline in a scratch workspace; its version numbers are its own")
    new_bundle = scratch.run_pipeline(target, config_file, tree, python, own_workspace)
    if isinstance(new_bundle, RebuildStep):
        yield new_bundle
        return
    prepared = (workspace.processed(target.task), own_workspace.processed(target.task))
    exact = step.state == "identical"
    yield from compare.compare_bundles(target.bundle, new_bundle, exact, prepared)


def _select_python(
    target: RebuildTarget, options: RebuildOptions, folder: Path, tree: SourceTree
) -> tuple[Path, RebuildStep]:
    recorded, python = target.lineage.environment, Path(sys.executable)
    step = environment.compare_packages(recorded, tree, python)
    if step.state == "identical":
        return python, step
    if options.present:
        text = f"the present one because of --present: {step.text}"
        return python, RebuildStep(step.stage, "warning", text)
    if options.build:
        python = environment.build(tree, folder / "packages", recorded["python"])
        step = environment.compare_packages(recorded, tree, python)
        return python, RebuildStep(step.stage, step.state, f"newly installed: {step.text}")
    advice = "--build installs the recorded packages, --present uses the present ones"
    return python, RebuildStep(step.stage, step.state, f"{step.text}. {advice}")


def _certificate(target: RebuildTarget, outcomes: Sequence[RebuildOutcome]) -> Certificate:
    last = outcomes[-1]
    packages = target.lineage.environment  # those of the rebuild are equal, or it had failed
    return Certificate(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=len(outcomes),
        identical=all(outcome.identical for outcome in outcomes),
        verdict=last.verdict,
        compared={s.stage: s.text for s in last.steps if s.stage in COMPARED_STAGES},
        rebuilt_from=last.digest,
        python=packages["python"],
        packages=len(packages) - 1,
        packages_sha256=config.digest(packages),
        platform=lineage.machine(),
    )


def _store_certificate(
    target: RebuildTarget, workspace: Workspace, certificate: Certificate
) -> None:
    """Write a certificate into a version's bundle, and its new digest into the registry.

    The registry gets the new digest as a tag first (`PENDING`), so that the next certificate can
    complete an interrupted one: see `_complete_pending`.
    """
    if bundle.read(target.bundle.folder).digest != target.bundle.digest:
        raise RegistryError(
            f"Version {target.number} of {model_name(target.task)} changed during its rebuild. "
            "Certify it again."
        )
    tracker = Tracker(workspace.home)
    entry = record.registry_entry(target, tracker)
    with atomic_dir(target.bundle.folder) as temporary:
        certified = _write_certified_bundle(target.bundle, temporary, certificate)
        if entry is not None:
            tracker.set_tag(model_name(target.task), target.number, PENDING, certified.digest)
    if entry is not None:
        _publish_digest(target, workspace, tracker, entry, certified.digest)


def _write_certified_bundle(original: Bundle, folder: Path, certificate: Certificate) -> Bundle:
    shutil.copytree(original.folder, folder, dirs_exist_ok=True)
    card = folder / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    text = text.partition(f"\n{_CARD_SECTION}\n")[0].rstrip("\n")
    section = f"{_CARD_SECTION}\n\n{_format_certificate(certificate)}"
    card.write_text(f"{text}\n\n{section}\n", encoding="utf-8")
    manifest = original.manifest
    new_lineage = manifest.lineage.model_copy(update={"certificate": certificate})
    return bundle.write(folder, manifest.model_copy(update={"lineage": new_lineage}))


def _format_certificate(certificate: Certificate) -> str:
    platform = certificate.platform
    rows = "\n".join(f"| {name} | {text} |" for name, text in certificate.compared.items())
    return (
        f"Rebuilt {certificate.runs} times from its own record, last on {certificate.when}: "
        f"**{certificate.verdict}**.\n\n"
        f"On {platform.system} {platform.machine} {platform.cpu.maker}, {platform.libc}, Python "
        f"{certificate.python}, {certificate.packages} packages.\n\n"
        f"| stage | compared |\n| --- | --- |\n{rows}"
    )


def _complete_pending(target: RebuildTarget, workspace: Workspace) -> None:
    """Complete a certificate that was interrupted after its folder was written, or discard it."""
    tracker = Tracker(workspace.home)
    entry = record.registry_entry(target, tracker)
    pending = entry.tags.get(PENDING) if entry else None
    if entry is None or not pending:
        return
    if target.bundle.digest == pending:
        _publish_digest(target, workspace, tracker, entry, pending)
    else:
        tracker.set_tag(model_name(target.task), target.number, PENDING, "")


def _publish_digest(
    target: RebuildTarget, workspace: Workspace, tracker: Tracker, entry: ModelVersion, digest: str
) -> None:
    """Replace the old digest of the version everywhere.

    The evaluated bundle that the version was exported from is replaced too: by its digest,
    `register` recognises that a run is already registered.
    """
    for path in workspace.evaluated(target.task).glob(f"*/*/{bundle.MANIFEST}"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == entry.digest:
            bundle.copy(workspace.version(target.task, target.number), path.parent)
    name = model_name(target.task)
    if tracker.server:
        tracker.store_bundle(entry.run_id, workspace.version(target.task, target.number))
    tracker.set_tag(name, target.number, DIGEST, digest)
    tracker.set_tag(name, target.number, PENDING, "")
