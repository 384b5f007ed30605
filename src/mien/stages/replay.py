"""An answer that was given: what gave it, and whether the same is said again.

    trace_id -> prediction log -> bundle of that digest -> model, data, configuration, code
    the input once more -> task.inference.predict of that very bundle -> the same answer?

Reads the prediction log beside a server that writes it. The log has no inputs: to predict again,
the input has to be given. Knows no task and no HTTP.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from math import isclose
from pathlib import Path
from typing import Any

from mien import tasks
from mien.errors import BundleError
from mien.model import bundle, lineage, runtime
from mien.observability.prediction_log.reader import find_record
from mien.observability.prediction_log.schema import PredictionRecord
from mien.storage.versions import Store
from mien.storage.workspace import Workspace
from mien.task import Prediction

TOLERANCE = 2e-6
"""Confidence is told with 6 decimals; of answers that were given together the last may differ."""


def replay(
    trace_id: str,
    workspace: Workspace,
    prediction_log: Path,
    file: Path | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """What gave an answer, as JSON values; with `file`, also what the same bundle says of it now.

    Args:
        trace_id: as the answer tells it.
        workspace: where the model was registered.
        prediction_log: its SQLite file.
        file: a picture or a JSON document, as it was sent.
        folder: the bundle, where it was served from outside the workspace.

    Raises:
        PredictionLogError: there is no prediction log, or it cannot be read.
        UnknownPredictionError: it has no such prediction.
        BundleError: the very bundle that answered is gone.
        RequestError, ImageError: the file cannot be answered.
    """
    event = find_record(trace_id, prediction_log)
    found, notes = _bundle(event, workspace, folder)
    manifest = bundle.read(found).manifest
    origin = manifest.lineage
    document = {
        "answer": _said(event),
        "model": {
            "task": event.task,
            "version": event.version,
            "candidate": manifest.candidate,
            "digest": event.digest,
            "folder": str(found),
        },
        "data": _data(str(origin.get("data_fingerprint", "")), event.task, workspace),
        "config": {"sha256": origin.get("config_sha256"), "config": origin.get("config")},
        "code": origin.get("code"),
        "notes": notes,
    }
    return document | ({"again": _again(event, found, file)} if file else {})


def words(document: Mapping[str, Any]) -> Iterator[str]:
    """What `replay` found, in lines for people."""
    answer, model, data = document["answer"], document["model"], document["data"]
    yield f"said    {_spoken(answer)} on {answer['when']}, after {answer['seconds'] * 1000:.1f} ms"
    yield f"model   mien-{model['task']} version {model['version']}, {model['candidate']}"
    yield f"        digest {model['digest']}, {model['folder']}"
    yield f"data    {_of_data(data)}"
    yield f"config  {document['config']['sha256']}"
    yield f"        {json.dumps(document['config']['config'], sort_keys=True)}"
    yield f"code    {_of_code(document['code'] or {})}"
    yield from (f"note    {note}" for note in document["notes"])
    again = document.get("again")
    if again:
        verdict = "the same" if again["same"] else "NOT the same"
        yield f"again   {_spoken(again)}: {verdict} (confidence within {TOLERANCE:g})"
        yield from (f"        {name}: {then} then, {now} now" for name, then, now in again["other"])


def _bundle(
    event: PredictionRecord, workspace: Workspace, given: Path | None
) -> tuple[Path, list[str]]:
    """The bundle of that very digest, and what is to be told of where it was found.

    Raises:
        BundleError: it is nowhere here.
    """
    own = workspace.version(event.task, int(event.version)) if event.version.isdigit() else None
    notes = []
    if own and own.is_dir() and _digest(own) != event.digest:
        notes.append(
            f"{own} holds another bundle now (digest {_digest(own)}): that version was "
            "replaced or certified since."
        )
    models, runs = workspace.models(event.task), workspace.home / "mlruns" / event.task
    others = [
        *sorted(models.glob("versions/*")),
        *sorted(models.glob("evaluated/*/*")),
        *sorted(runs.glob("*/artifacts/bundle")),  # as it was measured, whatever came later
    ]
    for folder in [each for each in (given, own, *others) if each]:
        if _digest(folder) == event.digest:
            notes += [f"The bundle that answered lies in {folder}."] if folder != own else []
            return folder, notes
    raise BundleError(
        f"The bundle that answered is not in {workspace.home.resolve()}: version {event.version} "
        f"of {event.task}, digest {event.digest}. {' '.join(notes)} It said "
        f"{_spoken(_said(event))} on {_said(event)['when']}. Bring that version back, name its "
        "workspace with --home, or its folder with --bundle."
    )


def _digest(folder: Path) -> str:
    path = folder / bundle.MANIFEST
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _said(event: PredictionRecord) -> dict[str, Any]:
    return {
        "trace_id": event.trace_id,
        "when": datetime.fromtimestamp(event.timestamp, UTC).isoformat(timespec="seconds"),
        "label": event.label,
        "confidence": event.confidence,
        "outcome": event.outcome,
        "input_stats": dict(event.input_stats),
        "seconds": event.latency_s,
    }


def _data(root: str, task: str, workspace: Workspace) -> dict[str, Any]:
    store = Store(workspace.raw(task))
    version = store.find(root) if root and store.holds(root) else None
    return {
        "fingerprint": root,
        "number": version.number if version else None,
        "source": version.source if version else None,
        "when": version.when if version else None,
    }


def _again(event: PredictionRecord, folder: Path, file: Path) -> dict[str, Any]:
    with runtime.load(folder) as model:
        task = tasks.load(event.task)
        found = task.inference.predict(task.inference.open(file), model)
    best = found.best
    confidence = best.confidence if best else 0.0
    label = best.label if best else None
    said = (label, found.outcome) == (event.label, event.outcome)
    return {
        "file": str(file),
        "label": label,
        "confidence": confidence,
        "outcome": found.outcome,
        "same": said and abs(confidence - event.confidence) <= TOLERANCE,
        "tolerance": TOLERANCE,
        "other": _other(event, found),
        "code": lineage.commit(),
    }


def _other(event: PredictionRecord, found: Prediction) -> list[list[Any]]:
    """Measures of the input that differ from those that were recorded: it is another input."""
    now, then = found.input_stats, event.input_stats
    return [
        [name, then.get(name), now.get(name)]
        for name in sorted({*now, *then})
        if name not in now
        or name not in then
        or not isclose(now[name], then[name], rel_tol=1e-5, abs_tol=TOLERANCE)
    ]


def _spoken(answer: Mapping[str, Any]) -> str:
    return f"{answer['label'] or 'nothing'} {answer['confidence']:.6f} ({answer['outcome']})"


def _of_data(data: Mapping[str, Any]) -> str:
    if data["number"] is None:
        return f"{data['fingerprint'] or 'not named'}: no version of this workspace"
    version = f"version {data['number']} ({data['fingerprint']})"
    return f"{version}, {data['source']}, {data['when']}"


def _of_code(code: Mapping[str, Any]) -> str:
    changes = " with changes that are in no commit" if code.get("dirty") else ""
    return f"mien {code.get('version')}, commit {code.get('commit')}{changes}"
