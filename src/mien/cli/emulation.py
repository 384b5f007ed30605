"""Commands that run the service as a platform would."""

from typing import Annotated

import typer

from mien.reporting import console

from .help import SectionedGroup
from .options import Home, Json, app, workspace_at

group = typer.Typer(
    cls=SectionedGroup,
    no_args_is_help=True,
    help="Run the service under the contract of a platform, on this machine.",
)
app.add_typer(group, name="emulate", rich_help_panel="Deployment")


@group.command("cloud-run")
def cloud_run(
    image: Annotated[
        str | None, typer.Option(help="The image. Default: `mien serve` as a process.")
    ] = None,
    cpus: Annotated[float, typer.Option("--cpu", help="CPUs of an instance.", min=0.08)] = 1.0,
    memory: Annotated[int, typer.Option(help="MiB of an instance.", min=128)] = 1024,
    requests: Annotated[
        int, typer.Option(help="Responses before SIGTERM, and again after it.", min=20)
    ] = 100,
    clients: Annotated[int, typer.Option(help="Requests sent at once.", min=1)] = 16,
    environment: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="The network of the containers. Default: the engine's.")
    ] = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Try cold start, load, the size limit and SIGTERM as on Cloud Run; measure what is lost."""
    with console.bar("start"):
        from mien.stages.emulate import scenario
        from mien.stages.emulate.cloud_run import service
        from mien.stages.emulate.instances import Limits

    limits, options = Limits(cpus, memory), [f"--network={network}"] if network else []
    platform = service(limits, environment or [], image, options, workspace_at(home))
    report = scenario.run(platform, limits, requests, clients)
    if json:
        console.result(report.model_dump_json(indent=1))
    else:
        scenario.show(report)
    if report.failures:
        raise typer.Exit(1)
