"""From the policy's choice to a registered version, and which version serves.

    models/<task>/evaluated/<key>/<choice>/ -> registry + models/<task>/versions/<n>/

MLflow's registry is the truth about versions and aliases. The bundles and `aliases.json` in
the workspace are its export, for servers that have no MLflow. Every step can be repeated: an
interrupted registration is completed by the next one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien import bundle, choice, console
from mien.config import RunConfig
from mien.errors import RegistryError
from mien.tracking import CHALLENGER, Tracker, Version, model_name, run_of
from mien.workspace import CHAMPION, RESULT, WORK, Workspace, pointed


@dataclass(frozen=True)
class Registered:
    """The version of a run's choice, the alias it got, and why."""

    number: int
    alias: str | None
    why: str
    fresh: bool


def register(run: RunConfig, workspace: Workspace) -> Registered:
    """Register a run's choice; make it champion if it is not worse than the present one."""
    evaluated = pointed(workspace.evaluated(run.task), run.name, "Evaluate first: `mien evaluate`.")
    document = json.loads((evaluated / RESULT).read_text(encoding="utf-8"))
    chosen = document["choice"]
    if chosen is None:
        raise RegistryError("The evaluation chose no candidate; see `mien evaluate`.")
    source = bundle.read(evaluated / chosen)
    served = _served(source.digest, workspace, run.task)
    if served:
        return served
    trained = workspace.trained(run.task) / document["trained"]
    tracker = Tracker(workspace.home)
    name = model_name(run.task)
    workspace.write_aliases(run.task, tracker.aliases(name))
    known = {version.digest: version for version in tracker.versions(name)}
    before = known.get(source.digest)
    if before and any(move.after == before.number for move in tracker.history(name)):
        return _export_again(before, source.folder, workspace, run.task)
    version = tracker.register(
        name, run_of(trained / WORK / chosen), source.digest, _tags(source.manifest, run)
    )
    _export(source.folder, workspace.version(run.task, version.number), source.digest)
    alias, why = _verdict(workspace.aliases(run.task).get(CHAMPION), evaluated, document)
    tracker.move(name, alias, version.number, "register", why)
    workspace.write_aliases(run.task, tracker.aliases(name))
    return Registered(version.number, alias, why, fresh=True)


def promote(task: str, number: int, why: str, workspace: Workspace) -> None:
    """Make a registered version the champion by hand.

    Raises:
        RegistryError: there is no such version, or its bundle is gone.
    """
    _set_champion(task, number, "promote", why, workspace)


def rollback(task: str, why: str, workspace: Workspace) -> int:
    """Make the champion before the present one champion again; return its version.

    Raises:
        RegistryError: there was none before.
    """
    tracker = Tracker(workspace.home)
    moves = [move for move in tracker.history(model_name(task)) if move.alias == CHAMPION]
    stack: list[int] = []
    for move in moves:
        if move.what == "rollback":
            stack.pop()
        elif stack[-1:] != [move.after]:
            stack.append(move.after)
    if len(stack) < 2:
        raise RegistryError(
            f"{model_name(task)} had no champion before the present one. "
            f"`mien models {task}` lists its versions; `mien promote` takes any of them."
        )
    _set_champion(task, stack[-2], "rollback", why, workspace)
    return stack[-2]


def show(task: str, workspace: Workspace) -> None:
    """Print the versions of a task's registered model, and who moved its aliases when."""
    tracker = Tracker(workspace.home)
    name = model_name(task)
    versions = tracker.versions(name)
    rows = [
        [
            str(version.number),
            version.tags.get("candidate", ""),
            version.tags.get("val_macro_f1", ""),
            version.tags.get("test_macro_f1", ""),
            version.tags.get("config", ""),
            " ".join(version.aliases),
        ]
        for version in versions
    ]
    if not rows:
        console.result(f"{name} has no version yet: `mien run configs/{task}.yaml --source PATH`.")
        return
    columns = ["version", "candidate", "val macro-F1", "test macro-F1", "config", "aliases"]
    console.table(name, columns, rows)
    for move in tracker.history(name):
        before = f" (before: {move.before})" if move.before else ""
        moved = f"{move.what}: {move.alias} -> {move.after}{before}"
        console.result(f"{move.when}  {move.who}  {moved}. {move.why}")


def _set_champion(task: str, number: int, what: str, why: str, workspace: Workspace) -> None:
    tracker = Tracker(workspace.home)
    name = model_name(task)
    if number not in [version.number for version in tracker.versions(name)]:
        raise RegistryError(f"{name} has no version {number}; `mien models {task}` lists them.")
    bundle.read(workspace.version(task, number))
    tracker.move(name, CHAMPION, number, what, why)
    workspace.write_aliases(task, tracker.aliases(name))


def _verdict(number: int | None, evaluated: Path, document: Mapping[str, Any]) -> tuple[str, str]:
    metric = document["policy"]["maximise"]
    rows = document["candidates"]
    row = next(each for each in rows if each["candidate"] == document["choice"])
    # What a variant lost is borne by the policy; else none would ever follow its own origin.
    origin = choice.source(row, rows)
    new = origin["val"][metric]
    if number is None:
        return CHAMPION, "There was no champion before."
    path = evaluated.with_name(f"{evaluated.name}.champion-{number}.json")
    if not path.is_file():
        raise RegistryError(
            f"Champion {number} was not measured on this run's data; run `mien evaluate` again."
        )
    champion = json.loads(path.read_text(encoding="utf-8"))
    if "cannot_answer" in champion:
        return CHAMPION, f"Version {number} can no longer answer: {champion['cannot_answer']}"
    old = champion[metric]
    compared = f"validation {metric} {new:.4f} against {old:.4f} of version {number}, same data"
    if row is not origin:
        own = row["val"][metric]
        compared += f"; a variant of {origin['candidate']}, itself {own:.4f}, within the policy"
    if new >= old:
        return CHAMPION, f"Not worse than the champion: {compared}."
    return CHALLENGER, f"Worse than the champion, which stays: {compared}."


def _served(digest: str, workspace: Workspace, task: str) -> Registered | None:
    """The exported version of that digest that has an alias: known without asking MLflow."""
    for alias, number in sorted(workspace.aliases(task).items(), reverse=True):
        folder = workspace.version(task, number)
        if folder.is_dir() and bundle.read(folder).digest == digest:
            return Registered(number, alias, _KNOWN, fresh=False)
    return None


def _export_again(version: Version, source: Path, workspace: Workspace, task: str) -> Registered:
    """Registered before: see that its export is there, and leave the aliases as people set them."""
    _export(source, workspace.version(task, version.number), version.digest)
    if not version.aliases:
        return Registered(version.number, None, _SET_ASIDE, fresh=False)
    alias = CHAMPION if CHAMPION in version.aliases else version.aliases[0]
    return Registered(version.number, alias, _KNOWN, fresh=False)


_KNOWN = "Registered before, nothing changed."
_SET_ASIDE = "Registered before and set aside since; `mien promote` brings it back."


def _export(source: Path, target: Path, digest: str) -> None:
    if not target.is_dir() or bundle.read(target).digest != digest:
        bundle.copy(source, target)


def _tags(manifest: bundle.Manifest, run: RunConfig) -> dict[str, str]:
    return {
        "candidate": manifest.candidate,
        "config": run.name,
        "val_macro_f1": f"{manifest.metrics['val']['macro_f1']:.4f}",
        "test_macro_f1": f"{manifest.metrics['test']['macro_f1']:.4f}",
        "data_fingerprint": str(manifest.lineage.get("data_fingerprint")),
    }
