"""Shared by all commands: the app, common arguments and options, config and workspace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import ConfigError

from .help import App, SectionedGroup

if TYPE_CHECKING:
    from mien.config import RunConfig, Settings
    from mien.storage.workspace import Workspace

app = App(
    cls=SectionedGroup,
    help="Read the emotion of a face and the gesture of a hand: from data set to service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Argument(
        help="The name of a config, such as gesture, or a YAML file. Without it, the command "
        "lists the names; configs/NAME.yaml in the current folder comes before mien's own.",
        metavar="CONFIG",
        show_default=False,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        help="A file, folder or zip; kaggle:OWNER/SET; sample for drawn data; @VERSION, or @ for "
        "the newest version. Default: the version that was fetched last."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key, as in seed=1."),
]
Task = Annotated[str, typer.Argument(help="A task, as `mien tasks` lists them.")]
Version = Annotated[int, typer.Argument(help="Its number, as `mien models` lists them.")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="The task. Default: the first with a champion.")
]
BundleFolder = Annotated[Path | None, typer.Option("--bundle", help="Use this bundle folder.")]
Home = Annotated[
    Path | None, typer.Option(help="The workspace; default $MIEN_HOME or the current folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Reason = Annotated[str, typer.Option(help="Written to the registry's history.")]
Force = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Allow a champion with uncommitted code or with data that are not in the store; the "
        "reason is written to the registry's history.",
    ),
]


def run_config(file: Path | None, source: str | None, overrides: list[str] | None) -> "RunConfig":
    """Load the config of a run by its name or its path.

    Raises:
        ConfigError: no config is named, or it cannot be used.
    """
    from mien import tasks

    if file is None:
        raise ConfigError(
            "CONFIG: expected the name of a config or a YAML file, found nothing. There are: "
            f"{', '.join(sorted(tasks.configs()))}. Name one, as in `mien run gesture`."
        )
    return tasks.run_config(file, source, overrides or ())


def workspace_at(home: Path | None, settings: "Settings | None" = None) -> "Workspace":
    """The workspace given by the command line or the environment.

    Raises:
        ConfigError: the path is a file.
    """
    from mien import config
    from mien.storage.workspace import Workspace

    folder = (home or (settings or config.settings()).home).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"Workspace: expected a folder, {folder} is a file. Set --home or MIEN_HOME."
        )
    return Workspace(folder)
