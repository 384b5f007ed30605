"""Commands for tasks, registered versions and the champion."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.reporting import console

from .options import Force, Home, Reason, Task, Version, app, workspace_at

if TYPE_CHECKING:
    from mien.storage.workspace import Workspace


@app.command("tasks", rich_help_panel="Registry")
def list_tasks() -> None:
    """List the tasks."""
    from mien import tasks

    loaded = [tasks.load(name) for name in tasks.names()]
    rows = [[task.name, ", ".join(task.default_labels), task.summary] for task in loaded]
    console.table("Tasks", ["task", "labels of the sample data", "summary"], rows)


@app.command(rich_help_panel="Registry")
def models(
    task: Annotated[str | None, typer.Argument(help="Default: all tasks.")] = None,
    home: Home = None,
) -> None:
    """List registered versions, their aliases and the history of the aliases."""
    from mien import tasks

    for name in [tasks.load(task).name] if task else tasks.names():
        _show_versions(name, workspace_at(home))


@app.command(rich_help_panel="Registry")
def ui(
    task: Annotated[str | None, typer.Argument(help="Default: the one trained last.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65_535)] = 5000,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    home: Home = None,
) -> None:
    """Compare the candidates of the last training in MLflow's own page, until Ctrl-C.

    A team's server serves its page itself: the command opens it there.
    """
    with console.bar("start"):
        from mien.tracking import Tracker

        tracker = Tracker(workspace_at(home).home)
        address = tracker.server.address if tracker.server else f"http://{host}:{port}"
        start = f"{address}/{tracker.comparison(task)}"
    console.info(f"MLflow on {address}\nCandidates of the last training: {start}")
    tracker.serve_page(host, port, start if browser else "")


@app.command(rich_help_panel="Registry")
def promote(
    task: Task,
    version: Version,
    reason: Reason = "by hand",
    force: Force = None,
    home: Home = None,
) -> None:
    """Make a registered version the champion."""
    from mien import tasks
    from mien.stages.register import promote as stage

    name, workspace = tasks.load(task).name, workspace_at(home)
    with workspace.locked(name):
        stage(name, version, reason, workspace, force)
    console.result(f"mien-{task} version {version} is champion")


@app.command(rich_help_panel="Registry")
def rollback(
    task: Task, reason: Reason = "by hand", force: Force = None, home: Home = None
) -> None:
    """Undo the last promotion: make the champion before it champion again."""
    from mien import tasks
    from mien.stages.register import rollback as stage
    from mien.storage.workspace import model_name
    from mien.tracking import Tracker

    name, workspace = tasks.load(task).name, workspace_at(home)
    with workspace.locked(name):
        number = stage(name, reason, workspace, force)
        before = Tracker(workspace.home).history(model_name(name))[-1].before
    console.result(f"mien-{task} version {number} is champion again, instead of {before}")


@app.command(rich_help_panel="Registry")
def export(
    alias: Annotated[str, typer.Argument(help="champion or challenger.")],
    out: Annotated[Path, typer.Argument(help="The folder; an earlier export is replaced.")],
    home: Home = None,
) -> None:
    """Write the models to a folder of their own, for an image or another machine."""
    from mien.stages.export import export as stage

    for task, model in stage(workspace_at(home), alias, out).items():
        console.result(
            f"mien-{task} version {model.version}, {model.candidate}, {model.megabytes} MB, "
            f"digest {model.digest[:12]}"
        )
    console.result(f"exported: {out}; `mien serve --home {out}` serves it")


def _show_versions(task: str, workspace: "Workspace") -> None:
    from mien.storage.registry import UNTRUSTED
    from mien.storage.workspace import model_name
    from mien.tracking import Tracker

    name, tracker = model_name(task), Tracker(workspace.home)
    versions = tracker.versions(name)
    if not versions:
        console.result(f"{name} has no version yet: `mien run {task} --source PATH`.")
        return
    tags = ("candidate", "trained_on", "val_macro_f1", "test_macro_f1", "config")
    rows = [
        [str(each.number), *(each.tags.get(tag, "") for tag in tags), " ".join(each.aliases)]
        for each in versions
    ]
    columns = ["no.", "candidate", "trained on", "val", "test", "config", "aliases"]
    console.table(f"{name}: versions, with macro-F1 on val and test", columns, rows)
    for version in versions:
        if issues := version.tags.get(UNTRUSTED):
            console.result(f"version {version.number} is not trusted: {issues}")
        if tracker.server:
            continue  # hands out every bundle
        if not workspace.is_registered(task, version.number):
            console.result(
                f"version {version.number} is not served: it was registered by other code than "
                "mien, or its folder holds another bundle"
            )
        elif not workspace.version(task, version.number).is_dir():
            console.result(f"version {version.number} is not served: its bundle is missing")
    for change in tracker.history(name):
        before = f" (before: {change.before})" if change.before not in (None, change.after) else ""
        alias_change = f"{change.action}: {change.alias} -> {change.after}{before}"
        reason = _without(change.reason, [each.tags.get(UNTRUSTED, "") for each in versions])
        console.result(f"{change.when}  {change.who}  {alias_change}. {reason}")


def _without(reason: str, issues: Sequence[str]) -> str:
    """A reason without the issues that are printed for the version."""
    for each in filter(None, issues):
        reason = reason.replace(f": {each}", " (see above)")
    return reason
