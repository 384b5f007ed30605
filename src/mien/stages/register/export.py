"""Bundles of registered versions in the workspace, from where they are served."""

from collections.abc import Set
from pathlib import Path

from mien import tasks
from mien.model import bundle
from mien.model.bundle import MANIFEST, Bundle
from mien.reporting.model_card import CARD
from mien.reporting.registry_page import description
from mien.storage.files import sha256_file
from mien.storage.workspace import CHAMPION, Workspace


def export(source: Bundle, task: str, number: int, workspace: Workspace) -> None:
    """Copy a bundle to the folder of its version, unless it is there."""
    target = workspace.version(task, number)
    if not target.is_dir() or bundle.read(target).digest != source.digest:
        bundle.copy(source.folder, target)


def deleted_version(digest: str, task: str, known: Set[int], workspace: Workspace) -> int | None:
    """The exported version with that digest which MLflow no longer knows: it was deleted there."""
    for number in workspace.exported_versions(task):
        if number not in known and holds(workspace.version(task, number), digest):
            return number
    return None


def holds(folder: Path, digest: str) -> bool:
    """Whether a folder is the bundle with that digest; its other files are not read."""
    manifest = folder / MANIFEST
    return manifest.is_file() and sha256_file(manifest) == digest


def exported(digest: str, task: str, workspace: Workspace) -> tuple[str, int] | None:
    """Alias and number of the exported version with that digest, `champion` first; needs no
    MLflow."""
    aliases = workspace.aliases(task).items()
    for alias, number in sorted(aliases, key=lambda pair: (pair[0] != CHAMPION, pair[0])):
        folder = workspace.version(task, number)
        if folder.is_dir() and bundle.read(folder).digest == digest:
            return alias, number
    return None


def version_descriptions(source: Bundle) -> tuple[str, str]:
    """What the registry says of the model, and of the version, as Markdown."""
    task = tasks.load(source.manifest.task)
    model = (
        f"{task.summary}\n\nEach version is a bundle of mien: networks, calibration, "
        "card. The alias `champion` names the one that is served. mien moves it by its policy, "
        f"and `mien promote {task.name} VERSION` by hand."
    )
    return model, description((source.folder / CARD).read_text(encoding="utf-8"))


def version_tags(source: Bundle, config_name: str) -> dict[str, str]:
    """What the registry shows of a version."""
    manifest = source.manifest
    scores = manifest.metrics
    return {
        "candidate": manifest.candidate,
        "config": config_name,
        "val_macro_f1": f"{scores.val.macro_f1:.4f}" if scores else "",
        "test_macro_f1": f"{scores.test.macro_f1:.4f}" if scores else "",
        "data_fingerprint": manifest.lineage.data_fingerprint,
        "trained_on": manifest.lineage.trained_on or "",
    }
