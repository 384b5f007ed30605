"""Whether a model can be made again from its record, and has learnt anything; one of which that is
not known needs force to be champion."""

from mien.errors import RegistryError
from mien.model import lineage
from mien.model.bundle import Manifest
from mien.model.lineage import CodeState
from mien.model.pulling import pull_version
from mien.storage.registry import UNTRUSTED
from mien.storage.versions import Store
from mien.storage.workspace import Workspace, model_name
from mien.tracking import COMMITTED, Tracker

_UNCOMMITTED = "its code had changes that are in no commit"
_NO_DATA = "are no version of this workspace"
_LEARNT_NOTHING = "it has learnt nothing measurable"
_REMEDIES = {
    _UNCOMMITTED: (
        "Commit what `git status` names and run again (the same code is not trained again)"
    ),
    _NO_DATA: "Bring the data back with `mien data CONFIG --source PATH`",
    _LEARNT_NOTHING: "Check the labels with `mien data check CONFIG`, give more data, train longer",
}


def trust_issues(manifest: Manifest, workspace: Workspace) -> str:
    """Why a model is not to be champion by itself; "" where nothing speaks against it."""
    if manifest.lineage.trained_on == "pretrained":
        return ""  # made of fetched bytes with pinned hashes: another pull makes it again
    issues = []
    code, root = manifest.lineage.code, manifest.lineage.data_fingerprint
    if code.dirty and not committed_since(code):
        issues.append(_UNCOMMITTED)
    if not root or not Store(workspace.raw(manifest.task)).contains(root):
        issues.append(f"its data ({root[:12] or 'not named'}) {_NO_DATA}")
    majority = manifest.metrics and manifest.metrics.majority
    if majority and not majority.has_learnt:
        issues.append(f"{_LEARNT_NOTHING} ({majority.sentence})")
    return " and ".join(issues)


def issues_of(
    tracker: Tracker, task: str, number: int, manifest: Manifest, workspace: Workspace
) -> str:
    """The trust issues of a registered version. What a team's server holds was trained anywhere:
    there the machine that registered it had its data and its code, and noted what was missing."""
    if tracker.server:
        versions = tracker.versions(model_name(task))
        if not any(each.number == number and UNTRUSTED in each.tags for each in versions):
            return ""
    return trust_issues(manifest, workspace)


def require_registered(tracker: Tracker, task: str, number: int, workspace: Workspace) -> None:
    """Raise RegistryError for a version whose bundle is not the one that MLflow names; a team's
    server hands it out."""
    if tracker.server:
        pull_version(task, number, tracker.server, workspace)
    elif not workspace.is_registered(task, number):
        raise RegistryError(
            f"Version {number} of {model_name(task)}: expected the bundle that MLflow names, found "
            f"none or another one in {workspace.version(task, number)}. It was registered by other "
            "code than mien, the model was deleted and made again, or the folder was altered. "
            f"`mien promote {task} VERSION` makes another version champion; or take the alias from "
            "it in MLflow."
        )


def remedy(issues: str) -> str:
    """What to do about the issues that `trust_issues` named."""
    return ", ".join(text for phrase, text in _REMEDIES.items() if phrase in issues)


def committed_since(code: CodeState) -> bool:
    """Whether the tree is clean now and holds the very code that was not committed then."""
    now = lineage.commit()
    return now.dirty is False and code.sha256 == now.sha256


def record_commit(tracker: Tracker, number: int, manifest: Manifest) -> None:
    """Store which commit holds the code that was not committed when the model was trained, if one
    does now: a rebuild looks there."""
    code = manifest.lineage.code
    if code.dirty and committed_since(code):
        commit = str(lineage.commit().commit)
        tracker.set_tag(model_name(manifest.task), number, COMMITTED, commit)
