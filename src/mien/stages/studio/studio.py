"""What the page of the studio can ask for, as functions from bytes and a query to JSON values."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.errors import MienError, RequestError
from mien.model import bundle, lineage, runtime
from mien.model.runtime import Model
from mien.reporting import figures
from mien.storage.files import write_json
from mien.storage.workspace import Workspace, read_document
from mien.task import Recordable, RecordedSubject, Request, Task
from mien.tracking import Tracker

from . import export, readiness
from .recording import (
    MAX_PER_LABEL,
    MAX_SESSIONS,
    RecordedSample,
    Recording,
)
from .result import StudioResult, read_result
from .training import TrainingJob

Query = Mapping[str, str]
Reply = Mapping[str, Any] | tuple[str, bytes]
_RESULT = "result.json"
_LIBRARIES = ("mlflow.models", "jinja2")
"""What every training imports."""


class Names(BaseModel):
    """Samples to delete."""

    model_config = ConfigDict(extra="forbid")

    names: list[str]


class Studio:
    """The recording of one task, the training on it, and the model that came of it."""

    def __init__(
        self,
        task: Task[Any],
        recordable: Recordable,
        workspace: Workspace,
        train: Callable[[Path, float, Callable[[Path], None]], None],
        keep: Callable[[Path], str],
    ) -> None:
        """Open the recording.

        Args:
            task: what is recorded.
            recordable: how.
            workspace: where.
            train: from a source and the limit on the share of wrong answers; gives the folder of
                the choice to its last argument as soon as it is known and, when all is measured
                and written, that of the evaluated bundles. It holds the lock of the task.
            keep: registers the choice of the last training on that source; returns a sentence.

        Raises:
            RequestError: the file of the recording is none.
        """
        self.task, self._recordable, self._workspace = task, recordable, workspace
        self._train, self._keep = train, keep
        source = workspace.home / "data" / "studio" / task.name / "recording.csv"
        self.recording = Recording(source, recordable.columns)
        self.training = TrainingJob()
        self._models = workspace.models(task.name) / "studio"
        self._lock, self._detector_lock = threading.Lock(), threading.Lock()
        self._before: tuple[str, Model] | None = None

    @property
    def served(self) -> Path:
        """The folder of the newest model; missing before the first training."""
        return self._models / "new"

    @property
    def calls(self) -> dict[str, Callable[[bytes, Query], Reply]]:
        """By method and path."""
        return {
            "GET /studio/state": self.state,
            "GET /studio/samples": self.samples,
            "POST /studio/samples": self.record,
            "POST /studio/delete": self.delete,
            "POST /studio/undo": self.undo,
            "POST /studio/train": self.start_training,
            "POST /studio/compare": self.compare,
            "POST /studio/keep": self.keep,
            "GET /studio/recording.csv": self.export_recording,
            "POST /studio/recording.csv": self.import_recording,
            "GET /studio/model.zip": self.export_model,
        }

    def warm_up(self) -> None:
        """Load what recordings and trainings need, and make MLflow's tables, so that nobody waits
        for it later. Who needs what is missing says so."""
        with suppress(MienError, OSError):
            self._detector()
        with suppress(MienError, OSError, ImportError):
            Tracker(self._workspace.home).open()  # first: it makes MLflow quiet
        for name in (*self._recordable.libraries, *_LIBRARIES):
            with suppress(ImportError):
                import_module(name)
        lineage.environment()
        with suppress(ImportError), TemporaryDirectory(prefix="mien-warm-up-") as folder:
            figures.history([{"score": 0.5}], Path(folder, "any.png"))

    def state(self, _: bytes, __: Query) -> Reply:
        """Counts, what is missing, the training, and the newest model."""
        samples = self.recording.samples
        labels: dict[str, dict[int, int]] = {}
        for each in samples:
            sessions = labels.setdefault(each.label, {})
            sessions[each.session] = sessions.get(each.session, 0) + 1
        result = self._result()
        return {
            "task": self.task.name,
            "labels": [
                {"label": label, "count": sum(sessions.values()), "sessions": sessions}
                for label, sessions in labels.items()
            ],
            "limits": {"samples": MAX_PER_LABEL, "sessions": MAX_SESSIONS},
            "undoable": self.recording.undoable,
            "refusals": readiness.refusals(samples),
            "warnings": readiness.warnings(samples),
            "training": self.training.snapshot().model_dump(),
            "result": result and result.model_dump(),
            "before": self._before_version(),
        }

    def samples(self, _: bytes, query: Query) -> Reply:
        """The numbers of each sample of a label, to draw them."""
        label = query.get("label", "")
        return {
            "samples": [
                {"name": each.name, "session": each.session, "numbers": each.subject.numbers}
                for each in self.recording.samples
                if each.label == label
            ]
        }

    def record(self, data: bytes, query: Query) -> Reply:
        """Record what a picture shows; nothing is stored of the picture itself."""
        request = self.task.inference.read(data)
        subject = self._detector()(request)
        if subject is None:
            return {"recorded": 0, "numbers": None}
        sample = RecordedSample(query.get("label", ""), _session(query), subject, request.size)
        count = self.recording.add([sample], query.get("take", ""))
        return {"recorded": count, "name": sample.name, "numbers": subject.numbers}

    def delete(self, data: bytes, _: Query) -> Reply:
        try:
            names = Names.model_validate_json(data).names
        except ValidationError:
            raise RequestError('Expected {"names": [...]}, the samples to delete.') from None
        return {"deleted": self.recording.delete(names, f"delete {len(names)} {names[:1]}")}

    def undo(self, _: bytes, __: Query) -> Reply:
        return {"added": self.recording.undo()}

    def export_recording(self, _: bytes, __: Query) -> Reply:
        return f"{self.task.name}.csv", self.recording.text().encode()

    def import_recording(self, data: bytes, _: Query) -> Reply:
        samples = self.recording.parse(data)
        return {"recorded": self.recording.add(samples, "import"), "samples": len(samples)}

    def start_training(self, _: bytes, __: Query) -> Reply:
        """Start a training in a thread.

        Raises:
            RequestError: the recording lacks something, or a training is running.
        """
        if reasons := readiness.refusals(self.recording.samples):
            raise RequestError(" ".join(reasons))
        self.training.start(self._run_training)
        return {"started": True}

    def compare(self, data: bytes, _: Query) -> Reply:
        """What the model before the newest one answers for a JSON request of the task."""
        model, body = self._before_model(), self.task.inference.Body
        if model is None or body is None:
            raise RequestError("There is no model before this one.")
        try:
            request = Request(body=body.model_validate_json(data))
        except ValidationError:
            raise RequestError("Expected a JSON request of the task.") from None
        return self.task.inference.predict(request, model).as_json(self.task.name)

    def keep(self, _: bytes, __: Query) -> Reply:
        """Register the newest model.

        Raises:
            RequestError: there is none, or a training is running.
        """
        if self._result() is None or self.training.running:
            raise RequestError("There is no trained model to keep now.")
        return {"summary": self._keep(self.recording.path)}

    def export_model(self, _: bytes, __: Query) -> Reply:
        if self._result() is None or self.training.running:
            raise RequestError("There is no trained model to export now.")
        body = self.task.inference.Body
        examples = body.model_json_schema().get("examples", [{}]) if body else [{}]
        packed = export.pack(
            bundle.read(self.served), self._recordable.script, json.dumps(examples[0])
        )
        return f"mien-{self.task.name}.zip", packed

    @cached_property
    def _open_detector(self) -> Callable[[Request], RecordedSubject | None]:
        return self._recordable.open_detector()

    def _detector(self) -> Callable[[Request], RecordedSubject | None]:
        with self._detector_lock:  # opened once; two pictures at once need no more than one of them
            return self._open_detector

    def _run_training(self) -> None:
        limit = readiness.provable_risk(self.recording.samples)
        self._train(self.recording.path, limit, self._adopt)

    def _adopt(self, folder: Path) -> None:
        """Let the service load the choice of a training: first a bundle that only answers, then
        the complete one, which answers alike. The model before is the last that does not."""
        result, choice = read_result(folder)
        with self._lock:
            if self.served.is_dir():
                served = bundle.read(self.served)
                if served.model_sha256 != choice.model_sha256:
                    bundle.copy(self.served, self._models / "before")
            bundle.copy(choice.folder, self.served)
            write_json(self._models / _RESULT, result.model_dump(mode="json"))
        self.training.model_is_there()

    def _result(self) -> StudioResult | None:
        path = self._models / _RESULT
        if not path.is_file() or not self.served.is_dir():
            return None
        return read_document(StudioResult, path, "Train again.")

    def _before_version(self) -> str | None:
        model = self._before_model()
        return model.bundle.digest[:12] if model else None

    def _before_model(self) -> Model | None:
        """The model before the newest one, open."""
        folder = self._models / "before"
        with self._lock:
            if not folder.is_dir():
                return None
            digest = (folder / bundle.MANIFEST).read_text(encoding="utf-8")
            if self._before is None or self._before[0] != digest:
                self._before = digest, runtime.load(folder)
            return self._before[1]


def _session(query: Query) -> int:
    text = query.get("session", "1")
    if not text.isascii() or not text.isdecimal():
        raise RequestError(f"session={text!r}: expected a number.")
    return int(text[:6])
