"""Traffic as users would send it: labelled pictures and bodies of a task, and ways to spoil them.

The questions are the examples of a task's own validation split, so that they are by their making
what the champion was measured on; without prepared data the task draws its sample.
"""

import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien import tasks
from mien.errors import CheckError
from mien.model import bundle
from mien.reporting import console
from mien.stages.monitor.web import FORM_HEAD, FORM_TAIL, Reply, Site, form
from mien.storage.workspace import REPORT, Workspace
from mien.task import Example, Split, Task

MOST = 1000
"""Questions that are kept in memory."""
CLIENTS = 4


@dataclass(frozen=True)
class Question:
    """One request as it is sent, and what is right."""

    path: str
    body: bytes
    content_type: str
    label: str | None
    order: str = ""
    """What the drill header says."""

    @property
    def is_picture(self) -> bool:
        return self.content_type != "application/json"


def questions(
    name: str, workspace: Workspace, split: Split = "val", seed: int = 0
) -> list[Question]:
    """Return up to `MOST` questions of a task, chosen by the seed.

    Raises:
        CheckError: there are none.
    """
    task = tasks.load(name)
    ready = _data(task, workspace)
    if ready is not None:
        found = _encoded(task, ready, split)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            found = _encoded(task, _drawn(task, Path(scratch), seed + 1), split)
    if not found:
        raise CheckError(f"There are no examples of {name} to send.")
    random.Random(seed).shuffle(found)
    return found[:MOST]


def fitting(name: str | None, pictures: bool, workspace: Workspace) -> list[Question]:
    """Return the questions of a task, or of the first with a champion that is asked as wanted.

    Raises:
        CheckError: there is no such task.
    """
    if name is not None:
        return questions(tasks.load(name).name, workspace)
    for each in tasks.names():
        if "champion" in workspace.aliases(each):
            found = questions(each, workspace)
            if not pictures or all(question.is_picture for question in found):
                return found
    raise CheckError(
        f"{workspace.home.resolve()} has no champion that can be asked"
        f"{' with pictures' if pictures else ''}; name the stack's workspace with --home."
    )


def endless(found: Sequence[Question], seed: int = 0) -> Iterator[Question]:
    """Go through the questions again and again, each time in a new order."""
    chance = random.Random(seed)
    while True:
        yield from chance.sample(found, len(found))


def send(site: Site, question: Question) -> Reply:
    """Send one question."""
    headers = {"X-Mien-Drill": question.order} if question.order else {}
    return site.post(question.path, question.body, question.content_type, headers)


def send_all(site: Site, stream: Iterator[Question], count: int, clients: int = CLIENTS) -> int:
    """Send so many questions by a few clients at once; returns how many were answered with 200."""
    words = f"sending {count} questions"
    with ThreadPoolExecutor(clients) as pool, console.bar(words) as advance:
        right = 0
        jobs = pool.map(lambda question: send(site, question).status, islice(stream, count))
        for done, status in enumerate(jobs, 1):
            right += status == 200
            advance(done, count)
    return right


def judge(site: Site, question: Question, reply: Reply) -> int:
    """Send the truth about an answer as feedback; returns the status."""
    verdict = {"trace_id": reply.json()["trace_id"], "label": question.label}
    return site.post("/feedback", json.dumps(verdict).encode(), "application/json").status


def darkened(question: Question, share: float) -> Question:
    """The same picture with `share` of its light."""

    def darker(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (pixels * share).astype(np.uint8)

    return _redrawn(question, darker)


def torn(question: Question) -> Question:
    """The same picture with its second half missing."""
    picture = _picture_of(question.body)
    return replace(question, body=form(picture[: len(picture) // 2])[0])


def _redrawn(
    question: Question, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> Question:
    with Image.open(io.BytesIO(_picture_of(question.body))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return replace(question, body=form(_png(change(pixels)))[0])


def _data(task: Task[Any], workspace: Workspace) -> Path | None:
    """The prepared data that the champion was trained on, if the workspace still has them."""
    number = workspace.aliases(task.name).get("champion")
    if number is None:
        return None
    lineage = bundle.read(workspace.version(task.name, number)).manifest.lineage
    for report in sorted(workspace.processed(task.name).glob(f"*/{REPORT}")):
        document = json.loads(report.read_text(encoding="utf-8"))
        if document.get("data_fingerprint") == lineage.data_fingerprint:
            return report.parent
    return None


def _drawn(task: Task[Any], scratch: Path, seed: int) -> Path:
    raw, ready = scratch / "raw", scratch / "ready"
    raw.mkdir()
    ready.mkdir()
    console.info(f"{task.name}: the champion's data are not in this workspace; drawing a sample")
    task.data.write_sample(raw, seed)
    task.data.prepare(raw, ready, task.training.Params(), scratch / "cache")
    return ready


def _encoded(task: Task[Any], ready: Path, split: Split) -> list[Question]:
    examples = islice(task.data.examples(ready, split), 4 * MOST)
    return [_question(task.name, example) for example in examples]


def _question(task: str, example: Example) -> Question:
    path = f"/predict/{task}"
    if example.request.image is None:
        assert example.request.body is not None
        body = example.request.body.model_dump_json().encode()
        return Question(path, body, "application/json", example.label)
    return Question(path, *form(_png(example.request.image)), example.label)


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _picture_of(body: bytes) -> bytes:
    return body[len(FORM_HEAD) : -len(FORM_TAIL)]
