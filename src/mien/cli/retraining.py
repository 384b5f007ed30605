"""`mien retrain`: from labels that people gave to a challenger."""

from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, Task, app, workspace_at

Listen = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        help="Wait for alerts of Alertmanager on this port of 127.0.0.1, and train when one asks "
        "for it and the limits allow it. Needs MIEN_RETRAIN_KEY.",
    ),
]


@app.command(rich_help_panel="Registry")
def retrain(
    task: Task,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Do nothing where the limits do not allow it.")
    ] = False,
    listen: Listen = None,
    cooldown: Annotated[
        float, typer.Option(metavar="HOURS", help="Limit: hours since the last training.", min=0)
    ] = 24,
    per_week: Annotated[int, typer.Option(help="Limit: trainings in seven days.", min=1)] = 2,
    min_samples: Annotated[
        int, typer.Option(help="Limit: samples labelled since the last training.", min=1)
    ] = 20,
    home: Home = None,
) -> None:
    """Train again on the champion's data and on what people reviewed; register a challenger."""
    from mien import config, tasks
    from mien.errors import ConfigError, NotDueError
    from mien.pipeline import retraining
    from mien.stages.retrain import RetrainLimits

    if listen is not None and if_due:
        raise ConfigError("Expected --listen or --if-due, found both. Give one.")
    settings, name = config.settings(), tasks.load(task).name
    workspace = workspace_at(home, settings)
    limits = RetrainLimits(cooldown_h=cooldown, per_week=per_week, min_samples=min_samples)
    if listen is not None:
        retraining.retrain_on_alerts(name, workspace, settings, limits, listen, _show_address)
        return
    trigger = "schedule" if if_due else "command"
    try:
        retraining.retrain(name, workspace, settings, trigger, limits if if_due else None)
    except NotDueError as error:
        console.result(f"not due: {error}")


def _show_address(address: str) -> None:
    console.result(f"alerts are received on {address} (Ctrl-C ends it)")
