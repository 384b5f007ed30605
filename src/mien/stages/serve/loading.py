"""Loads a bundle folder: verifies it, opens its networks, and runs a warm-up.

Knows bundles and the contract of tasks; knows nothing of HTTP.
"""

import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from mien.config import TrainedOn
from mien.errors import BundleError, RequestError
from mien.images import Pixels
from mien.model import golden, runtime
from mien.model.golden import GoldenCheck
from mien.model.runtime import Model
from mien.observability import drift
from mien.stages.serve import batching
from mien.stages.serve.workers import WARM_UP_TIMEOUT_S
from mien.task import Prediction, Request, Task

T = TypeVar("T")
REFERENCE = "reference.json"
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class BundleSource:
    """A bundle to serve. `version` is None for a folder outside of the registry."""

    task: Task[Any]
    folder: Path
    version: str | None = None
    awaited: bool = False
    """Whether the folder may be missing now, and is served as soon as it is there."""

    @property
    def is_missing(self) -> bool:
        return self.awaited and not self.folder.is_dir()


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that is ready to serve: it has passed its warm-up."""

    task: Task[Any]
    model: Model
    golden: GoldenCheck
    version: str
    sample_png: bytes
    """The task's drawn sample image, as a PNG file."""
    reference: Mapping[str, Any] | None
    """Distributions of the validation data; None for a bundle without any."""
    load_seconds: float
    created: float | None
    """When the model was trained, in seconds since 1970; None where its bundle does not say."""
    max_batch_sizes: Mapping[str, int] = field(default_factory=dict)
    """Requests that share a model call, by kind (`image`, `json`); 1 for a kind that is missing."""

    @property
    def name(self) -> str:
        """The model's name in the registry."""
        return f"mien-{self.task.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """What it predicts; models of one task may have different ones."""
        return self.model.labels

    @property
    def trained_on(self) -> TrainedOn | None:
        """None where the bundle does not say."""
        return self.model.bundle.manifest.lineage.trained_on

    @property
    def candidate(self) -> str:
        return self.model.bundle.manifest.candidate

    @property
    def digest(self) -> str:
        return self.model.bundle.digest


def load(
    source: BundleSource,
    run_on_all_threads: Callable[[Callable[[], object]], object],
    max_batch_size: int = 1,
) -> LoadedModel:
    """Verify and open a bundle, and warm it up with the task's own examples.

    Args:
        source: the bundle.
        run_on_all_threads: runs the warm-up in each thread that will serve requests.
        max_batch_size: requests that may share a model call, where that is measured to be faster.

    Raises:
        BundleError: damaged, of another task, or its warm-up or golden answers failed here.
        ScoreError: it returns something else than scores.
    """
    start = perf_counter()
    task, model = source.task, runtime.load(source.folder)
    _check_manifest(source, model)
    image = task.inference.sample_picture().convert("RGB")
    examples = _examples(task, np.asarray(image, dtype=np.uint8))
    file = io.BytesIO()
    image.save(file, "PNG")
    golden_check = run_with_timeout(lambda: golden.check(model))
    run_on_all_threads(lambda: _warm_up(task, model, examples))
    shared = run_with_timeout(lambda: _kinds_to_batch(task, model, examples, max_batch_size))
    return LoadedModel(
        task=task,
        model=model,
        golden=golden_check,
        version=source.version or model.bundle.digest[:12],
        sample_png=file.getvalue(),
        reference=_reference(model),
        load_seconds=perf_counter() - start,
        created=_trained_at(model),
        max_batch_sizes=dict.fromkeys(shared, max_batch_size),
    )


def _trained_at(model: Model) -> float | None:
    text = model.bundle.manifest.lineage.trained_at
    return datetime.fromisoformat(text).timestamp() if text else None


def _check_manifest(source: BundleSource, model: Model) -> None:
    task, manifest = source.task, model.bundle.manifest
    if manifest.task != task.name:
        raise BundleError(
            f"{source.folder}: expected a model of {task.name!r}, found one of {manifest.task!r}."
        )


def run_with_timeout(work: Callable[[], T]) -> T:
    """Run `work`, which may hang, in a thread of its own; returns what it returns.

    Raises:
        BundleError: it was not done after `WARM_UP_TIMEOUT_S`.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name="mien-warm-up", daemon=True).start()
    if not futures.wait([future], WARM_UP_TIMEOUT_S).done:
        raise BundleError(f"The model did not finish its warm-up within {WARM_UP_TIMEOUT_S:g} s.")
    return future.result()


def _kinds_to_batch(
    task: Task[Any], model: Model, examples: Mapping[str, Request], batch_size: int
) -> list[str]:
    """The kinds of requests of which several share a model call."""
    return [
        kind
        for kind, request in examples.items()
        if batch_size > 1 and batching.batching_helps(task, model, request, batch_size)
    ]


def _examples(task: Task[Any], pixels: Pixels) -> dict[str, Request]:
    """A request of each kind that the task takes."""
    examples = {"image": Request(image=pixels)}
    if task.inference.Body is not None and (
        bodies := task.inference.Body.model_json_schema().get("examples")
    ):
        examples["json"] = Request(body=task.inference.Body.model_validate(bodies[0]))
    return examples


def _reference(model: Model) -> Mapping[str, Any] | None:
    path = model.path(REFERENCE)
    if path is None and model.bundle.manifest.lineage.trained_on == "pretrained":
        _log.info(
            "%s: a public pretrained model, so its drift is not computed", model.bundle.folder
        )
        return None
    if path is None:
        _log.warning("%s has no %s: its drift is not computed", model.bundle.folder, REFERENCE)
        return None
    try:
        return drift.read(json.loads(path.read_text(encoding="utf-8")))
    except BundleError as error:  # the model predicts as well as before
        _log.warning("%s: its drift is not computed: %s", model.bundle.folder, error)
        return None


def _warm_up(task: Task[Any], model: Model, examples: Mapping[str, Request]) -> None:
    for kind, request in examples.items():
        try:
            prediction = task.inference.predict(request, model)
        except RequestError as error:
            # A model may be trained for JSON requests only, and then refuses images.
            if task.inference.Body is None or kind != "image":
                raise
            _log.warning("the model of %s refuses images: %s", task.name, error)
        else:
            _check_labels(prediction, model)


def _check_labels(prediction: Prediction, model: Model) -> None:
    """Raise BundleError for scores of other labels than the bundle names, or in another order."""
    for detection in prediction.detections:
        if tuple(detection.scores) != model.labels:
            raise BundleError(
                f"{model.bundle.folder}: expected the labels {', '.join(model.labels)} of the "
                f"bundle, found scores of {', '.join(detection.scores)}. Train the model again."
            )
