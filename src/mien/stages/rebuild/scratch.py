"""A temporary workspace for one rebuild: a copy of the data, in which the pipeline runs.

Nothing in it changes the workspace of the model: data are copied and not linked.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mien import config, tasks
from mien.errors import ConfigError, DataError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.reporting import console
from mien.storage.versions import Store, Version
from mien.storage.workspace import Workspace

from .code import SourceTree, subprocess_env
from .outcome import RebuildStep
from .record import RebuildTarget

_MESSAGE_TAIL = 2000
_ANSI_CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_NO_LIMIT = 1e9
"""For limits of the policy: the cost of a request is not part of what is rebuilt."""


@contextmanager
def scratch_folder(keep: Path | None) -> Iterator[Path]:
    """Provide an empty folder: a temporary one, or `keep`, which is not deleted.

    Raises:
        ConfigError: `keep` is not empty.
    """
    if keep is None:
        with TemporaryDirectory(prefix="mien-rebuild-", ignore_cleanup_errors=True) as folder:
            yield Path(folder).resolve()
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigError(f"--keep: expected the name of a new folder, found {keep} in use.")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def copy_data(target: RebuildTarget, workspace: Workspace, scratch: Workspace) -> RebuildStep:
    """Copy the data version of the training, and check every byte of the copy."""
    root = target.lineage.data_fingerprint
    store = Store(workspace.raw(target.task), console.bar)
    copy = Store(scratch.raw(target.task), console.bar)
    try:
        if not store.contains(root):
            raise DataError(
                f"the store has no version {root[:12]}; restore its manifest and shards "
                f"(`dvc pull`), or fetch the source again with `mien data`."
            )
        version = store.find(root)
        _copy_version(store, version, copy)
        faults = copy.verify(version)
    except DataError as error:
        faults = [str(error)]
    if faults:
        text = " ".join(faults).replace(str(scratch.home), str(workspace.home.resolve()))
        return RebuildStep("data", "different", text)
    megabytes = version.size_bytes / 1e6
    text = f"version {version.number} ({version.short}), {len(version.items):,} files"
    return RebuildStep("data", "identical", f"{text}, {megabytes:,.1f} MB, every byte checked")


def run_pipeline(
    target: RebuildTarget, config_file: Path, tree: SourceTree, python: Path, scratch: Workspace
) -> Bundle | RebuildStep:
    """Run the pipeline of that code, in a registry of the scratch workspace; return the new bundle,
    or a step with the reason."""
    command = _command(target, config_file, python, scratch)
    environment = subprocess_env(tree, python)
    environment.pop("MLFLOW_TRACKING_URI", None)  # a team's registry would get the rebuilt version
    status, message = _run_streaming(command, environment)
    name = target.bundle.manifest.candidate
    manifests = sorted(scratch.evaluated(target.task).glob(f"*/{name}/{bundle.MANIFEST}"))
    if manifests:
        return bundle.read(manifests[0].parent)
    text = f"the pipeline ended with {status} and without a bundle: {message}"
    return RebuildStep("rebuild", "different", text)


def _copy_version(store: Store, version: Version, copy: Store) -> None:
    hashes = {entry.sha256 for entry in version.items.values()}
    shards = sorted((store.folder / "shards").glob("*.zip"))
    for path in [store.folder / "versions" / f"{version.root}.json", *shards]:
        if path.suffix == ".zip" and not _contains_any(path, hashes):
            continue
        target = copy.folder / path.relative_to(store.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _contains_any(path: Path, hashes: set[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return not hashes.isdisjoint(archive.namelist())
    except zipfile.BadZipFile:
        return True  # its content is unknown; the check of the copy names what is missing


def _command(
    target: RebuildTarget, config_file: Path, python: Path, scratch: Workspace
) -> list[str]:
    limits = [f"policy.{name}={_NO_LIMIT}" for name in ("max_bundle_mb", "max_cpu_cost")]
    variant = target.lineage.variant
    forms = f"variants=[{variant.form if variant else ''}]"
    settings = [*limits, *_single_candidate(target), forms]
    root = target.lineage.data_fingerprint
    return [
        *(str(python), "-m", "mien.cli", "run", str(config_file), "--source", f"@{root}"),
        *("--home", str(scratch.home)),
        *(part for setting in settings for part in ("--set", setting)),
    ]


def _single_candidate(target: RebuildTarget) -> list[str]:
    """The setting that trains the target's candidate only; empty if the task has none."""
    task = tasks.load(target.task)
    recorded = target.lineage.config["params"]
    try:
        params = config.parse(
            task.training.Params, {**recorded, "candidates": [target.candidate]}, "params"
        )
        supported = task.training.candidates(params) == (target.candidate,)
    except ConfigError:
        supported = False  # params of another code, or a task that always trains the same ones
    return [f"params.candidates=[{target.candidate}]"] if supported else []


def _run_streaming(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command, pass its messages on as they come; return its status and last lines."""
    on_terminal = sys.stderr.isatty()
    width = {"COLUMNS": str(shutil.get_terminal_size().columns)}
    colours = {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "1"} if on_terminal else {}
    tail = b""
    with subprocess.Popen(
        command,
        env={**environment, **width, **colours},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stderr is not None
        while chunk := os.read(process.stderr.fileno(), 1 << 16):
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
            tail = (tail + chunk)[-_MESSAGE_TAIL:]
    lines = _ANSI_CODES.sub(b"", tail).decode(errors="replace").strip().splitlines()
    return process.returncode, " ".join(lines[-3:])
