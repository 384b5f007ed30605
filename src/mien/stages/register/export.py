"""Bundles of registered versions in the workspace, from where they are served."""

from mien.model import bundle
from mien.model.bundle import Bundle
from mien.storage.workspace import Workspace


def export(source: Bundle, task: str, number: int, workspace: Workspace) -> None:
    """Copy a bundle to the folder of its version, unless it is there."""
    target = workspace.version(task, number)
    if not target.is_dir() or bundle.read(target).digest != source.digest:
        bundle.copy(source.folder, target)


def exported(digest: str, task: str, workspace: Workspace) -> tuple[str, int] | None:
    """Alias and number of the exported version with that digest; needs no MLflow."""
    for alias, number in sorted(workspace.aliases(task).items(), reverse=True):
        folder = workspace.version(task, number)
        if folder.is_dir() and bundle.read(folder).digest == digest:
            return alias, number
    return None


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
    }
