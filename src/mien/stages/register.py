"""From the policy's choice to a registered version, and which version serves.

    models/<task>/evaluated/<key>/<choice>/ -> registry + models/<task>/versions/<n>/

MLflow's registry is the truth about versions and aliases. The bundles and `aliases.json` in
the workspace are its export, for servers that have no MLflow. Every step can be repeated: an
interrupted registration is completed by the next one.

A model that nobody could make again (its code is in no commit, its data in no version of the store)
is not trusted: it becomes champion only by force, with a reason, and the history keeps both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.config import RunConfig
from mien.errors import RegistryError
from mien.model import bundle, lineage
from mien.model.policy import base_candidate
from mien.reporting import console
from mien.storage.versions import Store
from mien.storage.workspace import CHAMPION, RESULT, WORK, Workspace, read_latest
from mien.tracking import CHALLENGER, COMMITTED, Tracker, Version, model_name, run_of

UNTRUSTED = "mien.untrusted"
"""Tag of a version: why it is not trusted."""


@dataclass(frozen=True)
class Registered:
    """The version of a run's choice, the alias it got, and why."""

    number: int
    alias: str | None
    why: str
    fresh: bool

    @property
    def words(self) -> str:
        """What became of it, in sentences."""
        return f"version {self.number} is {self.alias or 'set aside'}. {self.why}"


def register(run: RunConfig, workspace: Workspace, force: str | None = None) -> Registered:
    """Register a run's choice; champion if it is trusted and not worse than the present one.

    Args:
        run: the run.
        workspace: where it was evaluated.
        force: why a choice that is not trusted may become champion all the same.

    Raises:
        RegistryError: nothing was chosen, or MLflow names a champion that is not trusted.
    """
    choice = _chosen(run, workspace, force)
    tracker = Tracker(workspace.home)
    _follow(tracker, run.task, workspace, force)
    served = _served(choice, workspace)
    if served and (served.alias == CHAMPION or not choice.may_rise):
        return served
    name = model_name(run.task)
    workspace.write_aliases(run.task, tracker.aliases(name))
    known = {version.digest: version for version in tracker.versions(name)}
    before = known.get(choice.source.digest)
    again = before and any(move.after == before.number for move in tracker.history(name))
    if before and again and not _held_back(before, choice):
        return _export_again(before, choice.source.folder, workspace, run.task)
    version = _version(choice, tracker, workspace)
    alias, what, why = _judged(choice, workspace.aliases(run.task).get(CHAMPION), version.number)
    if alias == CHAMPION or not again:
        tracker.move(name, alias, version.number, what, why)
    workspace.write_aliases(run.task, tracker.aliases(name))
    return Registered(version.number, alias, why, fresh=True)


def promote(
    task: str, number: int, why: str, workspace: Workspace, force: str | None = None
) -> None:
    """Make a registered version the champion by hand.

    Raises:
        RegistryError: there is no such version, its bundle is gone, or it is not trusted and
            `force` does not say why it shall be champion all the same.
    """
    _set_champion(task, number, "promote", why, force, workspace)


def rollback(task: str, why: str, workspace: Workspace, force: str | None = None) -> int:
    """Make the champion before the present one champion again; return its version.

    Raises:
        RegistryError: there was none before, or as `promote` has it.
    """
    tracker = Tracker(workspace.home)
    moves = [move for move in tracker.history(model_name(task)) if move.alias == CHAMPION]
    stack: list[int] = []
    for move in moves:
        if move.what.endswith("rollback"):
            stack.pop()
        elif stack[-1:] != [move.after]:
            stack.append(move.after)
    if len(stack) < 2:
        raise RegistryError(
            f"{model_name(task)} had no champion before the present one. "
            f"`mien models {task}` lists its versions; `mien promote` takes any of them."
        )
    _set_champion(task, stack[-2], "rollback", why, force, workspace)
    return stack[-2]


def distrust(manifest: bundle.Manifest, workspace: Workspace) -> str:
    """What speaks against a model as one that can be made again; "" where nothing does."""
    faults = []
    code = manifest.lineage.get("code", {})
    if code.get("dirty") and not _committed_since(code):
        faults.append("its code had changes that are in no commit")
    root = str(manifest.lineage.get("data_fingerprint") or "")
    if not root or not Store(workspace.raw(manifest.task)).holds(root):
        faults.append(f"its data ({root[:12] or 'not named'}) are no version of this workspace")
    return " and ".join(faults)


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
    for version in versions:
        if fault := version.tags.get(UNTRUSTED):
            console.result(f"version {version.number} is not trusted: {fault}")
    for move in tracker.history(name):
        before = f" (before: {move.before})" if move.before not in (None, move.after) else ""
        moved = f"{move.what}: {move.alias} -> {move.after}{before}"
        console.result(f"{move.when}  {move.who}  {moved}. {move.why}")


@dataclass(frozen=True)
class _Choice:
    """What an evaluation chose, what speaks against trusting it, and why it is forced."""

    run: RunConfig
    source: bundle.Bundle
    evaluated: Path
    document: Mapping[str, Any]
    fault: str
    force: str | None

    @property
    def may_rise(self) -> bool:
        """Whether it may have been held back for a reason that is gone; asks no MLflow."""
        code = self.source.manifest.lineage.get("code", {})
        return bool(self.force if self.fault else code.get("dirty"))


def _chosen(run: RunConfig, workspace: Workspace, force: str | None) -> _Choice:
    evaluated = read_latest(
        workspace.evaluated(run.task), run.name, "Evaluate first: `mien evaluate`."
    )
    document = json.loads((evaluated / RESULT).read_text(encoding="utf-8"))
    if document["choice"] is None:
        raise RegistryError("The evaluation chose no candidate; see `mien evaluate`.")
    source = bundle.read(evaluated / document["choice"])
    fault = distrust(source.manifest, workspace)
    return _Choice(run, source, evaluated, document, fault, force)


def _version(choice: _Choice, tracker: Tracker, workspace: Workspace) -> Version:
    """The version of the choice, marked and exported."""
    task, manifest = choice.run.task, choice.source.manifest
    name, trained = model_name(task), workspace.trained(task) / choice.document["trained"]
    run_id = run_of(trained / WORK / choice.document["choice"])
    version = tracker.register(name, run_id, choice.source.digest, _tags(manifest, choice.run))
    tracker.set_tag(name, version.number, UNTRUSTED, choice.fault)
    _mark_commit(tracker, version.number, manifest)
    target = workspace.version(task, version.number)
    _export(choice.source.folder, target, choice.source.digest)
    return version


def _set_champion(
    task: str, number: int, what: str, why: str, force: str | None, workspace: Workspace
) -> None:
    tracker = Tracker(workspace.home)
    name = model_name(task)
    if number not in [version.number for version in tracker.versions(name)]:
        raise RegistryError(f"{name} has no version {number}; `mien models {task}` lists them.")
    manifest = bundle.read(workspace.version(task, number)).manifest
    fault = distrust(manifest, workspace)
    if fault and not force:
        raise RegistryError(
            f"Version {number} of {name} is not trusted: {fault}. {_MEND}, or give a reason: "
            f"`mien {what} {task}{f' {number}' if what == 'promote' else ''} --force REASON`."
        )
    if fault:
        said = f" {why}." if why != _BY_HAND else ""
        what, why = f"forced {what}", f"{str(force)[:200]}. Not trusted: {fault}.{said}"
    _mark_commit(tracker, number, manifest)
    tracker.move(name, CHAMPION, number, what, why)
    workspace.write_aliases(task, tracker.aliases(name))


_MEND = (
    "Commit what `git status` names and run again (the same code is not trained again), bring the "
    "data back with `mien data CONFIG --source PATH`"
)


def _committed_since(code: Mapping[str, Any]) -> bool:
    """Whether the tree is clean now and holds the very code that was not committed then."""
    now = lineage.commit()
    return now["dirty"] is False and code.get("sha256", "") == now.get("sha256")


def _mark_commit(tracker: Tracker, number: int, manifest: bundle.Manifest) -> None:
    """Keep which commit holds what was not committed when the model was trained, if one does now:
    a rebuild looks there."""
    code = manifest.lineage.get("code", {})
    if code.get("dirty") and _committed_since(code):
        commit = str(lineage.commit()["commit"])
        tracker.set_tag(model_name(manifest.task), number, COMMITTED, commit)


def _held_back(version: Version, choice: _Choice) -> bool:
    """Whether a version is challenger for want of trust, and that is mended or forced now."""
    only = version.aliases == (CHALLENGER,) and UNTRUSTED in version.tags
    return only and bool(choice.force or not choice.fault)


def _judged(choice: _Choice, champion: int | None, number: int) -> tuple[str, str, str]:
    """The alias of a new version, what that is called in the history, and why."""
    alias, why = _verdict(champion, choice.evaluated, choice.document)
    if not choice.fault or alias != CHAMPION:
        return alias, "register", why
    if choice.force:
        return alias, "forced register", f"{choice.force}. Not trusted: {choice.fault}. {why}"
    forced = f"`mien promote {choice.run.task} {number} --force REASON`"
    told = f"Not trusted, so not champion: {choice.fault}. {_MEND}, or {forced}."
    return CHALLENGER, "register", told


def _follow(tracker: Tracker, task: str, workspace: Workspace, force: str | None) -> None:
    """Export the aliases as MLflow has them, and write down a champion that nobody wrote down.

    Raises:
        RegistryError: that one is not trusted.
        BundleError: its bundle is not here, or damaged.
    """
    name = model_name(task)
    aliases = tracker.aliases(name)
    if not aliases or aliases == workspace.aliases(task):
        return
    number = aliases.get(CHAMPION)
    moves = [move.after for move in tracker.history(name) if move.alias == CHAMPION]
    if number is not None and moves[-1:] != [number]:
        fault = distrust(bundle.read(workspace.version(task, number)).manifest, workspace)
        if fault and number not in moves and not force:
            raise RegistryError(
                f"In MLflow version {number} of {name} was made champion, which is not trusted: "
                f"{fault}. `mien promote {task} {number} --force REASON` lets it be champion, "
                f"`mien promote {task} VERSION` makes another one champion."
            )
        what = "forced found" if fault and force else "found"
        doubt = f"Not trusted: {fault}. " if fault else ""
        said = f"{force}. " if fault and force else ""
        tracker.move(name, CHAMPION, number, what, f"{doubt}{said}{_FOUND}")
    workspace.write_aliases(task, aliases)


_BY_HAND = "by hand"
"""What the command line says where no other reason is given."""
_FOUND = "The alias stood so: moved in MLflow itself, or a registration was interrupted."


def _verdict(number: int | None, evaluated: Path, document: Mapping[str, Any]) -> tuple[str, str]:
    metric = document["policy"]["maximise"]
    rows = document["candidates"]
    row = next(each for each in rows if each["candidate"] == document["choice"])
    # What a variant lost is borne by the policy; else none would ever follow its own origin.
    origin = base_candidate(row, rows)
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


def _served(choice: _Choice, workspace: Workspace) -> Registered | None:
    """The exported version of that digest that has an alias: known without asking MLflow."""
    told = f" Not trusted: {choice.fault}. {_MEND}." if choice.fault else ""
    for alias, number in sorted(workspace.aliases(choice.run.task).items(), reverse=True):
        folder = workspace.version(choice.run.task, number)
        if folder.is_dir() and bundle.read(folder).digest == choice.source.digest:
            return Registered(number, alias, _KNOWN + told, fresh=False)
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
