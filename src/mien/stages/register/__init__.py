"""From the policy's choice to a registered version, and which version serves.

    models/<task>/evaluated/<key>/<choice>/ -> registry + models/<task>/versions/<n>/
    models/<task>/pulled/<key>/<name>/      -> the same

MLflow's registry is the truth about versions and aliases. The bundles and `aliases.json` in the
workspace are its export, for servers that have no MLflow. Every step can be repeated: the next
registration completes an interrupted one.

A model that cannot be made again (its code is in no commit, its data in no version of the store) or
that has learnt nothing is not trusted: it becomes champion only by force, with a reason, and the
history records both.

`promotion.py` decides, `trust.py` finds trust issues, `history.py` follows aliases that were moved
elsewhere, `export.py` copies bundles.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mien.errors import BundleError, RegistryError
from mien.model import bundle
from mien.model.bundle import Bundle
from mien.model.evaluation import ChampionScores, Evaluation
from mien.model.pulling import pull_version
from mien.reporting import console, model_card
from mien.stages import Run
from mien.storage.registry import UNTRUSTED, ModelVersion
from mien.storage.workspace import CHAMPION, WORK, Workspace, model_name, read_document, read_latest
from mien.tracking import CHALLENGER, Tracker

from . import promotion
from .export import deleted_version, export, exported, holds, version_descriptions, version_tags
from .history import previous_champion, sync_aliases
from .promotion import Candidate, Champion
from .trust import issues_of, record_commit, remedy, require_registered, trust_issues

_UNCHANGED = "Registered before, nothing changed."
_SET_ASIDE = "Registered before and set aside since; `mien promote` brings it back."
_DELETED = "It was deleted in MLflow and is not registered again without `--force REASON`."
_PULLED = "pull"
"""In place of a config's name: what made a pulled version."""
BY_HAND = "by hand"
"""The reason that the command line gives where the user gives none."""


@dataclass(frozen=True)
class Registered:
    """The version of a run's choice, the alias it got, and the reason."""

    number: int  # of the version
    alias: str | None  # `champion`, `challenger`, or None where it is set aside
    reason: str  # of the alias
    fresh: bool  # False where this choice was registered before

    @property
    def summary(self) -> str:
        """What became of it, in sentences."""
        return f"version {self.number} is {self.alias or 'set aside'}. {self.reason}"


@dataclass(frozen=True)
class _Choice:
    """What an evaluation chose, and its trust issues."""

    run: Run
    bundle: Bundle
    folder: Path
    evaluation: Evaluation
    issues: str


def register(run: Run, force: str | None = None, hold: str = "") -> Registered:
    """Register a run's choice; champion if it is trusted and not worse than the present one.

    Args:
        run: the run.
        force: why a choice that is not trusted may become champion nevertheless.
        hold: why the choice becomes challenger at most, as a sentence; "" for no such reason.

    Raises:
        RegistryError: nothing was chosen, its card is incomplete, or the champion is not trusted.
    """
    choice = _read_choice(run)
    tracker = run.tracker
    with tracker.exclusive(model_name(run.task.name)):
        return _register(choice, tracker, force, hold)


def _register(choice: _Choice, tracker: Tracker, force: str | None, hold: str) -> Registered:
    task, workspace = choice.run.task.name, choice.run.workspace
    name = model_name(task)
    sync_aliases(tracker, task, workspace, force)
    if unchanged := _unchanged(choice, force):
        return unchanged
    workspace.write_aliases(task, tracker.aliases(name))
    known = {version.digest: version for version in tracker.versions(name)}
    before = known.get(choice.bundle.digest)
    decided = before and any(each.after == before.number for each in tracker.history(name))
    if before and decided and promotion.keeps_alias(before, choice.issues, force):
        export(choice.bundle, task, before.number, workspace)
        return _unchanged_version(before)
    if not before and not force:
        numbers = {version.number for version in known.values()}
        deleted = deleted_version(choice.bundle.digest, task, numbers, workspace)
        if deleted is not None:
            return Registered(deleted, None, _DELETED, fresh=False)
    champion = _champion(choice)
    trained = choice.run.trained / choice.evaluation.trained
    work = trained / WORK / choice.bundle.manifest.candidate
    version = _register_version(
        choice.bundle, work, choice.run.config.name, choice.issues, workspace, tracker
    )
    candidate = Candidate.of(choice.evaluation, version.number, choice.bundle.manifest)
    decision = promotion.decide(candidate, champion, choice.issues, force).held(hold)
    if decision.alias == CHAMPION or not decided:
        tracker.move(name, decision.alias, version.number, decision.action, decision.reason)
    workspace.write_aliases(task, tracker.aliases(name))
    return Registered(version.number, decision.alias, decision.reason, fresh=True)


def register_pulled(folder: Path, workspace: Workspace, force: str | None = None) -> Registered:
    """Register a pulled bundle; champion if there is none, or one of drawings, which becomes
    challenger.

    Raises:
        RegistryError: its card is incomplete, or MLflow names a champion that is not trusted.
    """
    tracker, source = Tracker(workspace.home), bundle.read(folder)
    with tracker.exclusive(model_name(source.manifest.task)):
        return _register_pulled(source, tracker, workspace, force)


def _register_pulled(
    source: Bundle, tracker: Tracker, workspace: Workspace, force: str | None
) -> Registered:
    task, folder = source.manifest.task, source.folder
    name = model_name(task)
    sync_aliases(tracker, task, workspace, force)
    if present := exported(source.digest, task, workspace):
        return Registered(present[1], present[0], _UNCHANGED, fresh=False)
    versions = {version.digest: version for version in tracker.versions(name)}
    if before := versions.get(source.digest):
        export(source, task, before.number, workspace)
        return _unchanged_version(before)
    issues = trust_issues(source.manifest, workspace)
    work = folder.parent / WORK / folder.name
    version = _register_version(source, work, _PULLED, issues, workspace, tracker)
    champion = _champion_of_origin(task, workspace.aliases(task).get(CHAMPION), workspace)
    candidate = Candidate.of_pulled(version.number, source.manifest)
    decision = promotion.decide(candidate, champion, issues, force)
    tracker.move(name, decision.alias, version.number, decision.action, decision.reason)
    if champion and decision.alias == CHAMPION:
        reason = f"Version {version.number} took its place."
        tracker.move(name, CHALLENGER, champion.version, "register", reason)
    workspace.write_aliases(task, tracker.aliases(name))
    return Registered(version.number, decision.alias, decision.reason, fresh=True)


def promote(
    task: str, number: int, reason: str, workspace: Workspace, force: str | None = None
) -> None:
    """Make a registered version the champion by hand.

    Raises:
        RegistryError: there is no such version, its bundle is gone, or `force` does not say why it
            shall be champion although it is not trusted, or is a model of drawings and the present
            champion knows real data; or another machine moved an alias at the same time.
    """
    tracker = Tracker(workspace.home)
    with tracker.exclusive(model_name(task), as_seen=True):
        _set_champion(task, number, "promote", reason, force, workspace, tracker)


def rollback(task: str, reason: str, workspace: Workspace, force: str | None = None) -> int:
    """Make the champion before the present one champion again; return its version.

    That may be a model of drawings, which is then recorded and printed.

    Raises:
        RegistryError: there was none before, or it is not trusted, as for `promote`.
    """
    tracker = Tracker(workspace.home)
    with tracker.exclusive(model_name(task), as_seen=True):
        number = previous_champion(tracker.history(model_name(task)))
        if number is None:
            raise RegistryError(
                f"{model_name(task)}: expected a champion before the present one, found none. "
                f"`mien models {task}` lists its versions; `mien promote` takes any of them."
            )
        _set_champion(task, number, "rollback", reason, force, workspace, tracker)
    return number


def _read_choice(run: Run) -> _Choice:
    remedy = "Evaluate first: `mien evaluate`."
    folder = read_latest(run.evaluated, run.config.name, remedy)
    evaluation = Evaluation.read(folder)
    if evaluation.choice is None:
        raise RegistryError("The evaluation chose no candidate; see `mien evaluate`.")
    opened = bundle.read(folder / evaluation.choice)
    return _Choice(run, opened, folder, evaluation, trust_issues(opened.manifest, run.workspace))


def _unchanged(choice: _Choice, force: str | None) -> Registered | None:
    """The exported version of the choice, if there is nothing to decide; needs no MLflow, whose
    import takes longer than the rest of such a run."""
    known_alias = exported(choice.bundle.digest, choice.run.task.name, choice.run.workspace)
    if known_alias is None:
        return None
    alias, number = known_alias
    # Without issues it may have been held back for changes that are committed now.
    may_rise = force if choice.issues else choice.bundle.manifest.lineage.code.dirty
    if alias != CHAMPION and may_rise:
        return None
    doubt = f" Not trusted: {choice.issues}. {remedy(choice.issues)}." if choice.issues else ""
    return Registered(number, alias, _UNCHANGED + doubt, fresh=False)


def _unchanged_version(version: ModelVersion) -> Registered:
    """A version that was registered before, with the alias that it has now."""
    if not version.aliases:
        return Registered(version.number, None, _SET_ASIDE, fresh=False)
    alias = CHAMPION if CHAMPION in version.aliases else version.aliases[0]
    return Registered(version.number, alias, _UNCHANGED, fresh=False)


def _register_version(
    source: Bundle, work: Path, config: str, issues: str, workspace: Workspace, tracker: Tracker
) -> ModelVersion:
    """The version of a bundle, tagged and exported; `config` names what made it."""
    model_card.require_complete(source.folder)
    task, digest = source.manifest.task, source.digest
    name = model_name(task)

    def taken(number: int) -> bool:
        folder = workspace.version(task, number)
        return folder.is_dir() and not holds(folder, digest)

    tags, texts = version_tags(source, config), version_descriptions(source)
    version = tracker.register(name, work, digest, tags, taken, texts)
    tracker.set_tag(name, version.number, UNTRUSTED, issues)
    record_commit(tracker, version.number, source.manifest)
    export(source, task, version.number, workspace)
    return version


def _champion(choice: _Choice) -> Champion | None:
    """The present champion as `evaluate` measured it on the data of the choice."""
    number = choice.run.workspace.aliases(choice.run.task.name).get(CHAMPION)
    if number is None:
        return None
    path = choice.folder.with_name(f"{choice.folder.name}.champion-{number}.json")
    if not path.is_file():
        raise RegistryError(
            f"Champion {number} was not measured on this run's data; run `mien evaluate` again."
        )
    remedy = f"Delete {path.name} and run `mien evaluate` again."
    return Champion(number, read_document(ChampionScores, path, remedy))


def _champion_now(tracker: Tracker, task: str, workspace: Workspace) -> int | None:
    """The present champion; the bundle of a team's server is brought here if it can be."""
    if tracker.server is None:
        return workspace.aliases(task).get(CHAMPION)
    number = tracker.aliases(model_name(task)).get(CHAMPION)
    if number is not None:
        with suppress(BundleError, RegistryError):  # then it can no longer answer elsewhere either
            pull_version(task, number, tracker.server, workspace)
    return number


def _champion_of_origin(task: str, number: int | None, workspace: Workspace) -> Champion | None:
    """The champion, of which only its labels and what it was trained on are compared."""
    if number is None:
        return None
    try:
        manifest = bundle.read(workspace.version(task, number)).manifest
    except BundleError as error:
        return Champion(number, ChampionScores(error=str(error)))
    origin = manifest.lineage.trained_on
    return Champion(number, ChampionScores(labels=manifest.labels, trained_on=origin))


def _set_champion(
    task: str,
    number: int,
    action: str,
    reason: str,
    force: str | None,
    workspace: Workspace,
    tracker: Tracker,
) -> None:
    name = model_name(task)
    if number not in [version.number for version in tracker.versions(name)]:
        raise RegistryError(f"{name} has no version {number}; `mien models {task}` lists them.")
    require_registered(tracker, task, number, workspace)
    manifest = bundle.read(workspace.version(task, number)).manifest
    issues = issues_of(tracker, task, number, manifest, workspace)
    champion = _champion_of_origin(task, _champion_now(tracker, task, workspace), workspace)
    drawings = promotion.drawings_obstacle(manifest.lineage.trained_on, champion)
    command = f"mien {action} {task}{f' {number}' if action == 'promote' else ''} --force REASON"
    if issues and not force:
        raise RegistryError(
            f"Version {number} of {name} is not trusted: {issues}. {remedy(issues)}, or give a "
            f"reason: `{command}`."
        )
    if drawings and action == "promote" and not force:
        raise RegistryError(f"Version {number} of {name}: {drawings} Give a reason: `{command}`.")
    if drawings:
        console.info(f"Version {number} of {name}: {drawings}")
    notes = " ".join([f"Not trusted: {issues}."] * bool(issues) + [drawings] * bool(drawings))
    if force:  # recorded also where nothing had to be forced
        reason = f"{force[:200]}. {reason}" if reason != BY_HAND else force[:200]
    if issues or (drawings and action == "promote"):
        action = f"forced {action}"
    if notes:
        reason = f"{reason}. {notes}"
    record_commit(tracker, number, manifest)
    tracker.move(name, CHAMPION, number, action, reason)
    workspace.write_aliases(task, tracker.aliases(name))
