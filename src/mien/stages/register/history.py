"""The aliases of a registered model over time, and their agreement with the exported ones."""

from collections.abc import Sequence

from mien.errors import RegistryError
from mien.model import bundle
from mien.storage.registry import AliasChange
from mien.storage.workspace import CHAMPION, Workspace, model_name
from mien.tracking import Tracker

from .trust import issues_of, require_registered

_UNRECORDED = "The alias stood so: moved in MLflow itself, or a registration was interrupted."


def previous_champion(changes: Sequence[AliasChange]) -> int | None:
    """The champion before the present one; each rollback undoes one promotion."""
    stack: list[int] = []
    for change in changes:
        if change.alias != CHAMPION:
            continue
        if change.action.endswith("rollback"):
            del stack[-1:]  # none where entries were deleted in MLflow
        if stack[-1:] != [change.after]:
            stack.append(change.after)
    return stack[-2] if len(stack) > 1 else None


def sync_aliases(tracker: Tracker, task: str, workspace: Workspace, force: str | None) -> None:
    """Export the aliases as MLflow has them; record a champion that the history does not name.

    Raises:
        RegistryError: that champion is not trusted, or its bundle is not the one in MLflow.
        BundleError: its bundle is not here, or damaged, or altered on a team's server.
    """
    name = model_name(task)
    if not tracker.is_there:
        return
    aliases = tracker.aliases(name)
    number = aliases.get(CHAMPION)
    if number is not None:
        require_registered(tracker, task, number, workspace)
    if aliases == workspace.exported_aliases(task):
        return
    champions = [change.after for change in tracker.history(name) if change.alias == CHAMPION]
    if number is not None and champions[-1:] != [number]:
        manifest = bundle.read(workspace.version(task, number)).manifest
        issues = issues_of(tracker, task, number, manifest, workspace)
        if issues and number not in champions and not force:
            raise RegistryError(
                f"In MLflow version {number} of {name} was made champion, which is not trusted: "
                f"{issues}. `mien promote {task} {number} --force REASON` lets it be champion, "
                f"`mien promote {task} VERSION` makes another one champion."
            )
        forced = f"{force}. " if issues and force else ""
        doubt = f"Not trusted: {issues}. " if issues else ""
        what = "forced found" if forced else "found"
        tracker.move(name, CHAMPION, number, what, f"{doubt}{forced}{_UNRECORDED}")
    workspace.write_aliases(task, aliases)
