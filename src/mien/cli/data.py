"""`mien data`: fetch, check and prepare data, and work with their versions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.reporting import console

from .help import App, SectionedGroup
from .options import Config, Home, Overrides, Source, Task, app, run_config, workspace_at


class _PrepareByDefault(SectionedGroup):
    """A group whose command `prepare` may be omitted: `mien data gesture` prepares.

    Options are allowed before the name of a command too.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in ctx.help_option_names:
            index = self._first_positional(args)
            has_command = index is not None and args[index] in self.commands
            command = args.pop(index) if has_command and index is not None else "prepare"
            args = [command, *args]
        return super().parse_args(ctx, args)

    def _first_positional(self, args: list[str]) -> int | None:
        """Index of the first argument that is neither an option nor the value of one."""
        options = [each for each in self.commands["prepare"].params if each.opts[0][:1] == "-"]
        with_value = {
            name for each in options if not getattr(each, "is_flag", 0) for name in each.opts
        }
        is_value = False
        for index, argument in enumerate(args):
            if not is_value and not argument.startswith("-"):
                return index
            is_value = not is_value and argument in with_value
        return None


group = App(
    cls=_PrepareByDefault,
    no_args_is_help=True,
    help="Fetch, check and prepare data; list, compare and restore data versions. "
    "'mien data CONFIG' means 'mien data prepare CONFIG'.",
)
app.add_typer(group, name="data", rich_help_panel="Stages")

VersionReference = Annotated[str, typer.Argument(help="A number, or the start of a hash.")]


@group.command()
def prepare(
    file: Config = None, source: Source = None, overrides: Overrides = None, home: Home = None
) -> None:
    """Fetch and prepare data, and print a report."""
    with console.bar("start"):
        from mien.stages import Run
        from mien.stages import data as stage

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
        run = Run.resolve(chosen, workspace)
    with console.bar("prepare data"), workspace.locked(chosen.task):
        ready = stage.data(run)
    if not ready.fresh:
        stage.show(ready.folder)
    console.result(f"version {ready.fingerprint[:12]}, prepared: {ready.folder}")


@group.command()
def check(
    file: Config = None,
    source: Source = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what is safe to repair, as a new version.")
    ] = False,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Check raw data: duplicates, leakage, labels, boxes, spurious correlation."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    report = (pipeline.repair if fix else pipeline.check)(chosen, workspace)
    if not report.passed:
        raise typer.Exit(1)


@group.command()
def suspects(
    file: Config = None, source: Source = None, overrides: Overrides = None, home: Home = None
) -> None:
    """Rank labels by how probably they are wrong, as a CSV to correct and a page to look at."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    found = pipeline.suspects(chosen, workspace)
    console.result(f"{len(found.ranked):,} labels ranked, {found.unjudged:,} could not be judged")
    console.result(f"Look: {found.page}")
    console.result(f"Correct the column label, then: mien data relabel {file} {found.csv}")


@group.command()
def relabel(
    file: Annotated[Path, typer.Argument(metavar="CONFIG", help="As for `mien data suspects`.")],
    corrections: Annotated[Path, typer.Argument(metavar="CSV", help="The corrected ranking.")],
    source: Source = None,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Make a new version with corrected labels; the old one and all splits stay."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    pipeline.relabel(chosen, workspace, corrections)


@group.command()
def log(task: Task, home: Home = None) -> None:
    """List the versions of a task's raw data."""
    from mien.stages.data import versions

    versions.log(task, workspace_at(home))


@group.command()
def diff(
    task: Task,
    old: VersionReference,
    new: Annotated[str | None, typer.Argument(help="Default: the newest version.")] = None,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Compare two versions: added, removed and relabelled items; counts before and after."""
    from mien.stages.data import versions

    versions.diff(task, old, new, workspace_at(home), overrides or ())


@group.command()
def checkout(
    task: Task,
    version: VersionReference,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Write its files here. Default: make it the newest version."),
    ] = None,
    home: Home = None,
) -> None:
    """Restore a version: as the newest of the store, or as plain files in a new folder."""
    from mien.stages.data import versions

    versions.checkout(task, version, folder, workspace_at(home))


@group.command()
def forget(task: Task, version: VersionReference, home: Home = None) -> None:
    """Delete a version that no registered model was trained on."""
    from mien.stages.data import versions

    versions.forget(task, version, workspace_at(home))


@group.command()
def verify(task: Task, home: Home = None) -> None:
    """Check every byte of every version."""
    from mien.stages.data import versions

    if not versions.verify(task, workspace_at(home)):
        raise typer.Exit(1)
