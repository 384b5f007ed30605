"""THE CONTRACT between what mien does (`stages/`) and what it runs on (`tasks/`).

A task is one folder under `tasks/` whose `__init__.py` builds a `Task`. A stage takes the part that
it needs and knows no task by name; a task knows no stage, no HTTP and no tracker.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel

from mien import config, images
from mien.boxes import Box
from mien.config import Level, Schema
from mien.errors import MienError, RequestError, ScoreError
from mien.images import Limits
from mien.model.decision import AnswerDecision, UnsureReason
from mien.model.runtime import Model
from mien.observability.review.sample import Reviewed

Outcome = Literal["ok", "no_face", "no_hand", "unsure"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Skeleton = tuple[tuple[int, int], ...]  # indices of points that a drawing joins by lines
DECIMALS = 6  # of scores in JSON: the precision of a 32-bit float

ParamsT = TypeVar("ParamsT", bound=Schema)
ContextT = TypeVar("ContextT")


@dataclass(frozen=True)
class Request:
    """One question to a model: a picture, or the body of a JSON request; exactly one of them."""

    image: NDArray[np.uint8] | None = None
    """(height, width, 3), RGB, upright; reduced for a large picture, see `Predictor.min_side`."""
    body: BaseModel | None = None  # an instance of the task's `Body`
    sent: tuple[int, int] | None = None
    """Width and height of the upright picture as it was sent, where `image` is reduced."""
    video: bytes | None = None  # of a frame: `Prediction.video` of the one before, at first b""

    def __post_init__(self) -> None:
        if (self.image is None) == (self.body is None):
            raise ValueError("a request holds either an image or a body, not both and not neither")
        if self.image is not None and (self.image.ndim != 3 or self.image.shape[2] != 3):
            raise ValueError(f"an image has shape (height, width, 3), not {self.image.shape}")

    @classmethod
    def read(cls, data: bytes, limits: Limits | None = None, min_side: int | None = None) -> Self:
        """Make a request of the bytes of a picture; `images.read` has the arguments and errors."""
        picture = images.read(data, limits, min_side)
        return cls(image=picture.pixels, sent=picture.size)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture as sent; boxes and landmarks of answers are in these."""
        if self.image is None:
            raise ValueError("a request without a picture has no size")
        return self.sent or (self.image.shape[1], self.image.shape[0])

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the picture as sent for each pixel of `image`, across and down; often 1."""
        width, height = replace(self, sent=None).size
        return self.size[0] / width, self.size[1] / height


@dataclass(frozen=True)
class Detection:
    """One face or hand."""

    label: str  # the class with the highest score
    confidence: float  # its score, in 0..1; calibrated where the model is
    box: Box | None  # x1, y1, x2, y2 in pixels of the picture as sent; None without a picture
    scores: Mapping[str, float]  # in 0..1, for each label of the model
    extra: Mapping[str, Any] = field(default_factory=dict)  # of the task: `landmarks`, ...
    novelty: float | None = None  # how unlike every class; None for a model that does not say

    def __post_init__(self) -> None:
        # Also what a network answers that computes with NaN: nothing compares to it.
        if not all(0 <= score <= 1 for score in (self.confidence, *self.scores.values())):
            raise ScoreError(f"confidence and scores lie in 0..1, not {dict(self.scores)}")

    def calibrated(self, decision: AnswerDecision) -> "Detection":
        """The same with calibrated scores; their order stays as it is."""
        scores = {each: decision.calibration.confidence(n) for each, n in self.scores.items()}
        return replace(self, confidence=scores[self.label], scores=scores)

    def as_json(self) -> dict[str, Any]:
        """The detection as JSON values; `extra` stands beside the other keys."""
        return {
            "label": self.label,
            "confidence": round(self.confidence, DECIMALS),
            "box": [round(edge, 2) for edge in self.box] if self.box else None,
            "scores": {label: round(score, DECIMALS) for label, score in self.scores.items()},
            **self.extra,
        }


@dataclass(frozen=True)
class Prediction:
    """The answer to one request."""

    outcome: Outcome  # `ok`, `unsure`, or why there is no answer
    detections: tuple[Detection, ...] = ()  # best first; those that are like no class last
    input_stats: Mapping[str, float] = field(default_factory=dict)  # watched; none for frames
    video: bytes = b""  # what a task that tracks subjects must know for the next frame
    unsure_reason: UnsureReason | None = None  # of the outcome `unsure`

    @property
    def best(self) -> Detection | None:  # the first detection; None without any
        return self.detections[0] if self.detections else None

    def decided(self, decision: AnswerDecision | None) -> "Prediction":
        """The same with calibrated scores, `unsure` where the best of them does not count."""
        if decision is None or not self.detections:
            return self
        known_first = sorted(self.detections, key=lambda each: decision.is_novel(each.novelty))
        detections = tuple(each.calibrated(decision) for each in known_first)
        reason = decision.unsure_reason(detections[0].confidence, detections[0].novelty)
        outcome = "unsure" if reason else self.outcome
        return replace(self, outcome=outcome, unsure_reason=reason, detections=detections)

    def as_json(self, task: str) -> dict[str, Any]:
        """The prediction as JSON values: the task's own key first."""
        return {
            task: self.best.label if self.best else None,
            "confidence": round(self.best.confidence, DECIMALS) if self.best else 0.0,
            "outcome": self.outcome,
            "unsure_reason": self.unsure_reason,
            "detections": [each.as_json() for each in self.detections],
        }


@dataclass(frozen=True)
class Example:
    """One labelled request of a split. `label` is None where the picture shows no subject."""

    request: Request
    label: str | None
    boxes: tuple[tuple[str, Box], ...] | None = None  # all, for tasks that localise; else None
    name: str = ""
    metadata: Mapping[str, str | float] = field(default_factory=dict)  # handedness, source, ..


@dataclass(frozen=True)
class DataReport:
    """What `prepare` wrote: items per split and label, and what it skipped."""

    counts: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, int] = field(default_factory=dict)  # rows or files left out, by reason
    notes: tuple[str, ...] = ()  # sentences that the user must read
    files: Mapping[str, int] = field(default_factory=dict)
    """Every file of the version, by what became of it; empty where a task does not count them."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataReport":
        """Rebuild a report from its JSON form."""
        return cls(values["counts"], values["skipped"], tuple(values["notes"]), values["files"])


@dataclass(frozen=True)
class Sample:
    """One labelled item of raw data, as a person would count it: an image, or a row of a table."""

    name: str  # unique in the data: the path of an image, or file and line of a row
    labels: tuple[str, ...]
    """Of each subject, the largest first; empty where the data say that there is none."""
    digest: str  # SHA-256 of what a model sees of it: equal digests are exact duplicates
    split: Split | None = None  # as shipped; None where the source leaves the split to the task
    image_path: Path | None = None
    values: tuple[float, ...] | None = None  # of a row, in the task's common frame
    person: str = ""  # whose face or hand it is; "" where that is unknown
    metadata: Mapping[str, str | float] = field(default_factory=dict)
    """Values that do not show the subject and may reveal the label: file type, source."""
    box: Box | None = None  # of the first label, in shares of the image's sides; None: all of it


@dataclass(frozen=True)
class IssueExample:
    """A sample, or samples that belong together, such as `happy in train; sad in val`."""

    names: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Issues:
    """What one check found, before it is compared with the limit."""

    names: tuple[str, ...] = ()
    total: int = 0  # how many samples, files or boxes were checked; 0 switches the check off
    examples: tuple[IssueExample, ...] = ()
    count: int | None = None  # of issues, where it is not the number of names
    setting: str = ""
    """A config key with its value that solves them, such as `params.convention=pixels`."""
    hint: str = ""  # what to look at first, such as `Did you mean 'happy'?`


@dataclass(frozen=True)
class Inspection:
    """The samples of raw data, and the issues that the task's own checks report."""

    samples: tuple[Sample, ...]
    issues: Mapping[str, Issues] = field(default_factory=dict)  # by slug of the task's checks
    labels: tuple[str, ...] | None = None
    """That a model of the data learns, and train must hold; None for the task's default ones."""


@dataclass(frozen=True)
class Check(Generic[ContextT]):
    """One check of data quality."""

    slug: str
    description: str
    """The issue and its effect on the model, in plain words."""
    find: Callable[[ContextT], Issues]
    """Finds the issues; a task's own checks look at its `Inspection`."""
    level: Level = "warn"
    """Effect of a share of issues above the limit: `error` stops the training."""
    limit: float = 0.0  # share of issues (0..1) up to which the check does not fail
    fixable: bool = False  # whether `mien data check --fix` repairs these issues


def recorded_check(
    slug: str, description: str, level: Level = "warn", limit: float = 0.0, fixable: bool = False
) -> Check[Inspection]:
    """A task's check whose issues `inspect` records while it reads the data."""
    none = Issues()
    return Check(slug, description, lambda data: data.issues.get(slug, none), level, limit, fixable)


@dataclass(frozen=True)
class RepairPlan:
    """What `repair` changes in raw data, by names of samples."""

    drop: frozenset[str] = frozenset()
    move: Mapping[str, Split] = field(default_factory=dict)
    relabel: Mapping[str, str] = field(default_factory=dict)  # of a sample's first subject
    repair: bool = True  # whether the task also repairs what it alone understands, such as boxes


@dataclass(frozen=True)
class Fit:
    """What a training leaves beside its ONNX files."""

    preprocessing: Mapping[str, Any]
    """JSON values: all that `predict` must know of this model."""
    history: tuple[Mapping[str, float], ...]  # metrics of each epoch or fold
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """What only the trainer knows: the weights that it started from, chosen settings, parity."""
    labels: tuple[str, ...] = ()
    """The labels of the scores, in their order; none for the task's default ones."""


class Recorder(Protocol):
    """Receives the metrics of an epoch or fold (counted from 1) while a training goes on."""

    def __call__(self, step: int, total: int, metrics: Mapping[str, float], /) -> None: ...


@dataclass(frozen=True)
class TaskData(Generic[ParamsT]):
    """What a task knows about its raw and its prepared data; for the stages data and check."""

    write_sample: Callable[[Path, int], None]
    """`write_sample(out, seed)` writes the project's own sample data as a raw source."""
    param_names: tuple[str, ...]
    """The params that `prepare` reads; the data stage leaves all others at their defaults."""
    checks: tuple[Check[Inspection], ...]
    """The task's own data checks, beyond those that hold for all tasks."""
    inspect: Callable[[Path, ParamsT, Path], Inspection]
    """`inspect(raw, params, cache)` lists the samples of raw data and records the issues of
    `checks`; a bad single file is an issue, and `DataError` says that no data could be read."""
    repair: Callable[[Path, Path, RepairPlan, ParamsT, Path], tuple[str, ...]]
    """`repair(raw, out, plan, params, cache)` writes a changed copy; returns further repairs."""
    prepare: Callable[[Path, Path, ParamsT, Path], DataReport]
    """`prepare(raw, ready, params, cache)` turns raw files into what the trainer reads. `cache` is
    a permanent folder for slow results, by content of the file."""
    examples: Callable[[Path, Split], Iterator[Example]]
    label_features: Callable[[Sequence[Sample]], NDArray[np.float32]] | None = None
    """Numbers (samples, features) that tell labels apart, NaN where a sample has none; optional."""
    add_reviewed: Callable[[Path, Sequence[Reviewed], ParamsT], None] | None = None
    """`add_reviewed(raw, samples, params)` adds samples, named by trace_id, to train; optional."""


@dataclass(frozen=True)
class Trainer(Generic[ParamsT]):
    """How a task is trained; used by the stage train."""

    Params: type[ParamsT]  # schema of `params`: frozen, with a default for every key
    candidates: Callable[[ParamsT], tuple[str, ...]]  # names of the models that a run trains
    fit: Callable[[str, Path, Path, ParamsT, int, Recorder], Fit]
    """`fit(candidate, ready, out, params, seed, record)` leaves the ONNX files in `out`."""
    external_weights: Callable[[ParamsT], Any] = lambda _: None
    """What a training reads besides its data and params, as JSON values: hashes of weights."""
    starters: Mapping[str, Callable[[Path, float], Fit]] = field(default_factory=dict)
    """Public pretrained models by name, the preferred one first: `starters[name](out, timeout_s)`
    fetches one and leaves its networks in `out`; `UnreachableError` leads to the next one."""


@dataclass(frozen=True)
class Predictor:
    """How a task answers; its methods apply the bundle's decision, for all stages alike."""

    detect_many: Callable[[Sequence[Request], Model], Sequence[Prediction]]
    """One prediction for each request, in their order, with the scores of the networks and the
    outcome `ok` where something is detected. Raises RequestError, BundleError, ScoreError."""
    sample_picture: Callable[[], Image.Image]
    """A drawn picture with one clear subject, for demos, warm-up and tests."""
    Body: type[BaseModel] | None = None
    """Schema of a JSON request; None for a task that takes pictures only."""
    batching: bool = True
    """Whether `detect_many` runs the network once for several requests; servers then batch."""
    min_side: int | None = None
    """Pixels of a picture's shorter side that are enough (`bench photos`); None: all are needed. A
    picture with twice as many is read reduced; predictions are in pixels of `Request.size`."""
    skeleton: Skeleton = ()  # of the points of a detection or a `Body`: the bones of a hand
    subject_counter: Callable[[], Callable[[Request], int]] | None = None
    """`subject_counter()` makes a function that counts the subjects of a picture, in one thread."""
    tracking: bool = False
    """Whether frames of a video (`Request.video`) are answered with less work than pictures."""
    table_requests: Callable[[Path], Iterator[BaseModel | MienError] | None] | None = None
    """`table_requests(path)`: each row of a CSV as a `Body`, or why not; None for other files."""

    def predict_many(self, requests: Sequence[Request], model: Model) -> list[Prediction]:
        """Answer requests, in their order; raises as `detect_many`."""
        return [each.decided(model.decision) for each in self.detect_many(requests, model)]

    def predict(self, request: Request, model: Model) -> Prediction:
        """Answer one request; raises as `detect_many`."""
        return self.predict_many([request], model)[0]

    def drawn_predictions(self) -> list[partial[Prediction]]:
        """Calls of `predict` for drawn requests: the picture, mirrored, and examples of `Body`."""
        picture = self.sample_picture().convert("RGB")
        requests = [Request(image=np.asarray(each)) for each in (picture, ImageOps.mirror(picture))]
        if self.Body is not None:
            examples = self.Body.model_json_schema().get("examples", [])
            requests += [Request(body=self.Body.model_validate(each)) for each in examples]
        return [partial(self.predict, each) for each in requests]

    def read(self, data: bytes, limits: Limits | None = None) -> Request:
        """Make a request of the bytes of an image file; raises as `images.read`."""
        return Request.read(data, limits, self.min_side)

    def open(self, path: Path) -> Request:
        """Make a request of a file: a picture, or JSON for a task that takes it. Raises
        RequestError or ConfigError, where it is no such file; else as `images.read`."""
        try:
            raw = path.read_bytes()
            if path.suffix != ".json" or self.Body is None:
                return self.read(raw)
            document = json.loads(raw)
        except OSError as error:
            raise RequestError(f"{path.name} cannot be read: {error.strerror}.") from None
        except ValueError:
            raise RequestError(f"{path.name} is not readable JSON.") from None
        return Request(body=config.parse(self.Body, document, path.name))


@dataclass(frozen=True)
class RecordedSubject:
    """One subject of a picture as a row of a table: `Recordable.columns`, and left or right."""

    numbers: tuple[float, ...]
    side: str


@dataclass(frozen=True)
class Recordable:
    """How people record samples of labels of their own before a camera, see `stages/studio`."""

    columns: tuple[str, ...]  # of the numbers of a sample in the tables of the task
    open_detector: Callable[[], Callable[[Request], RecordedSubject | None]]
    libraries: tuple[str, ...]  # that a training imports, for seconds
    script: tuple[Path, ...]  # `predict.py`, which runs a bundle without mien, and what it imports


@dataclass(frozen=True)
class Task(Generic[ParamsT]):
    """One thing that mien can learn, serve and watch, in three parts."""

    name: str  # of its folder; also its route, and the first key of its answer
    summary: str
    default_labels: tuple[str, ...]  # of the sample data, sorted; a bundle names those of its model
    data: TaskData[ParamsT]
    training: Trainer[ParamsT]
    inference: Predictor
    intended_use: str = ""  # for the model card: no model is registered without it and the next
    forbidden_use: str = ""
    notice: str = ""  # what people must read before a camera shows them to it: some laws ask for it
    recordable: Recordable | None = None  # optional
