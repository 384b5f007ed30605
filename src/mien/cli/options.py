"""Shared by all commands: the app, common arguments and options, config and workspace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import ConfigError

from .help import SectionedGroup

if TYPE_CHECKING:
    from mien.config import RunConfig, Settings
    from mien.storage.workspace import Workspace

CONFIGS = Path("configs")
app = typer.Typer(
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
        help="The YAML file of the run, or its name: gesture is configs/gesture.yaml. Without it, "
        "the command lists what there is.",
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
    """Load the config of a run by its path, or by the name of a file in configs/.

    Raises:
        ConfigError: no file is named, or it cannot be used.
    """
    from mien import config, tasks

    if file is None:
        names = ", ".join(path.stem for path in sorted(CONFIGS.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"CONFIG: expected a YAML file or its name, found nothing. In {CONFIGS}/ there are: "
            f"{names}. Name one, as in `mien run gesture`.{_where_configs_are()}"
        )
    if not file.suffix and not file.exists() and len(file.parts) == 1:
        file = CONFIGS / f"{file}.yaml"
        if not CONFIGS.is_dir():
            raise ConfigError(f"There is no config file {file}.{_where_configs_are()}")
    run = config.load(file, overrides or ())
    tasks.load(run.task)  # an unknown task is refused here
    return run.model_copy(update={"source": source}) if source else run


def _where_configs_are() -> str:
    if CONFIGS.is_dir():
        return ""
    return (
        f" The current folder has no {CONFIGS}/: change to mien's project folder, or name a YAML "
        "file by its path; --home says where the workspace is."
    )


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
