"""An answer that was given: what gave it, and whether the same is said again.

    trace_id -> prediction log -> bundle of that digest -> model, data, configuration, code
    the input once more -> task.inference.predict of that very bundle -> the same answer?

Reads the prediction log beside a server that writes it. The log has no inputs: to predict again,
the input has to be given. Knows no task and no HTTP.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import isclose
from pathlib import Path
from typing import Any

from mien import tasks
from mien.config import settings
from mien.errors import BundleError, RegistryError
from mien.model import bundle, lineage, runtime
from mien.model.lineage import CodeState
from mien.model.pulling import pull_version
from mien.observability.prediction_log.location import PredictionLogLocation
from mien.observability.prediction_log.reader import find_record
from mien.observability.prediction_log.schema import PredictionRecord
from mien.storage.registry_server import RegistryServer, read_binding
from mien.storage.versions import Store
from mien.storage.workspace import Workspace
from mien.task import Prediction
from mien.tracking import BUNDLE_ARTIFACT

TOLERANCE = 2e-6
"""Confidence has 6 decimals; of answers that were given together the last may differ."""


@dataclass(frozen=True)
class AnswerRecord:
    """An answer as it was recorded, or as the same bundle gives it now."""

    label: str | None
    confidence: float
    outcome: str

    def __str__(self) -> str:
        return f"{self.label or 'nothing'} {self.confidence:.6f} ({self.outcome})"


@dataclass(frozen=True)
class GivenAnswer(AnswerRecord):
    """The recorded answer."""

    trace_id: str
    when: str
    input_stats: Mapping[str, float]
    latency_s: float


@dataclass(frozen=True)
class RepeatedAnswer(AnswerRecord):
    """The answer of the same bundle to the same input, given now."""

    file: str
    same: bool
    tolerance: float
    other: list[list[Any]]
    """Input stats that differ: name, value then, value now. It is another input."""
    code: CodeState


@dataclass(frozen=True)
class AnsweringBundle:
    """The bundle that answered."""

    task: str
    version: str
    candidate: str
    digest: str
    folder: str


@dataclass(frozen=True)
class DataSource:
    """The version of raw data that the model was trained on; only the fingerprint is known where
    the workspace has no such version."""

    fingerprint: str
    number: int | None = None
    source: str | None = None
    when: str | None = None

    def __str__(self) -> str:
        if self.number is None:
            return f"{self.fingerprint or 'not named'}: no version of this workspace"
        return f"version {self.number} ({self.fingerprint}), {self.source}, {self.when}"


@dataclass(frozen=True)
class Replay:
    """Where an answer came from, and whether it is given again."""

    answer: GivenAnswer
    model: AnsweringBundle
    data: DataSource
    config: Mapping[str, Any]
    config_sha256: str | None
    code: CodeState
    notes: list[str]
    again: RepeatedAnswer | None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        document = asdict(self)
        document["code"] = self.code.model_dump()
        if self.again:
            document["again"]["code"] = self.again.code.model_dump()
        return document

    def lines(self) -> Iterator[str]:
        """The same in lines for people."""
        answer, model = self.answer, self.model
        yield f"answer  {answer} on {answer.when}, after {answer.latency_s * 1000:.1f} ms"
        yield f"model   mien-{model.task} version {model.version}, {model.candidate}"
        yield f"        digest {model.digest}, {model.folder}"
        yield f"data    {self.data}"
        if self.config_sha256:
            yield f"config  {self.config_sha256}"
            yield f"        {json.dumps(self.config, sort_keys=True)}"
        else:
            yield "config  none: a public model that mien did not train"
        changes = " with changes that are in no commit" if self.code.dirty else ""
        yield f"code    mien {self.code.version}, commit {self.code.commit}{changes}"
        yield from (f"note    {note}" for note in self.notes)
        if self.again:
            verdict = "the same" if self.again.same else "NOT the same"
            yield f"again   {self.again}: {verdict} (confidence within {TOLERANCE:g})"
            for name, before, now in self.again.other:
                yield f"        {name}: {before} before, {now} now"


def replay(
    trace_id: str,
    workspace: Workspace,
    prediction_log: PredictionLogLocation,
    file: Path | None = None,
    folder: Path | None = None,
) -> Replay:
    """What gave an answer; with `file`, also what the same bundle answers now.

    Args:
        trace_id: as the answer tells it.
        workspace: where the model was registered.
        prediction_log: where it is.
        file: a picture or a JSON document, as it was sent.
        folder: the bundle, where it was served from outside the workspace.

    Raises:
        PredictionLogError: there is no prediction log, or it cannot be read.
        UnknownPredictionError: it has no such prediction.
        BundleError: the very bundle that answered is gone.
        RequestError, ImageError: the file cannot be answered.
    """
    event = find_record(trace_id, prediction_log)
    bundle_folder, notes = _bundle(event, workspace, folder)
    manifest = bundle.read(bundle_folder).manifest
    origin = manifest.lineage
    return Replay(
        answer=_given(event),
        model=AnsweringBundle(
            event.task, event.version, manifest.candidate, event.digest, str(bundle_folder)
        ),
        data=_data(origin.data_fingerprint, event.task, workspace),
        config=origin.config,
        config_sha256=origin.config_sha256,
        code=origin.code,
        notes=notes,
        again=_again(event, bundle_folder, file) if file else None,
    )


def _bundle(
    event: PredictionRecord, workspace: Workspace, given: Path | None
) -> tuple[Path, list[str]]:
    """The bundle of that very digest, and notes on where it lies.

    Raises:
        BundleError: it is nowhere here.
    """
    own = workspace.version(event.task, int(event.version)) if event.version.isdigit() else None
    notes = _pull_missing(own, event, workspace) if own else []
    if own and own.is_dir() and _digest(own) != event.digest:
        notes.append(
            f"{own} holds another bundle now (digest {_digest(own)}): that version was "
            "replaced or certified since."
        )
    models, runs = workspace.models(event.task), workspace.home / "mlruns" / event.task
    others = [
        *sorted(models.glob("versions/*")),
        *sorted(models.glob("evaluated/*/*")),
        # As it was measured, whatever came later.
        *sorted(runs.glob(f"*/artifacts/{BUNDLE_ARTIFACT}")),
    ]
    for folder in [each for each in (given, own, *others) if each]:
        if _digest(folder) == event.digest:
            notes += [f"The bundle that answered lies in {folder}."] if folder != own else []
            return folder, notes
    raise BundleError(
        f"The bundle that answered is not in {workspace.home.resolve()}: version {event.version} "
        f"of {event.task}, digest {event.digest}. {' '.join(notes)} It said "
        f"{_given(event)} on {_given(event).when}. Bring that version back, name its "
        "workspace with --home, or its folder with --bundle."
    )


def _pull_missing(folder: Path, event: PredictionRecord, workspace: Workspace) -> list[str]:
    """Bring a version here that is only in the team's registry; a note where that fails."""
    binding = read_binding(workspace.home)
    if binding is None or folder.is_dir():
        return []
    try:
        server = RegistryServer.at(binding.server, settings(), "the workspace's registry")
        pull_version(event.task, int(event.version), server, workspace)
    except (RegistryError, BundleError) as error:
        return [str(error)]
    return []


def _digest(folder: Path) -> str:
    path = folder / bundle.MANIFEST
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _given(event: PredictionRecord) -> GivenAnswer:
    return GivenAnswer(
        label=event.label,
        confidence=event.confidence,
        outcome=event.outcome,
        trace_id=event.trace_id,
        when=datetime.fromtimestamp(event.timestamp, UTC).isoformat(timespec="seconds"),
        input_stats=dict(event.input_stats),
        latency_s=event.latency_s,
    )


def _data(root: str, task: str, workspace: Workspace) -> DataSource:
    store = Store(workspace.raw(task))
    if not root or not store.contains(root):
        return DataSource(root)
    version = store.find(root)
    return DataSource(root, version.number, version.source, version.created_at)


def _again(event: PredictionRecord, folder: Path, file: Path) -> RepeatedAnswer:
    with runtime.load(folder) as model:
        task = tasks.load(event.task)
        prediction = task.inference.predict(task.inference.open(file), model)
    best = prediction.best
    confidence = best.confidence if best else 0.0
    label = best.label if best else None
    same = (label, prediction.outcome) == (event.label, event.outcome)
    return RepeatedAnswer(
        label=label,
        confidence=confidence,
        outcome=prediction.outcome,
        file=str(file),
        same=same and abs(confidence - event.confidence) <= TOLERANCE,
        tolerance=TOLERANCE,
        other=_other(event, prediction),
        code=lineage.commit(),
    )


def _other(event: PredictionRecord, prediction: Prediction) -> list[list[Any]]:
    """Measures of the input that differ from those that were recorded: it is another input."""
    now, before = prediction.input_stats, event.input_stats
    return [
        [name, before.get(name), now.get(name)]
        for name in sorted({*now, *before})
        if name not in now
        or name not in before
        or not isclose(now[name], before[name], rel_tol=1e-5, abs_tol=TOLERANCE)
    ]
