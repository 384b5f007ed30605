"""Commands about a running stack."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .options import Home, app, workspace_at

Project = Annotated[Path, typer.Option(help="Where docker-compose.yml lies.")]
At = Annotated[str | None, typer.Option(help="Its address; default: as in docker-compose.yml.")]


@app.command(rich_help_panel="Monitoring")
def dashboards(
    out: Annotated[Path, typer.Option(help="The folder that Grafana reads.")] = Path(
        "grafana/provisioning/dashboards"
    ),
    pictures: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw them into this folder instead, from live data."),
    ] = None,
    prometheus: At = None,
    minutes: Annotated[float, typer.Option(help="How far back a picture goes.", min=1)] = 30,
) -> None:
    """Write the three Grafana dashboards, or draw what they show now."""
    from mien.stages.monitor import dashboards as stage
    from mien.stages.monitor.panels import DASHBOARDS

    if pictures is None:
        written = stage.write(DASHBOARDS, out)
    else:
        from mien.stages.monitor import compose, picture
        from mien.stages.monitor.web import Prometheus

        watcher = Prometheus.at(compose.address("prometheus", Path(), prometheus))
        written = picture.write(DASHBOARDS, watcher.ask, pictures, minutes)
    for path in written:
        console.result(f"written: {path}")


@app.command(rich_help_panel="Monitoring")
def verify(
    api: At = None,
    prometheus: At = None,
    alertmanager: At = None,
    grafana: At = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A part that is known not to run, as grafana.")
    ] = None,
    project: Project = Path(),
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("reports"),
    home: Home = None,
) -> None:
    """Hold a running stack against its promises; name the file or metric at fault."""
    from mien.stages.monitor import verify as stage

    given = {"api": api, "prometheus": prometheus, "alertmanager": alertmanager, "grafana": grafana}
    stack = stage.stack(given, frozenset(without or ()), project, workspace_at(home))
    findings = stage.verify_all(stack, out)
    if not all(finding.kept for finding in findings):
        raise typer.Exit(1)


@app.command(rich_help_panel="Monitoring")
def drill(
    name: Annotated[
        str, typer.Argument(help="drift, flood, corrupt, slow, errors, killed; or clean: none.")
    ],
    task: Annotated[
        str | None, typer.Option(help="Whose questions are sent; default: the first that fits.")
    ] = None,
    api: At = None,
    prometheus: At = None,
    rate: Annotated[float, typer.Option(help="Questions a second.", min=0.1)] = 5.0,
    patience: Annotated[
        float | None,
        typer.Option(help="Seconds until the alert must fire, default 1200; clean lasts 420."),
    ] = None,
    linger: Annotated[
        float, typer.Option(help="Seconds that the fault goes on after its alert.")
    ] = 60.0,
    kill: Annotated[
        str | None, typer.Option(help="What kills the server; default: docker-compose kill api.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="What starts it; default: docker-compose start api.")
    ] = None,
    project: Project = Path(),
    home: Home = None,
) -> None:
    """Put a fault into a running stack and time the alert that it must raise."""
    from mien.stages.monitor import compose, traffic
    from mien.stages.monitor import drill as stage
    from mien.stages.monitor.web import Prometheus, Site

    chosen = stage.find(name)
    stack = stage.Stack(
        Site(compose.address("api", project, api)),
        Prometheus.at(compose.address("prometheus", project, prometheus)),
        kill=stage.command(kill or compose.command("kill"), project),
        start=stage.command(start or compose.command("start"), project),
    )
    questions = traffic.fitting(task, chosen.pictures, workspace_at(home))
    seen = stage.run(chosen, stack, questions, rate, patience or chosen.patience, linger)
    console.result(stage.words(chosen, seen))
