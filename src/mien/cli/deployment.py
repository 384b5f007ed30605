"""`mien deploy` and `mien destroy`: the service on Cloud Run."""

from pathlib import Path
from typing import Annotated

import typer

from mien.reporting import console

from .help import App, SectionedGroup
from .options import Home, app, workspace_at

deploy_group = App(cls=SectionedGroup, no_args_is_help=True, help="Deploy the service to a cloud.")
destroy_group = App(
    cls=SectionedGroup, no_args_is_help=True, help="Delete the service from a cloud."
)
app.add_typer(deploy_group, name="deploy", rich_help_panel="Deployment")
app.add_typer(destroy_group, name="destroy", rich_help_panel="Deployment")

ServiceName = Annotated[str, typer.Option(help="The name of the service.")]
Region = Annotated[str, typer.Option(help="Its region, such as europe-west1.")]


@deploy_group.command("cloud-run")
def deploy_cloud_run(
    service: ServiceName,
    region: Region,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE@DIGEST", help="The image, with its digest.")
    ] = None,
    canary: Annotated[
        str, typer.Option(metavar="PERCENTS", help="Shares of the traffic, step by step.")
    ] = "5,25,50,100",
    file: Annotated[Path, typer.Option(help="The settings of the service.")] = Path(
        "deploy/cloudrun/service.yaml"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands and the file; change nothing.")
    ] = False,
    rollback: Annotated[
        bool,
        typer.Option("--rollback", help="End a deployment that is under way; do nothing else."),
    ] = False,
    home: Home = None,
) -> None:
    """Deploy an image, ask it, and move the traffic to it; go back on any failure."""
    from mien import config
    from mien.stages.deploy import candidate, rollout
    from mien.stages.deploy.service import Service

    target = Service(service, region)
    if rollback:
        console.result(rollout.restore(target))
        return
    settings = config.settings()
    keys = settings.api_keys.get_secret_value()
    planned = rollout.parse(target, image, canary, file, keys)
    if dry_run:
        for line in rollout.plan(planned):
            console.result(line)
        return
    expected = candidate.expected_models(workspace_at(home, settings))
    console.result(rollout.deploy(planned, expected))


@destroy_group.command("cloud-run")
def destroy_cloud_run(
    service: ServiceName,
    region: Region,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without, say what it is.")] = False,
) -> None:
    """Delete the service with all its revisions; the images stay."""
    from mien.stages.deploy import rollout
    from mien.stages.deploy.service import Service

    target = Service(service, region)
    console.result(rollout.destroy(target, yes))
