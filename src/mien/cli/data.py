"""`mien data`: fetch and prepare, and what one asks of versions."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mien import pipeline
from mien.reporting import console

from .options import Config, Home, Overrides, Source, app, run_config, workspace_at


class _Default(TyperGroup):
    """A group whose first command need not be named: `mien data gesture` prepares.

    Options may stand before the name of a command as well as after it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in ctx.help_option_names:
            place = self._first_word(args)
            named = place is not None and args[place] in self.commands
            first = args.pop(place) if named and place is not None else "prepare"
            args = [first, *args]
        return super().parse_args(ctx, args)

    def _first_word(self, args: list[str]) -> int | None:
        """Where the first argument stands that is neither an option nor the value of one."""
        options = [each for each in self.commands["prepare"].params if each.opts[0][:1] == "-"]
        valued = {name for each in options if not getattr(each, "is_flag", 0) for name in each.opts}
        skip = False
        for place, word in enumerate(args):
            if not skip and not word.startswith("-"):
                return place
            skip = not skip and word in valued
        return None


group = typer.Typer(
    cls=_Default,
    no_args_is_help=True,
    help="Fetch and prepare data; check, compare and bring back its versions. "
    "'mien data CONFIG' is 'mien data prepare CONFIG'.",
)
app.add_typer(group, name="data", rich_help_panel="Stages")

Name = Annotated[str, typer.Argument(help="The task.")]
Ref = Annotated[str, typer.Argument(help="Its number, or how its hash begins.")]


@group.command()
def prepare(
    file: Config, source: Source = None, overrides: Overrides = None, home: Home = None
) -> None:
    """Fetch and prepare data, and report what is in it."""
    from mien.stages import data as stage

    chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    with workspace.locked(chosen.task), stage.settled(chosen, workspace):
        ready = stage.data(chosen, workspace)
    if not ready.fresh:
        stage.show(ready.folder)
    console.result(f"version {ready.fingerprint[:12]}, prepared: {ready.folder}")


@group.command()
def check(
    file: Config,
    source: Source = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe to mend, as a new version.")
    ] = False,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Hold data to the gates before a training: duplicates, leaks, labels, boxes, shortcuts."""
    chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    done = (pipeline.fix if fix else pipeline.check)(chosen, workspace)
    if not done.passed:
        raise typer.Exit(1)


@group.command()
def log(task: Name, home: Home = None) -> None:
    """List the versions of a task's raw data."""
    from mien.stages.data import versions

    versions.log(task, workspace_at(home))


@group.command()
def diff(
    task: Name,
    old: Ref,
    new: Annotated[str | None, typer.Argument(help="Default: the newest.")] = None,
    home: Home = None,
) -> None:
    """What changed between two versions: added, removed, relabelled; counts before and after."""
    from mien.stages.data import versions

    versions.diff(task, old, new, workspace_at(home))


@group.command()
def checkout(
    task: Name,
    version: Ref,
    folder: Annotated[
        Path | None, typer.Argument(help="Write its files here; default: make it the newest.")
    ] = None,
    home: Home = None,
) -> None:
    """Bring a version back: as the newest of the store, or as plain files in a new folder."""
    from mien.stages.data import versions

    versions.checkout(task, version, folder, workspace_at(home))


@group.command()
def verify(task: Name, home: Home = None) -> None:
    """Check every byte of every version."""
    from mien.stages.data import versions

    if not versions.verify(task, workspace_at(home)):
        raise typer.Exit(1)
