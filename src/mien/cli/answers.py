"""Commands that answer without a server."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import config, tasks
from mien.errors import ConfigError
from mien.reporting import console

from .options import Asked, ByBundle, Home, app, workspace_at


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
    for path, answer in stage.predict(files, task, bundle, workspace_at(home)):
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
    from mien.model import runtime
    from mien.stages import batch as stage

    runtime.tune_malloc()
    result = stage.batch(
        source, out, workspace_at(home), name=task, bundle=bundle, threads=threads,
        sequence=sequence, force=force,
    )  # fmt: skip
    console.result(result.summary)
    if result.failed:
        raise typer.Exit(1)


@app.command(rich_help_panel="Answers")
def replay(
    trace_id: Annotated[str, typer.Argument(help="As the answer of the server tells it.")],
    file: Annotated[
        Path | None, typer.Option("--input", help="What was sent: ask the same bundle again.")
    ] = None,
    bundle: ByBundle = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    home: Home = None,
) -> None:
    """Tell which model, data, config and code gave an answer, and whether it is given again."""
    from mien.stages import replay as stage

    settings = config.settings()
    workspace = workspace_at(home, settings)
    prediction_log = settings.prediction_log or workspace.prediction_log
    found = stage.replay(trace_id, workspace, prediction_log, file, bundle)
    console.result(json.dumps(found.as_json()) if as_json else "\n".join(found.lines()))
    if found.again and not found.again.same:
        raise typer.Exit(1)


@app.command(rich_help_panel="Answers")
def picture(
    task: str, file: Annotated[Path, typer.Argument(help="A .jpg or .png file to write.")]
) -> None:
    """Draw a picture with one clear subject, to send to the service."""
    if file.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise ConfigError(f"{file} must end in .jpg or .png, the pictures that mien draws.")
    tasks.load(task).inference.sample_picture().convert("RGB").save(file)
    console.result(f"drawn: {file}")


def _words(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error']}"
    task, label = next(iter(answer.items()))
    if label is None:
        return f"{task}: {answer['outcome']}"
    return f"{task} {label} {answer['confidence']:.3f} ({answer['outcome']})"
