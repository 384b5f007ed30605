"""Commands for a challenger that answers beside the champion."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mien.reporting import console

from .options import Home, Json, Task, app, workspace_at

if TYPE_CHECKING:
    from mien.stages.shadow import ShadowReport


@app.command(rich_help_panel="Registry")
def shadow(
    task: Task,
    version: Annotated[
        int | None, typer.Argument(help="The challenger. Default: show the comparison.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="Share of the requests that it answers.", min=0.0001, max=1.0)
    ] = 0.1,
    end: Annotated[bool, typer.Option("--stop", help="End it.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it champion if the comparison says better.")
    ] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Let a version answer after the champion, unseen by clients, and compare the two."""
    from mien import config, tasks
    from mien.errors import ConfigError
    from mien.observability.prediction_log.location import locate
    from mien.stages import shadow as stage
    from mien.storage import shadow as state

    if (version is not None) + end + promote > 1:
        raise ConfigError("Expected VERSION, --stop or --promote, found several. Give one.")
    settings = config.settings()
    name, workspace = tasks.load(task).name, workspace_at(home, settings)
    log = locate(settings, workspace)
    if version is not None:
        stage.start(name, version, share, workspace)
        console.result(f"mien-{name} version {version} answers {share:.3g} of the requests too")
    elif end:
        ended = state.stop(workspace, name)
        console.result(f"mien-{name}: {'stopped' if ended else 'no version was answering'}")
    elif promote:
        from mien import pipeline

        number = pipeline.promote_challenger(name, workspace, log)
        console.result(f"mien-{name} version {number} is champion")
    else:
        _show(stage.report(name, workspace, log), as_json)


def _show(compared: "ShadowReport", as_json: bool) -> None:
    if as_json:
        console.document(compared.model_dump(mode="json"))
        return
    agreement = compared.agreement
    agreed = "-"
    if agreement is not None:
        agreed = f"{agreement.share:.4f} ({agreement.lower:.4f} to {agreement.upper:.4f})"
    cpu_ms, champion_cpu_ms = compared.cpu_ms, compared.champion_cpu_ms
    interval = f"({compared.lower:+.4f} to {compared.upper:+.4f})"
    last = datetime.fromtimestamp(compared.last, UTC).isoformat(" ", "seconds")
    rows = [
        ["answers to the same requests", f"{compared.answers}, {compared.errors} failed"],
        ["last answer", last if compared.answers else "none"],
        ["same label", agreed],
        ["CPU ms of a prediction", f"{cpu_ms:.2f}, champion {champion_cpu_ms:.2f}"],
        ["answers with feedback", str(compared.feedback)],
        ["accuracy", f"{compared.accuracy:.4f}, champion {compared.champion_accuracy:.4f}"],
        ["difference", f"{compared.difference:+.4f} {interval}"],
        ["test", compared.verdict + ", but the feedback is biased" * compared.biased],
    ]
    title = f"{compared.task}: version {compared.challenger} after champion {compared.champion}"
    console.table(title, ["", f"share {compared.share:.3g}"], rows)
