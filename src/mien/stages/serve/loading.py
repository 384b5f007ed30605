"""From a bundle folder to a model that may answer: verified, opened, and seen to answer.

Knows bundles and the contract of tasks; knows nothing of HTTP.
"""

import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from mien.errors import BundleError, RequestError
from mien.images import Pixels
from mien.model import bundle, golden, runtime
from mien.model.golden import GoldenCheck
from mien.model.runtime import Model
from mien.observability import drift
from mien.stages.serve import batching
from mien.stages.serve.workers import WARM_UP_SECONDS
from mien.task import Request, Task

REFERENCE = "reference.json"
_log = logging.getLogger("mien.serve")


@dataclass(frozen=True)
class Wanted:
    """A bundle that shall be served. `version` is None where only its digest can tell."""

    task: Task[Any]
    folder: Path
    version: str | None = None


@dataclass(frozen=True, eq=False)
class Served:
    """A model that has answered its warm-up."""

    task: Task[Any]
    model: Model
    golden: GoldenCheck
    version: str
    picture: bytes
    """The task's own drawn picture, as a PNG file."""
    reference: Mapping[str, Any] | None
    """Distributions of the validation data; None for a bundle without any."""
    load_seconds: float
    created: float
    """When the bundle was written, in seconds since 1970."""
    together: Mapping[str, int] = field(default_factory=dict)
    """How many questions of a kind, `picture` or `json`, are best answered at once; else 1."""

    @property
    def name(self) -> str:
        """The model's name in the registry."""
        return f"mien-{self.task.name}"

    @property
    def candidate(self) -> str:
        return self.model.bundle.manifest.candidate

    @property
    def digest(self) -> str:
        return self.model.bundle.digest


def load(
    wanted: Wanted, everywhere: Callable[[Callable[[], object]], None], most: int = 1
) -> Served:
    """Verify and open a bundle, and let it answer the task's own examples.

    Args:
        wanted: the bundle.
        everywhere: runs those first questions, in each thread that shall not pay for them later.
        most: how many questions may be answered together, where that is found to be faster.

    Raises:
        BundleError: it is damaged, was made for something else, does not answer, or answers its
            golden inputs differently on this machine.
        ScoreError: it answers with something else than scores.
    """
    start = perf_counter()
    task, model = wanted.task, runtime.load(wanted.folder)
    manifest = model.bundle.manifest
    if manifest.task != task.name:
        raise BundleError(f"{wanted.folder} holds a model of {manifest.task!r}, not {task.name!r}.")
    if manifest.labels != task.labels:
        raise BundleError(
            f"{wanted.folder} was trained for the labels {', '.join(manifest.labels)}; "
            f"{task.name} has {', '.join(task.labels)}. Train it again."
        )
    picture = task.inference.sample_picture().convert("RGB")
    examples = _examples(task, np.asarray(picture, dtype=np.uint8))
    checks: list[GoldenCheck] = []
    apart(lambda: checks.append(golden.check(model)))
    everywhere(lambda: _warm_up(task, model, examples))
    together: dict[str, int] = {}
    if most > 1:
        apart(lambda: together.update(_together(task, model, examples, most)))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Served(
        task=task,
        model=model,
        golden=checks[0],
        version=wanted.version or model.bundle.digest[:12],
        picture=file.getvalue(),
        reference=_reference(model),
        load_seconds=perf_counter() - start,
        created=(wanted.folder / bundle.MANIFEST).stat().st_mtime,
        together=together,
    )


def apart(work: Callable[[], object]) -> None:
    """Run `work` in a thread of its own, so that nothing else waits for what may hang.

    Raises:
        BundleError: it was not done after `WARM_UP_SECONDS`.
    """
    faults: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            faults.append(error)

    thread = threading.Thread(target=run, name="mien-warm-up", daemon=True)
    thread.start()
    thread.join(WARM_UP_SECONDS)
    if thread.is_alive():
        raise BundleError(f"The model did not answer its warm-up within {WARM_UP_SECONDS:g} s.")
    if faults:
        raise faults[0]


def _together(
    task: Task[Any], model: Model, examples: Mapping[str, Request], most: int
) -> dict[str, int]:
    return {
        kind: most
        for kind, request in examples.items()
        if batching.pays(task, model, request, most)
    }


def _examples(task: Task[Any], pixels: Pixels) -> dict[str, Request]:
    """A request of each kind that the task takes."""
    found = {"picture": Request(image=pixels)}
    if task.inference.Body is not None and (
        bodies := task.inference.Body.model_json_schema().get("examples")
    ):
        found["json"] = Request(body=task.inference.Body.model_validate(bodies[0]))
    return found


def _reference(model: Model) -> Mapping[str, Any] | None:
    path = model.path(REFERENCE)
    if path is None:
        _log.warning("%s has no %s: no drift is told of it", model.bundle.folder, REFERENCE)
        return None
    try:
        return drift.read(json.loads(path.read_text(encoding="utf-8")))
    except BundleError as error:  # a model that cannot be watched answers as well as before
        _log.warning("%s: no drift is told of it: %s", model.bundle.folder, error)
        return None


def _warm_up(task: Task[Any], model: Model, examples: Mapping[str, Request]) -> None:
    for kind, request in examples.items():
        try:
            task.inference.predict(request, model)
        except RequestError as refusal:
            # A model may be trained for JSON requests alone; that it refuses pictures is an answer.
            if task.inference.Body is None or kind != "picture":
                raise
            _log.warning("the model of %s refuses pictures: %s", task.name, refusal)
