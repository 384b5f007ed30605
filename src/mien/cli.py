"""The command line: one command for each stage, thin. It parses, calls one function, prints.

An error that the user can mend ends in one message and exit status 1, without a traceback.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import __version__, config, console, pipeline, tasks
from mien.config import RunConfig, Settings
from mien.errors import ConfigError, MienError
from mien.workspace import Workspace

app = typer.Typer(
    help="Read the emotion of a face and the gesture of a hand: from data set to service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path, typer.Argument(help="The YAML file of the run, as configs/gesture.yaml.")]
Source = Annotated[
    str | None,
    typer.Option(help="A CSV, a YOLO folder or a zip of one; 'sample' for drawn data."),
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


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        console.result(__version__)
        raise typer.Exit()


@app.command(rich_help_panel="Stages")
def run(
    file: Config, source: Source = None, overrides: Overrides = None, home: Home = None
) -> None:
    """All training stages in a row; what has not changed is skipped."""
    pipeline.run(_config(file, source, overrides), _workspace(home))


@app.command(rich_help_panel="Stages")
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="End after the answers.")] = False,
    configs: Annotated[Path, typer.Option(help="Where sample_TASK.yaml lies.")] = Path("configs"),
    home: Home = None,
) -> None:
    """The whole way once on drawn data: train, register, serve and ask every task."""
    from mien.demo import demo as show

    show(_workspace(home), configs, stay=not leave)


@app.command(rich_help_panel="Stages")
def data(
    file: Config, source: Source = None, overrides: Overrides = None, home: Home = None
) -> None:
    """Fetch and prepare data, and report what is in it."""
    from mien.stages import data as stage

    run_config, workspace = _config(file, source, overrides), _workspace(home)
    with workspace.locked(run_config.task):
        ready = stage.data(run_config, workspace)
    if not ready.fresh:
        stage.show(ready.folder)
    console.result(f"prepared: {ready.folder}")


@app.command(rich_help_panel="Stages")
def train(file: Config, overrides: Overrides = None, home: Home = None) -> None:
    """Fit every candidate on the prepared data."""
    from mien.stages.train import train as stage

    run_config, workspace = _config(file, None, overrides), _workspace(home)
    with workspace.locked(run_config.task):
        done = stage(run_config, workspace)
    console.result(f"trained: {', '.join(done.fresh) or 'nothing, all are there'}; {done.folder}")


@app.command(rich_help_panel="Stages")
def optimize(file: Config, overrides: Overrides = None, home: Home = None) -> None:
    """Make INT8 and fp16 variants, measure them, and let the policy choose."""
    from mien.stages import evaluate as stage

    fresh, done = pipeline.optimize(_config(file, None, overrides), _workspace(home))
    if not done.fresh:
        stage.show(done.folder)
    console.result(f"made: {', '.join(fresh) or 'nothing new'}; {done.folder}")


@app.command(rich_help_panel="Stages")
def evaluate(
    file: Config,
    on: Annotated[
        str | None, typer.Option(help="Measure on another source instead; nothing is stored.")
    ] = None,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Measure every candidate and let the policy choose."""
    from mien.stages import evaluate as stage

    run_config, workspace = _config(file, on, overrides), _workspace(home)
    if on is None:
        with workspace.locked(run_config.task):
            done = stage.evaluate(run_config, workspace)
        if not done.fresh:
            stage.show(done.folder)
        console.result(f"evaluated: {done.folder}")
        return
    table = pipeline.score_elsewhere(run_config, workspace)
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    rows = [[name, *(f"{row[column]:.4g}" for column in columns)] for name, row in table.items()]
    console.table(f"All rows of {on}", ["candidate", *columns], rows)


@app.command(rich_help_panel="Stages")
def register(file: Config, home: Home = None) -> None:
    """Register the choice; it becomes champion unless it is worse than the present one."""
    from mien.stages.register import register as stage

    run_config, workspace = _config(file, None, None), _workspace(home)
    with workspace.locked(run_config.task):
        done = stage(run_config, workspace)
    console.result(f"version {done.number} is {done.alias}. {done.why}")


@app.command(rich_help_panel="Stages")
def serve(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tasks to serve; default: all with a champion.")
    ] = None,
    bundles: Annotated[
        list[Path] | None, typer.Option("--bundle", help="Serve this bundle folder.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Default $HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default $PORT or 8000.")] = None,
    home: Home = None,
) -> None:
    """Answer requests over HTTP with the champions."""
    from mien.stages.serve import run as stage

    settings = config.settings()
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    stage(_workspace(home, settings), names or [], bundles or [], settings.model_copy(update=given))


@app.command(rich_help_panel="Answers")
def predict(
    files: Annotated[list[Path], typer.Argument(help="Pictures, or JSON files of landmarks.")],
    task: Asked = None,
    bundle: ByBundle = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a file.")] = False,
    home: Home = None,
) -> None:
    """Answer for files on the command line with the champion."""
    from mien.stages import predict as stage

    failed = False
    for path, answer in stage.predict(files, task, bundle, _workspace(home)):
        failed |= "error" in answer
        console.result(
            json.dumps({"file": str(path), **answer}) if as_json else f"{path}: {_words(answer)}"
        )
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Answers")
def batch(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a CSV.")],
    out: Annotated[Path, typer.Option(help="The table: .parquet, .csv or .jsonl.")],
    task: Asked = None,
    bundle: ByBundle = None,
    threads: Annotated[int, typer.Option(help="0: one for each core granted.", min=0)] = 0,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="The pictures of a folder are frames of a video.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    home: Home = None,
) -> None:
    """Score a folder of pictures or a CSV into a table; killed, it goes on where it was."""
    from mien.stages import batch as stage

    done = stage.batch(
        source, out, _workspace(home), name=task, bundle=bundle, threads=threads,
        sequence=sequence, force=force,
    )  # fmt: skip
    console.result(stage.words(done))
    if done.failed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Answers")
def picture(
    task: str, file: Annotated[Path, typer.Argument(help="A .jpg or .png file to write.")]
) -> None:
    """Draw a picture with one clear subject, to send to the service."""
    if file.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise ConfigError(f"{file} must end in .jpg or .png, the pictures that mien draws.")
    tasks.load(task).picture().convert("RGB").save(file)
    console.result(f"drawn: {file}")


@app.command("tasks", rich_help_panel="Registry")
def list_tasks() -> None:
    """List what mien can learn."""
    found = [tasks.load(name) for name in tasks.names()]
    rows = [[task.name, str(len(task.labels)), task.summary] for task in found]
    console.table("Tasks", ["task", "labels", "summary"], rows)


@app.command(rich_help_panel="Registry")
def models(
    task: Annotated[str | None, typer.Argument(help="Default: all tasks.")] = None,
    home: Home = None,
) -> None:
    """List registered versions, and who moved the aliases when."""
    from mien.stages.register import show

    for name in [tasks.load(task).name] if task else tasks.names():
        show(name, _workspace(home))


@app.command(rich_help_panel="Registry")
def promote(task: str, version: int, why: Why = "by hand", home: Home = None) -> None:
    """Make a registered version the champion."""
    from mien.stages.register import promote as stage

    name, workspace = tasks.load(task).name, _workspace(home)
    with workspace.locked(name):
        stage(name, version, why, workspace)
    console.result(f"mien-{task} version {version} is champion")


@app.command(rich_help_panel="Registry")
def rollback(task: str, why: Why = "by hand", home: Home = None) -> None:
    """Make the champion before the present one champion again."""
    from mien.stages.register import rollback as stage

    name, workspace = tasks.load(task).name, _workspace(home)
    with workspace.locked(name):
        number = stage(name, why, workspace)
    console.result(f"mien-{task} version {number} is champion")


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
    stack = stage.stack(given, frozenset(without or ()), project, _workspace(home))
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
    questions = traffic.fitting(task, chosen.pictures, _workspace(home))
    seen = stage.run(chosen, stack, questions, rate, patience or chosen.patience, linger)
    console.result(stage.words(chosen, seen))


def main() -> None:
    """Run the command line; end with a message where the user can mend what went wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()  # ends the program itself where all went well
    except MienError as error:
        console.failure(str(error))
    except OSError as error:
        console.failure(f"{error.strerror or error}: {error.filename or 'no file named'}")
    sys.exit(1)


def _config(file: Path, source: str | None, overrides: list[str] | None) -> RunConfig:
    loaded = config.load(file, overrides or ())
    tasks.load(loaded.task)
    return loaded.model_copy(update={"source": source}) if source else loaded


def _workspace(home: Path | None, settings: Settings | None = None) -> Workspace:
    return Workspace((home or (settings or config.settings()).home).expanduser())


def _words(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error']}"
    label = next(iter(answer.values()))
    if label is None:
        return str(answer["outcome"])
    return f"{label} {answer['confidence']:.3f} ({answer['outcome']})"


if __name__ == "__main__":
    main()
