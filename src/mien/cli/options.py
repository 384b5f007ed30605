"""What commands have in common: the app itself, arguments by one name, config and workspace."""

from pathlib import Path
from typing import Annotated

import typer

from mien import config, tasks
from mien.config import RunConfig, Settings
from mien.errors import ConfigError
from mien.storage.workspace import Workspace

app = typer.Typer(
    help="Read the emotion of a face and the gesture of a hand: from data set to service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path,
    typer.Argument(help="The YAML file of the run, or its name: gesture is configs/gesture.yaml."),
]
Source = Annotated[
    str | None,
    typer.Option(
        help="A file, folder or zip; kaggle:OWNER/SET; sample for drawn data; @VERSION, of which "
        "@ is the newest. Default: the version that was fetched last."
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key, as params.epochs=5.")
]
Asked = Annotated[str | None, typer.Option("--task", help="Default: the first with a champion.")]
ByBundle = Annotated[Path | None, typer.Option("--bundle", help="Use this bundle folder.")]
Home = Annotated[
    Path | None, typer.Option(help="The workspace; default $MIEN_HOME or the current folder.")
]
Why = Annotated[str, typer.Option(help="Written to the registry's history.")]
Force = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Let it be champion though its code is in no commit or its data are not in the "
        "store; written to the registry's history.",
    ),
]


def run_config(file: Path, source: str | None, overrides: list[str] | None) -> RunConfig:
    """The config of a run by its file, or by the bare name of one in configs/."""
    if not file.suffix and not file.exists() and len(file.parts) == 1:
        file = Path("configs", f"{file}.yaml")
    loaded = config.load(file, overrides or ())
    tasks.load(loaded.task)
    return loaded.model_copy(update={"source": source}) if source else loaded


def workspace_at(home: Path | None, settings: Settings | None = None) -> Workspace:
    """The workspace that the command line or the environment names.

    Raises:
        ConfigError: it is a file.
    """
    folder = (home or (settings or config.settings()).home).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The workspace {folder} is a file; name a folder (--home, MIEN_HOME).")
    return Workspace(folder)
