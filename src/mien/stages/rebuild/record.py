"""A registered version, the record of its training, and whether that record is consistent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mien import config, tasks
from mien.errors import ConfigError, RegistryError
from mien.model import bundle, lineage
from mien.model.bundle import Bundle
from mien.model.lineage import CodeState, Lineage
from mien.model.pulling import pull_version, refresh_champion
from mien.storage.registry import PENDING, ModelVersion
from mien.storage.workspace import CHAMPION, Workspace, model_name
from mien.tracking import COMMITTED, Tracker

from .outcome import RebuildStep, differences, format_differences

_REQUIRED = (
    *("code", "config", "config_sha256", "data_fingerprint", "prepared_sha256", "environment"),
)
_REFERENCE = re.compile(r"(?:mien-)?(?P<task>[^@:]+)(?:@(?P<alias>.+)|:(?P<number>\d+))?")


@dataclass(frozen=True)
class RebuildTarget:
    """The version to rebuild."""

    task: str
    number: int
    bundle: Bundle

    @property
    def lineage(self) -> Lineage:
        return self.bundle.manifest.lineage

    @property
    def candidate(self) -> str:
        """The candidate; for a variant, the one that it was made from."""
        variant = self.lineage.variant
        return variant.base if variant else self.bundle.manifest.candidate

    @property
    def config_name(self) -> str:
        """The name of the run's config."""
        return str(self.lineage.config["name"])


def find_target(reference: str, workspace: Workspace) -> RebuildTarget:
    """Find the version of `gesture`, `mien-gesture@challenger` or `gesture:3`.

    Raises:
        RegistryError: there is no such version.
        BundleError: its bundle is missing or damaged.
    """
    parts = _REFERENCE.fullmatch(reference)
    if not parts:
        raise RegistryError(
            f"model: expected TASK, TASK@ALIAS or TASK:VERSION, found {reference!r}."
        )
    task = tasks.load(parts["task"]).name
    if parts["number"]:
        number = int(parts["number"])
    else:
        refresh_champion(task, Tracker(workspace.home).server, workspace)
        aliases = workspace.aliases(task)
        alias = parts["alias"] or CHAMPION
        if alias not in aliases:
            names = ", ".join(aliases) or "none"
            raise RegistryError(
                f"{model_name(task)} has no alias {alias!r} in {workspace.home.resolve()}; there "
                f"are: {names}. `mien models {task}` lists its versions."
            )
        number = aliases[alias]
    if server := Tracker(workspace.home).server:
        pull_version(task, number, server, workspace)
    if not workspace.version(task, number).is_dir():
        raise RegistryError(f"{model_name(task)} has no version {number} in {workspace.home}.")
    return RebuildTarget(task, number, bundle.read(workspace.version(task, number)))


def registry_entry(target: RebuildTarget, tracker: Tracker) -> ModelVersion | None:
    """The registry's entry of a version; None if MLflow has none."""
    versions = tracker.versions(model_name(target.task))
    return next((each for each in versions if each.number == target.number), None)


def recorded_code(target: RebuildTarget, workspace: Workspace) -> CodeState:
    """The code as recorded; uncommitted code by the later commit that contains it."""
    recorded = target.lineage.code
    entry = registry_entry(target, Tracker(workspace.home)) if recorded.dirty else None
    later_commit = entry.tags.get(COMMITTED) if entry else None
    return recorded.model_copy(update={"commit": later_commit}) if later_commit else recorded


def check_record(target: RebuildTarget, workspace: Workspace) -> RebuildStep:
    """Compare a bundle's record with what MLflow recorded when the run began."""
    if target.lineage.trained_on == "pretrained":
        return _different(
            f"this version was pulled, not trained: `mien pull {target.task}` makes it again"
        )
    unknown = Lineage()
    missing = [n for n in _REQUIRED if getattr(target.lineage, n) == getattr(unknown, n)]
    if missing:
        return _different(
            f"the bundle does not record {', '.join(missing)}: it was made by an older mien, or "
            "without the pipeline. Train it again."
        )
    tracker = Tracker(workspace.home)
    entry = registry_entry(target, tracker)
    if entry is not None:
        altered = list(differences(tracker.lineage(entry.run_id), target.lineage.recorded()))
        if altered:
            return _different(format_differences(altered, "in its run", "in the bundle"))
    if config.digest(target.lineage.config) != target.lineage.config_sha256:
        return _different("the config in the bundle does not match its own digest: it was altered")
    if entry is None:
        text = "MLflow has no such version here; the bundle cannot be compared with it"
        return RebuildStep("record", "warning", text)
    if target.bundle.digest not in (entry.digest, entry.tags.get(PENDING)):
        return _different(
            f"the bundle has digest {target.bundle.digest[:12]}, version {target.number} was "
            f"registered with {entry.digest[:12]}"
        )
    return RebuildStep("record", "identical", f"as in MLflow run {entry.run_id[:12]}")


def write_config(target: RebuildTarget, folder: Path) -> tuple[Path, RebuildStep]:
    """Write the recorded config as a file to run; compare it with the present file."""
    recorded = dict(target.lineage.config)
    path = folder / f"{target.config_name}.yaml"
    text = yaml.safe_dump({**recorded, "name": target.config_name}, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    if config.digest(written) != target.lineage.config_sha256:
        text = "the recorded config cannot be written as YAML"
        return path, RebuildStep("config", "different", text)
    return path, _compare_with_file(recorded, target.config_name)


def _compare_with_file(recorded: Mapping[str, Any], name: str) -> RebuildStep:
    path = tasks.configs().get(name)
    if path is None:
        return RebuildStep("config", "identical", f"as recorded; there is no config {name} today")
    try:
        today = config.load(path).model_dump(mode="json", exclude=lineage.LEFT_OUT)
    except ConfigError as error:
        text = f"as recorded; {path.name} cannot be read today: {error}"
        return RebuildStep("config", "warning", text)
    differing = list(differences(recorded, today))
    if not differing:
        return RebuildStep("config", "identical", f"as recorded, equal to {path.name}")
    text = format_differences(differing, "recorded", "in the file")
    return RebuildStep("config", "warning", f"as recorded; {path.name} differs today: {text}")


def _different(text: str) -> RebuildStep:
    return RebuildStep("record", "different", text)
