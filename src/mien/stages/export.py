"""Models of the registry as a folder of their own, which an image takes in as it is.

    OUT/models/<task>/versions/<n>/   the verified bundle
    OUT/models/<task>/aliases.json    the version, as champion
    OUT/export.json                   what is in it

The folder is a workspace without data, runs and registry, which `mien serve --home OUT` serves. It
depends on the bundles alone, not on when or where it was written.
"""

from pathlib import Path

from mien import tasks
from mien.config import Schema
from mien.errors import ConfigError, RegistryError, nearest
from mien.model import bundle
from mien.storage.files import atomic_dir, write_json
from mien.storage.workspace import CHAMPION, EXPORT_CONTENTS, Workspace

_ALIASES = (CHAMPION, "challenger")


class ExportedModel(Schema):
    """What `export.json` says of a task's model."""

    version: int
    candidate: str
    digest: str
    megabytes: float


def export(workspace: Workspace, alias: str, out: Path) -> dict[str, ExportedModel]:
    """Write the bundles of an alias, of every task that has it, to a folder that others may read.

    An earlier export in `out` is replaced as a whole.

    Raises:
        RegistryError: no task has the alias.
        ConfigError: no such alias; or `out` holds something else than an export, or was used as a
            workspace.
        BundleError: a bundle is damaged.
    """
    if alias not in _ALIASES:
        raise ConfigError(
            f"alias: expected {' or '.join(_ALIASES)}, found {alias!r}.{nearest(alias, _ALIASES)}"
        )
    aliases = {name: workspace.aliases(name).get(alias) for name in tasks.names()}
    versions = {name: number for name, number in aliases.items() if number is not None}
    if not versions:
        raise RegistryError(
            f"There is no {alias} in {workspace.home.resolve()} to export. Train one with "
            "`mien run`; `mien models` lists versions and aliases."
        )
    _refuse_other_content(out)
    with atomic_dir(out) as temporary:
        models = {
            name: _copy(workspace, Workspace(temporary), name, number)
            for name, number in versions.items()
        }
        document = {name: model.model_dump(mode="json") for name, model in models.items()}
        write_json(temporary / EXPORT_CONTENTS, document, sort_keys=True)
        for path in temporary.rglob("*"):  # an image's user is another one
            path.chmod(0o755 if path.is_dir() else 0o644)
    return models


def _copy(source: Workspace, target: Workspace, task: str, number: int) -> ExportedModel:
    bundle.read(source.version(task, number))  # so that an error names this folder, not the copy
    copied = bundle.copy(source.version(task, number), target.version(task, number))
    target.write_aliases(task, {CHAMPION: number})
    return ExportedModel(
        version=number,
        candidate=copied.manifest.candidate,
        digest=copied.digest,
        megabytes=round(copied.megabytes, 2),
    )


def _refuse_other_content(out: Path) -> None:
    if out.is_file() or (
        out.is_dir() and any(out.iterdir()) and not (out / EXPORT_CONTENTS).is_file()
    ):
        raise ConfigError(
            f"{out}: expected a new or empty folder, or an earlier export, found something else. "
            "Name another folder."
        )
    written = [path.name for path in (Workspace(out).database, Workspace(out).prediction_log)]
    if kept := [name for name in written if (out / name).exists()]:
        raise ConfigError(
            f"{out}: expected an earlier export alone, found {', '.join(kept)}, which a server or "
            "a training wrote and an export would delete. Move it away, or name another folder."
        )
