"""Brings bundles from a team's registry into a workspace, over HTTP and without MLflow.

The registry names the digest of a bundle, which is the SHA-256 of its manifest; the manifest names
that of every file. What differs is refused, and a folder is there whole or not at all.
"""

import json
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.model.bundle import MANIFEST, SUFFIXES, Manifest
from mien.storage.files import atomic_dir, write_json
from mien.storage.registry_server import RegistryServer, ServedVersion, bind
from mien.storage.workspace import CHAMPION, Workspace, model_name

LIMIT_S = 600.0
"""Of all files of a bundle together, where nobody waits for anything else."""
_MAX_MANIFEST = 10_000_000
_KEPT = 2
"""Bundles of a task that stay of those that `pull_alias` fetched: the present one, and one that may
still be loading. The registry has all of them."""
_FETCHED = "fetched.json"
"""Beside the versions of a task: the numbers of those that `pull_alias` fetched, oldest first."""


@dataclass(frozen=True)
class PulledVersion:
    """A version of a team's registry whose bundle is in the workspace."""

    number: int
    digest: str
    folder: Path
    fresh: bool
    """Whether it was fetched just now."""


def pull_alias(
    task: str, alias: str, server: RegistryServer, workspace: Workspace, limit_s: float = LIMIT_S
) -> PulledVersion:
    """Let an alias of the workspace name the version that the registry's alias names.

    Raises:
        RegistryError: the registry cannot be reached, has no such alias, or its champion was set in
            MLflow's own page and is not trusted; or the workspace has another registry.
        BundleError: the registry's files are not those whose digest it names.
    """
    name = model_name(task)
    model = server.model(name)
    number = model.aliases.get(alias) if model else None
    if model is None or number is None:
        names = ", ".join(sorted(model.aliases)) if model else ""
        raise RegistryError(
            f"{server.address}: {name} has no alias {alias!r}; there are: {names or 'none'}."
        )
    bind(workspace.home, server.address)  # which has answered: a wrong address is not kept
    version = server.version(name, number)
    if alias == CHAMPION and version.untrusted and number not in model.champions:
        raise RegistryError(
            f"{server.address}: version {number} of {name} was made champion in MLflow, and is not "
            f"trusted: {version.untrusted}. `mien promote {task} VERSION` makes another one "
            "champion."
        )
    pulled = _pull(task, version, server, workspace, limit_s)
    exported = workspace.exported_aliases(task)
    confirmed = {
        each: number for each, number in exported.items() if model.aliases.get(each) == number
    }
    aliases = {**confirmed, alias: number}
    if exported != aliases:
        workspace.write_aliases(task, aliases)
    if pulled.fresh:
        _remove_older(task, number, set(aliases.values()), workspace)
    return pulled


def pull_version(
    task: str, number: int, server: RegistryServer, workspace: Workspace
) -> PulledVersion:
    """Bring the bundle of a version into the workspace. Raises as `pull_alias` does."""
    version = server.version(model_name(task), number)
    return _pull(task, version, server, workspace, LIMIT_S)


def refresh_champion(task: str, server: RegistryServer | None, workspace: Workspace) -> None:
    """Pull the champion of a team's registry, if there is a registry and it has a champion. Raises
    as `pull_alias` does."""
    model = server.model(model_name(task)) if server else None
    if server and model and CHAMPION in model.aliases:
        pull_alias(task, CHAMPION, server, workspace)


def _pull(
    task: str, version: ServedVersion, server: RegistryServer, workspace: Workspace, limit_s: float
) -> PulledVersion:
    target = workspace.version(task, version.number)
    with suppress(BundleError):  # none is here, or a damaged one
        if (digest := bundle.read(target).digest) in version.digests:
            return PulledVersion(version.number, digest, target, fresh=False)
    source = f"{server.address}, version {version.number} of {model_name(task)}"
    end = time.monotonic() + limit_s
    with atomic_dir(target) as temporary:
        with (temporary / MANIFEST).open("wb") as stream:
            digest, _ = _fetch(server, f"{version.files}/{MANIFEST}", _MAX_MANIFEST, end, stream)
        if digest not in version.digests:
            raise BundleError(
                f"{source}: expected the bundle with the digest {' or '.join(version.digests)}, "
                f"found {digest}. Nothing was kept. Register the model again."
            )
        for name, entry in _listed(temporary / MANIFEST, source, task).files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                got = _fetch(server, f"{version.files}/{name}", entry.bytes, end, stream)
            if got != (entry.sha256, entry.bytes):
                raise BundleError(
                    f"{source}: {name}: expected {entry.bytes} bytes with the SHA-256 "
                    f"{entry.sha256}, found others. Nothing was kept. Pull again; if it is the "
                    "same, register the model again."
                )
        bundle.read(temporary)
    return PulledVersion(version.number, digest, target, fresh=True)


def _remove_older(task: str, number: int, named: set[int], workspace: Workspace) -> None:
    """Remove what was fetched before: neither a server that runs for a year nor a pull every night
    may fill the disk. What was registered here, or is named by an alias, stays."""
    note = workspace.models(task) / _FETCHED
    before = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else []
    fetched = [each for each in before if each != number] + [number]
    kept = {*fetched[-_KEPT:], *named}
    write_json(note, [each for each in fetched if each in kept])
    for old in set(fetched) - kept:
        shutil.rmtree(workspace.version(task, old), ignore_errors=True)


def _fetch(
    server: RegistryServer, path: str, limit: int, end: float, stream: BinaryIO
) -> tuple[str, int]:
    """Write a file of the registry; return its SHA-256 and its size."""
    hasher, size = sha256(), 0
    for chunk in server.read(path, limit, end):
        stream.write(chunk)
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def _listed(path: Path, source: str, task: str) -> Manifest:
    """A verified manifest whose file names stay in the bundle's folder."""
    manifest = bundle.parse(path.read_bytes(), source)
    if manifest.task != task:
        raise BundleError(f"{source}: expected a model of {task}, found one of {manifest.task}.")
    for name in manifest.files:
        parts = PurePosixPath(name)
        outside = parts.is_absolute() or ".." in parts.parts or "\\" in name
        if outside or parts.suffix not in SUFFIXES or parts.as_posix() != name:
            raise BundleError(f"{source}: expected names of files of a bundle, found {name!r}.")
    return manifest
