"""`mien review` and `mien forget`: inputs that a server keeps for people."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mien.reporting import console

from .help import App, SectionedGroup
from .options import Home, Task, app, workspace_at


class _PageByDefault(SectionedGroup):
    """A group whose command `page` may be omitted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["page", *args]
        return super().parse_args(ctx, args)


group = App(
    cls=_PageByDefault,
    help="Label inputs of doubtful answers that a server keeps. 'mien review' means "
    "'mien review page'.",
)
app.add_typer(group, name="review", rich_help_panel="Predictions")


@group.command()
def page(
    reviewer: Annotated[
        str | None, typer.Option(help="Who labels. Default: the user of this computer.")
    ] = None,
    port: Annotated[int, typer.Option(help="On this computer only; 0 takes any free one.")] = 8010,
    home: Home = None,
) -> None:
    """Show the samples in a browser on this computer, the most valuable first."""
    from mien import config
    from mien.stages import review as stage

    settings = config.settings()
    stage.run(workspace_at(home, settings), settings, reviewer, port, _show_address)


@group.command()
def export(
    task: Task,
    out: Annotated[Path, typer.Argument(help="A new .csv of landmarks, or a folder of crops.")],
    home: Home = None,
) -> None:
    """Write what all reviewers agree on, decrypted, as a source for `mien data`."""
    from mien import config
    from mien.stages import review as stage

    settings = config.settings()
    done = stage.export(task, out, workspace_at(home, settings), settings)
    console.result(
        f"{done.out}: {done.written} samples, not encrypted; {done.left_out} without one label, or "
        "of another form, were left out"
    )


@group.command(name="import")
def import_(
    task: Task,
    source: Annotated[
        Path, typer.Argument(help="A .csv, a YOLO folder, or a .json of Label Studio.")
    ],
    reviewer: Annotated[str, typer.Option(help="Whose labels they are.")],
    home: Home = None,
) -> None:
    """Store labels that were given elsewhere for samples that are kept here."""
    from mien import config
    from mien.stages import review as stage

    settings = config.settings()
    count = stage.import_labels(task, source, reviewer, workspace_at(home, settings), settings)
    console.result(f"{count} labels of {reviewer}")


@group.command()
def agreement(task: Task, home: Home = None) -> None:
    """Print how far the reviewers agree, as Cohen's kappa of each pair."""
    from mien import config
    from mien.stages import review as stage

    settings = config.settings()
    report = stage.agreement(task, workspace_at(home, settings), settings)
    rows = [
        [each.one, each.other, str(each.samples), f"{each.observed:.1%}", each.kappa_text]
        for each in report.pairs
    ]
    console.table("Agreement", ["reviewer", "reviewer", "samples", "agree", "kappa"], rows)
    console.result(f"all agree on {report.agreed} samples; {report.disputed} are disputed")


@app.command(rich_help_panel="Predictions")
def forget(
    trace_id: Annotated[str, typer.Argument(help="From the response of the server.")],
    home: Home = None,
) -> None:
    """Delete the input of an answer that is kept for review, and its labels."""
    from mien.stages import review as stage

    deleted = stage.forget(trace_id, workspace_at(home))
    console.result(f"deleted: {', '.join(deleted)}" if deleted else "nothing was kept of it")


def _show_address(address: str) -> None:
    console.result(f"review on {address} (Ctrl-C ends it)")
