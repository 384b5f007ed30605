"""Commands of the training stages and of the service."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.reporting import console

from .options import Config, Force, Home, Overrides, Source, app, run_config, workspace_at

SweepEngine = Literal["local", "ray"]
Follow = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Follow the champions of the team's MLflow server; default $MIEN_REGISTRY.",
    ),
]


@app.command(rich_help_panel="Stages")
def run(
    file: Config = None,
    source: Source = None,
    overrides: Overrides = None,
    force: Force = None,
    home: Home = None,
) -> None:
    """Run all training stages in order; stages without changes are skipped."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    finished = pipeline.run(chosen, workspace, force)
    console.result(f"Report: {finished.page}")


@app.command(rich_help_panel="Start")
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Exit after the predictions.")] = False,
    pull: Annotated[
        bool,
        typer.Option("--pull/--no-pull", help="Fetch a public model of real data, and serve it."),
    ] = True,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Train only where there is no public model; needs no torch."),
    ] = False,
    home: Home = None,
) -> None:
    """Train, register and serve every task on drawn data, and predict one picture of each."""
    with console.bar("start"):
        from mien.cli.demo import demo as run_demo
        from mien.cli.quick import quick as run_quick
        from mien.stages.serve import app  # noqa: F401 - takes as long as the rest

    if quick:
        run_quick(workspace_at(home), stay=not leave)
    else:
        run_demo(workspace_at(home), stay=not leave, pull=pull)


@app.command(rich_help_panel="Stages")
def train(file: Config = None, overrides: Overrides = None, home: Home = None) -> None:
    """Fit every candidate on the prepared data."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, None, overrides), workspace_at(home)
    result = pipeline.train(chosen, workspace)
    console.result(f"trained: {', '.join(result.fresh) or 'nothing new'}; {result.folder}")


@app.command(rich_help_panel="Stages")
def optimize(file: Config = None, overrides: Overrides = None, home: Home = None) -> None:
    """Make int8 and fp16 variants, measure them, and choose by the policy."""
    with console.bar("start"):
        from mien import pipeline
        from mien.model.evaluation import Evaluation
        from mien.reporting import leaderboard

    new_variants, result = pipeline.optimize(run_config(file, None, overrides), workspace_at(home))
    if not result.fresh:
        leaderboard.show(Evaluation.read(result.folder))
    console.result(f"made: {', '.join(new_variants) or 'nothing new'}; {result.folder}")


@app.command(rich_help_panel="Stages")
def evaluate(
    file: Config = None,
    on: Annotated[
        str | None,
        typer.Option(help="Measure on another source instead; the champion does not change."),
    ] = None,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Measure every candidate and choose one by the policy."""
    with console.bar("start"):
        from mien import pipeline
        from mien.model.evaluation import Evaluation
        from mien.reporting import leaderboard

        chosen, workspace = run_config(file, on, overrides), workspace_at(home)
    if on is None:
        result = pipeline.measure(chosen, workspace)
        if not result.fresh:
            leaderboard.show(Evaluation.read(result.folder))
        console.result(f"evaluated: {result.folder}")
        return
    table = pipeline.score_elsewhere(chosen, workspace)
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    rows = [[name, *(f"{row[column]:.4g}" for column in columns)] for name, row in table.items()]
    console.table(f"All rows of {on}", ["candidate", *columns], rows)


@app.command(rich_help_panel="Stages")
def register(file: Config = None, force: Force = None, home: Home = None) -> None:
    """Register the chosen candidate; it becomes champion unless it is worse than the last one."""
    with console.bar("start"):
        from mien import pipeline

        chosen, workspace = run_config(file, None, None), workspace_at(home)
    with console.bar("register"):
        registration, page = pipeline.register_choice(chosen, workspace, force)
    console.result(f"{registration.summary}\nReport: {page}")


@app.command(rich_help_panel="Stages")
def sweep(
    file: Config = None,
    trials: Annotated[
        int, typer.Option(help="Total number of trials, earlier ones included.")
    ] = 20,
    jobs: Annotated[int, typer.Option(help="Parallel trials, each in a process.")] = 1,
    candidate: Annotated[str | None, typer.Option(help="Fit this candidate only.")] = None,
    engine: Annotated[SweepEngine, typer.Option(help="What runs the trials.")] = "local",
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="postgresql://USER@HOST/DATABASE",
            help="Share the trials with other machines; the password is read from PGPASSWORD.",
        ),
    ] = None,
    source: Source = None,
    overrides: Overrides = None,
    home: Home = None,
) -> None:
    """Search the config's `search_space:` for the best params and write them as a new config."""
    with console.bar("start"):
        from mien.sweep import sweep as run_sweep

        chosen, workspace = run_config(file, source, overrides), workspace_at(home)
    result = run_sweep(chosen, workspace, trials, jobs, candidate, engine, storage)
    console.result(
        f"{len(result.trials)} trials finished, {len(result.new_trials)} of them now; "
        f"{result.folder}"
    )
    if result.best_config:
        console.result(f"config of the best trial: mien run {result.best_config}")
    if result.interrupted:
        console.info("Interrupted. The same command resumes with the missing trials.")
        raise typer.Exit(130)


@app.command(rich_help_panel="Stages")
def serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK", help="Tasks to serve; default: all with a champion."),
    ] = None,
    bundles: Annotated[
        list[Path] | None, typer.Option("--bundle", help="Serve this bundle folder.")
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(
            metavar="[TASK:]VERSION=SHARE%",
            help="Let a version answer this share of the requests instead of the champion.",
        ),
    ] = None,
    registry: Follow = None,
    host: Annotated[str | None, typer.Option(help="Default $HOST or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Default $PORT or 8000.", min=0, max=65_535)
    ] = None,
    home: Home = None,
) -> None:
    """Serve the champions over HTTP."""
    from mien.stages.serve import exit_at_sigterm

    exit_at_sigterm()  # before the imports, which take seconds on a slow machine
    with console.bar("start"):
        from mien import config
        from mien.stages.serve import app

    settings = config.settings()
    options = {"host": host, "port": port, "canary": canary, "registry": registry}
    overrides = {name: value for name, value in options.items() if value is not None}
    served = settings.model_copy(update=overrides)
    app.run(workspace_at(home, settings), names or [], bundles or [], served)


@app.command(rich_help_panel="Stages")
def studio(
    port: Annotated[
        int | None, typer.Option(help="Default $PORT or 8000.", min=0, max=65_535)
    ] = None,
    force_host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Listen on this address, which other machines may reach, not on 127.0.0.1.",
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Record gestures of your own before the camera, train on them, try and keep the model."""
    from mien.stages.serve import exit_at_sigterm

    exit_at_sigterm()  # before the imports, which take seconds on a slow machine
    with console.bar("start"):
        from mien import config
        from mien.cli.studio import serve_studio

        settings = config.settings()
    update = {"host": force_host or "127.0.0.1", "port": settings.port if port is None else port}
    serve_studio(workspace_at(home, settings), settings.model_copy(update=update))
