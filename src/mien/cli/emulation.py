"""Commands that run the service as a platform would."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .help import App, SectionedGroup
from .options import Home, Json, app, workspace_at

group = App(
    cls=SectionedGroup,
    no_args_is_help=True,
    help="Run the service under the contract of a platform, on this machine.",
)
app.add_typer(group, name="emulate", rich_help_panel="Deployment")


Image = Annotated[str | None, typer.Option(help="The image. Default: `mien serve` as a process.")]
Service = Annotated[
    Path | None, typer.Option(help="The service's Knative file, for limits and variables.")
]
Cpus = Annotated[
    float | None, typer.Option("--cpu", help="CPUs of an instance. Default 1.", min=0.08)
]
Memory = Annotated[int | None, typer.Option(help="MiB of an instance. Default 1024.", min=128)]
Requests = Annotated[
    int, typer.Option(help="Responses before SIGTERM, and again after it.", min=20)
]
Clients = Annotated[int | None, typer.Option(help="Requests sent at once. Default 16.", min=1)]
Variables = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable.")
]
Network = Annotated[
    str | None, typer.Option(help="The network of the containers. Default: the engine's.")
]


@group.command("cloud-run")
def emulate_cloud_run(
    image: Image = None,
    service: Service = None,
    cpus: Cpus = None,
    memory: Memory = None,
    requests: Requests = 100,
    clients: Clients = None,
    variables: Variables = None,
    network: Network = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Try cold start, load, the size limit and SIGTERM as on Cloud Run; measure what is lost."""
    with console.bar("start"):
        from mien.stages.emulate import cloud_run as stage
        from mien.stages.emulate import scenario, service_file
        from mien.stages.emulate.instances import Limits

    settings = service_file.read(service) if service else service_file.DEFAULT
    limits = Limits(cpus or settings.limits.cpus, memory or settings.limits.memory_mb)
    from_file = [f"{name}={value}" for name, value in settings.environment.items()]
    options = [f"--network={network}"] if network else []
    platform = stage.service(
        limits, from_file + (variables or []), image, options, workspace_at(home)
    )
    report = scenario.run(platform, limits, requests, clients or settings.concurrency)
    if json:
        console.document(report.model_dump(mode="json"), indent=1)
    else:
        scenario.show(report)
    if report.failures:
        raise typer.Exit(1)
