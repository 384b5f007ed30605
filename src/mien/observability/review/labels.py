"""What people said about samples: an append-only file, one JSON document a line.

The last line of a reviewer about a sample counts, so that nothing is lost by a correction, and
undoing it is one more line. Several reviewers may write at the same time.
"""

import json
import os
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mien.config import Schema
from mien.observability.review.sample import TraceId
from mien.storage.files import atomic_write, locked

Verdict = Literal["label", "nothing", "skip", "undo"]
Answer = str | None
"""A label, or None for no subject."""


class Label(Schema):
    """What a reviewer said about a sample, and when."""

    trace_id: TraceId
    reviewer: Annotated[str, Field(pattern=r"^[\w .@+-]{1,64}$")]
    timestamp: float
    verdict: Verdict
    """`nothing`: no subject is to be seen. `skip`: the reviewer cannot say. `undo`: as if never
    reviewed."""
    label: str | None = None
    """Of the verdict `label`, else None."""

    @property
    def decides(self) -> bool:
        """Whether it says what is to be seen."""
        return self.verdict in ("label", "nothing")


class ReviewLabels:
    """The labels of one task."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, *labels: Label) -> None:
        """Append labels.

        Raises:
            OSError: they could not be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{each.model_dump_json()}\n" for each in labels)
        with self._locked():
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(text)

    def latest(self) -> dict[tuple[str, str], Label]:
        """The label that counts, by trace_id and reviewer; undone ones are left out."""
        last = {(each.trace_id, each.reviewer): each for each in self._read()}
        return {key: each for key, each in last.items() if each.verdict != "undo"}

    def trace_ids(self) -> set[str]:
        """Samples that somebody said something about."""
        return {each.trace_id for each in self._read()}

    def forget(self, trace_ids: Set[str]) -> None:
        """Delete every line about these samples."""
        if not trace_ids & self.trace_ids():
            return
        with self._locked():
            lines = [each for each in self._read() if each.trace_id not in trace_ids]
            with atomic_write(self.path) as temporary:
                temporary.write_text("".join(f"{each.model_dump_json()}\n" for each in lines))
                temporary.chmod(0o600)

    def _read(self) -> Iterator[Label]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                yield Label.model_validate(json.loads(line))
            except (ValueError, ValidationError):
                continue  # half a line, as a kill may leave it

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.path.with_name(".labels.lock"), f"waiting for {self.path}"):
            yield


def agreed(labels: Mapping[tuple[str, str], Label]) -> tuple[dict[str, Answer], set[str]]:
    """The answer of each sample on which all its reviewers agree, and the disputed samples."""
    answers: dict[str, set[Answer]] = {}
    for (trace_id, _), label in labels.items():
        if label.decides:
            answers.setdefault(trace_id, set()).add(label.label)
    disputed = {trace_id for trace_id, each in answers.items() if len(each) > 1}
    return {
        trace_id: next(iter(each)) for trace_id, each in answers.items() if trace_id not in disputed
    }, disputed
