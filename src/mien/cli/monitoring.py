"""Commands for a running monitoring stack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.reporting import console

from .options import Home, app, workspace_at

if TYPE_CHECKING:
    from mien.stages.monitor.web import HttpClient

Project = Annotated[Path, typer.Option(help="The folder of docker-compose.yml.")]
Address = Annotated[
    str | None, typer.Option(help="Its address. Default: as in docker-compose.yml.")
]


@app.command(rich_help_panel="Monitoring")
def dashboards(
    out: Annotated[Path, typer.Option(help="The folder that Grafana reads.")] = Path(
        "grafana/provisioning/dashboards"
    ),
) -> None:
    """Write the four Grafana dashboards."""
    from mien.stages.monitor import dashboards as stage
    from mien.stages.monitor.panels import DASHBOARDS

    for path in stage.write(DASHBOARDS, out):
        console.result(f"written: {path}")


@app.command(rich_help_panel="Monitoring")
def verify(
    api: Address = None,
    prometheus: Address = None,
    alertmanager: Address = None,
    grafana: Address = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE",
            help="A service that does not run: api, prometheus, "
            "alertmanager or grafana; what needs it is not checked.",
        ),
    ] = None,
    project: Project = Path(),
    out: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("reports"),
    home: Home = None,
) -> None:
    """Check a running stack; name the file or metric that is wrong."""
    with console.bar("start"):
        from mien.stages.monitor import verify as stage

    addresses = {
        "api": api,
        "prometheus": prometheus,
        "alertmanager": alertmanager,
        "grafana": grafana,
    }
    stack = stage.stack(addresses, frozenset(without or ()), project, workspace_at(home))
    results = stage.verify_all(stack, out)
    if any(result.failure for result in results):
        raise typer.Exit(1)


Fault = Annotated[
    str,
    typer.Argument(
        help="drift, flood, corrupt, slow, errors, killed; clean, without a fault; or loop, from a "
        "changed world to a promoted model, on drawings."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds until the alert must fire, default 1200; clean lasts 420."),
]


Kill = Annotated[
    str | None,
    typer.Option(help="Command that kills the server. Default: docker-compose kill api."),
]
Start = Annotated[
    str | None, typer.Option(help="Command that starts it. Default: docker-compose start api.")
]
Hold = Annotated[float, typer.Option(help="Seconds that the fault continues after its alert.")]


@app.command(rich_help_panel="Monitoring")
def drill(
    name: Fault,
    task: Annotated[
        str | None, typer.Option(help="The task of the requests. Default: the first that fits.")
    ] = None,
    api: Address = None,
    prometheus: Address = None,
    grafana: Address = None,
    rate: Annotated[float, typer.Option(help="Requests per second.", min=0.1)] = 5.0,
    timeout: Timeout = None,
    hold: Hold = 60.0,
    kill: Kill = None,
    start: Start = None,
    project: Project = Path(),
    home: Home = None,
) -> None:
    """Inject a fault into a running stack and measure the time to its alert."""
    with console.bar("start"):
        from mien.stages.monitor import compose, traffic
        from mien.stages.monitor import drill as stage
        from mien.stages.monitor.web import HttpClient, Prometheus

    def client(service: str, address: str | None) -> HttpClient:
        return HttpClient(compose.address(service, project, address), service=service)

    if name == "loop":
        _loop(task, client("api", api), rate, home)
        return
    chosen = stage.find(name)
    stack = stage.DrillTarget(
        client("api", api),
        Prometheus(client("prometheus", prometheus)),
        grafana=HttpClient(compose.address("grafana", project, grafana), compose.login(project)),
        kill=stage.command(kill or compose.command("kill"), project),
        start=stage.command(start or compose.command("start"), project),
    )
    requests = traffic.select(task, chosen.needs_images, chosen.needs_reference, workspace_at(home))
    result = stage.run(chosen, stack, requests, rate, timeout or chosen.timeout_s, hold)
    console.result(stage.summary(chosen, result))


def _loop(task: str | None, api: "HttpClient", rate: float, home: Path | None) -> None:
    from mien import config
    from mien.pipeline import loop_drill

    settings = config.settings()
    result = loop_drill.run(task, workspace_at(home, settings), settings, api, rate)
    loop_drill.show(result)
    loop_drill.require_passed(result)
