"""Commands that predict without a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.errors import ConfigError
from mien.reporting import console

from .options import BundleFolder, Home, Json, Task, TaskName, app, workspace_at

BatchEngine = Literal["local", "ray", "shard"]
TableFormat = Literal["parquet", "csv", "jsonl"]
BatchSource = Annotated[
    str | None,
    typer.Argument(
        help="A folder of pictures, also s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, or a CSV.",
        show_default=False,
    ),
]
BatchOut = Annotated[
    str | None,
    typer.Option(
        help="The table: .parquet, .csv or .jsonl; or a folder for it in parts, also in a bucket."
    ),
]
BatchShard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Score share I of N of the parts, I from 0; --engine shard reads both from "
        "JOB_COMPLETION_INDEX and JOB_COMPLETION_COUNT, or from Cloud Run's variables.",
    ),
]


@app.command(rich_help_panel="Predictions")
def predict(
    files: Annotated[list[Path], typer.Argument(help="Pictures, or JSON files of landmarks.")],
    task: TaskName = None,
    bundle: BundleFolder = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document per file.")
    ] = False,
    home: Home = None,
) -> None:
    """Predict files on the command line with the champion."""
    with console.bar("start"):
        from mien.stages import predict as stage

    failed = False
    for path, prediction in stage.predict(files, task, bundle, workspace_at(home)):
        failed |= "error" in prediction
        if as_json:
            console.document({"file": str(path), **prediction})
        else:
            console.result(f"{path}: {format_prediction(prediction)}")
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Predictions")
def batch(
    source: BatchSource = None,
    out: BatchOut = None,
    task: TaskName = None,
    bundle: BundleFolder = None,
    threads: Annotated[int, typer.Option(help="0: one per available CPU core.", min=0)] = 0,
    sequence: Annotated[
        bool,
        typer.Option("--sequence", help="Treat the pictures of a folder as frames of one video."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing table.")] = False,
    engine: Annotated[BatchEngine, typer.Option(help="What scores the parts.")] = "local",
    shard: BatchShard = None,
    format: Annotated[TableFormat, typer.Option(help="Of the parts of a folder.")] = "parquet",
    commit: Annotated[
        str | None, typer.Option(metavar="DIR", help="Close the folder of a finished batch.")
    ] = None,
    home: Home = None,
) -> None:
    """Predict a folder of pictures or a CSV into a table; an interrupted batch resumes."""
    with console.bar("start"):
        from mien.model import runtime
        from mien.stages import batch as stage
        from mien.storage.buckets import location

    runtime.tune_malloc()
    if commit:
        result = stage.commit(location(commit))
    elif source and out:
        result = stage.batch(
            location(source), location(out), workspace_at(home), name=task, bundle=bundle,
            threads=threads, sequence=sequence, force=force, engine=engine, shard=shard,
            suffix=f".{format}",
        )  # fmt: skip
    else:
        raise ConfigError("mien batch: expected SOURCE and --out, or --commit DIR. Give both.")
    console.result(result.summary)
    if result.failed and not result.shard:
        raise typer.Exit(1)


@app.command(rich_help_panel="Predictions")
def replay(
    trace_id: Annotated[str, typer.Argument(help="From the response of the server.")],
    file: Annotated[
        Path | None,
        typer.Option(
            "--input", help="The input of the request: predict it again with the same bundle."
        ),
    ] = None,
    bundle: BundleFolder = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Print the model, data, config and code behind a response; predict it again with --input."""
    from mien import config
    from mien.observability.prediction_log.location import locate
    from mien.stages import replay as stage

    settings = config.settings()
    workspace = workspace_at(home, settings)
    prediction_log = locate(settings, workspace)
    report = stage.replay(trace_id, workspace, prediction_log, file, bundle)
    if as_json:
        console.document(report.as_json())
    else:
        console.result("\n".join(report.lines()))
    if report.again and not report.again.same:
        raise typer.Exit(1)


@app.command(rich_help_panel="Predictions")
def picture(
    task: Task, file: Annotated[Path, typer.Argument(help="A .jpg or .png file to write.")]
) -> None:
    """Draw a picture with one clear subject, to send to the service."""
    from mien import tasks

    if file.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise ConfigError(f"{file}: expected a file name that ends in .jpg or .png.")
    tasks.load(task).inference.sample_picture().convert("RGB").save(file)
    console.result(f"drawn: {file}")


def format_prediction(document: Mapping[str, Any]) -> str:
    """An answer as every command prints it: task, label, confidence, outcome and its reason."""
    if "error" in document:
        return f"error: {document['error']}"
    task, label = next(iter(document.items()))
    if label is None:
        return f"{task}: {document['outcome']}"
    parts = (document["outcome"], document["unsure_reason"])
    outcome = ": ".join(filter(None, parts)).replace("_", " ")
    return f"{task} {label} {document['confidence']:.3f} ({outcome})"
