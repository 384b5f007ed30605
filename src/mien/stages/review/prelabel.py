"""What the present champion predicts for kept inputs, which an earlier model answered."""

import base64
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from mien.errors import MienError
from mien.model import golden
from mien.model.runtime import Model
from mien.observability.review.sample import ReviewSample
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Request, Task

Suggestion = tuple[str | None, dict[str, float], str]
"""Label or None for no subject, scores, and the version of the model."""


def as_answered(sample: ReviewSample) -> Suggestion:
    """What the model answered that the user got."""
    return sample.label, sample.scores, sample.version


class Prelabels:
    """The champion of a task, opened when it is first asked."""

    def __init__(self, task: Task[Any], workspace: Workspace) -> None:
        self._task, self._workspace = task, workspace
        self._version = workspace.aliases(task.name).get(CHAMPION)

    def of(self, sample: ReviewSample) -> Suggestion:
        """The suggestion for a sample: of the champion, or else of the model that answered."""
        model = self._model
        if model is None or model.bundle.digest == sample.digest:
            return as_answered(sample)
        try:
            best = self._task.inference.predict(self._request(sample), model).best
        except (MienError, ValidationError):
            best = None
        if best is None:  # a detector may miss a face that fills the picture
            return as_answered(sample)
        return best.label, dict(best.scores), str(self._version)

    @cached_property
    def _model(self) -> Model | None:
        if self._version is None:
            return None
        try:
            return golden.load(self._workspace.version(self._task.name, self._version))
        except MienError:
            return None

    def _request(self, sample: ReviewSample) -> Request:
        if sample.crop is not None:
            return self._task.inference.read(base64.b64decode(sample.crop.picture))
        assert self._task.inference.Body is not None
        return Request(body=self._task.inference.Body.model_validate(sample.body))
