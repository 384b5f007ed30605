"""A registered version, what it says of its own making, and whether that can be believed."""

import json
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
from mien.storage.workspace import CHAMPION, Workspace
from mien.tracking import COMMITTED, Tracker, Version, model_name

from .steps import Step, differences, summary

CERTIFICATE = "certificate"
_LATER = (CERTIFICATE, "training", "variant")
"""Keys of the lineage that are filled after the run was begun, and so stand otherwise in it."""
PENDING = "mien.digest.pending"
"""Tag of a version: the digest of the bundle that is about to take the place of its own."""
_NEEDED = ("code", "config", "config_sha256", "data_fingerprint", "prepared_sha256", "environment")
_ASKED = re.compile(r"(?:mien-)?(?P<task>[^@:]+)(?:@(?P<alias>.+)|:(?P<number>\d+))?")


@dataclass(frozen=True)
class Target:
    """A version that is to be rebuilt."""

    task: str
    number: int
    bundle: Bundle

    @property
    def lineage(self) -> Mapping[str, Any]:
        return self.bundle.manifest.lineage

    @property
    def candidate(self) -> str:
        """The candidate; for a variant, the one that it was made from."""
        found: str = self.lineage.get("variant", {}).get("of", self.bundle.manifest.candidate)
        return found

    @property
    def name(self) -> str:
        """The name of the run's config."""
        found: str = self.lineage["config"]["name"]
        return found


def find(asked: str, workspace: Workspace) -> Target:
    """The version that `gesture`, `mien-gesture@challenger` or `gesture:3` names.

    Raises:
        RegistryError: it names no version.
        BundleError: its bundle is gone or damaged.
    """
    parts = _ASKED.fullmatch(asked)
    if not parts:
        raise RegistryError(f"{asked!r} names no model. Say TASK, TASK@ALIAS or TASK:VERSION.")
    task = tasks.load(parts["task"]).name
    if parts["number"]:
        number = int(parts["number"])
    else:
        aliases = workspace.aliases(task) or Tracker(workspace.home).aliases(model_name(task))
        alias = parts["alias"] or CHAMPION
        if alias not in aliases:
            known = ", ".join(aliases) or "none"
            raise RegistryError(
                f"{model_name(task)} has no alias {alias!r} in {workspace.home.resolve()}; there "
                f"are: {known}. `mien models {task}` lists its versions."
            )
        number = aliases[alias]
    if not workspace.version(task, number).is_dir():
        raise RegistryError(f"{model_name(task)} has no version {number} in {workspace.home}.")
    return Target(task, number, bundle.read(workspace.version(task, number)))


def registered(target: Target, tracker: Tracker) -> Version | None:
    """The registry's entry of a version; None where MLflow has none."""
    found = tracker.versions(model_name(target.task))
    return next((each for each in found if each.number == target.number), None)


def code(target: Target, workspace: Workspace) -> Mapping[str, Any]:
    """The code as recorded; what was not committed then, by the commit that holds it since."""
    recorded: Mapping[str, Any] = target.lineage["code"]
    entry = registered(target, Tracker(workspace.home)) if recorded.get("dirty") else None
    since = entry.tags.get(COMMITTED) if entry else None
    return {**recorded, "commit": since} if since else recorded


def check(target: Target, workspace: Workspace) -> Step:
    """Hold a bundle's record against what MLflow was told when the run began."""
    missing = [name for name in _NEEDED if target.lineage.get(name) is None]
    if missing:
        return _differs(
            f"the bundle does not say {', '.join(missing)}: it was made by an older mien, or "
            "without the pipeline. Train it again."
        )
    tracker = Tracker(workspace.home)
    entry = registered(target, tracker)
    if entry is not None:
        known = tracker.lineage(entry.run_id)
        own = {name: each for name, each in target.lineage.items() if name not in _LATER}
        altered = list(differences(_as_recorded(own, known), own))
        if altered:
            return _differs(summary(altered, "in its run", "in the bundle"))
    if config.digest(target.lineage["config"]) != target.lineage["config_sha256"]:
        return _differs("the config in the bundle does not match its own digest: it was altered")
    if entry is None:
        return Step("record", "warning", "MLflow has no such version here; the bundle stands alone")
    if target.bundle.digest not in (entry.digest, entry.tags.get(PENDING)):
        return _differs(
            f"the bundle has digest {target.bundle.digest[:12]}, version {target.number} was "
            f"registered with {entry.digest[:12]}"
        )
    return Step("record", "identical", f"as MLflow run {entry.run_id[:12]} has it")


def write_config(target: Target, folder: Path) -> tuple[Path, Step]:
    """Write the recorded config as the file that is run; tell how today's file differs from it."""
    recorded = dict(target.lineage["config"])
    path = folder / f"{target.name}.yaml"
    text = yaml.safe_dump({**recorded, "name": target.name}, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    if config.digest(written) != target.lineage["config_sha256"]:
        return path, Step("config", "different", "the recorded config cannot be written as YAML")
    return path, _compare_with_file(recorded, target.name)


def _compare_with_file(recorded: Mapping[str, Any], name: str) -> Step:
    places = [Path("configs", f"{name}.yaml"), lineage.ROOT / "configs" / f"{name}.yaml"]
    path = next((each for each in places if each.is_file()), None)
    if path is None:
        return Step("config", "identical", f"as recorded; there is no {places[0]} today")
    try:
        today = config.load(path).model_dump(mode="json", exclude=lineage.LEFT_OUT)
    except ConfigError as error:
        return Step("config", "warning", f"as recorded; {places[0]} cannot be read today: {error}")
    found = list(differences(recorded, today))
    if not found:
        return Step("config", "identical", f"as recorded, and as {places[0]} has it")
    told = summary(found, "recorded", "in the file")
    return Step("config", "warning", f"as recorded; {places[0]} differs today: {told}")


def _as_recorded(own: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, Any]:
    """What MLflow was told, by the keys of the bundle; as in the bundle where it was cut short."""
    found: dict[str, Any] = {}
    for name, value in own.items():
        if name not in told or isinstance(value, str):
            found[name] = told.get(name, value)
            continue
        try:
            found[name] = json.loads(told[name])
        except ValueError:
            found[name] = value
    return found


def _differs(text: str) -> Step:
    return Step("record", "different", text)
