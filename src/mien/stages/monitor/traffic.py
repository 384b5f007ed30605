"""Test traffic: labelled requests of a task, and transforms that corrupt them.

The requests are examples of the validation split, on which the champion was evaluated; without
prepared data the task draws its sample.
"""

import io
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien import tasks
from mien.errors import StackError
from mien.model import bundle
from mien.reporting import console
from mien.stages.monitor.web import FORM_HEAD, FORM_TAIL, HttpClient, HttpResponse, form
from mien.storage.workspace import CHAMPION, REPORT, Workspace
from mien.task import Example, Split, Task

MAX_REQUESTS = 1000
CLIENTS = 4


@dataclass(frozen=True)
class LabelledRequest:
    """A request as it is sent, and its true label."""

    path: str
    body: bytes
    content_type: str
    label: str | None
    fault: str = ""
    """Value of the header for fault injection."""

    @property
    def is_image(self) -> bool:
        return self.content_type != "application/json"


def load_requests(
    name: str, workspace: Workspace, split: Split = "val", seed: int = 0
) -> list[LabelledRequest]:
    """Return up to `MAX_REQUESTS` requests of a task, chosen by the seed.

    Raises:
        StackError: there are none.
    """
    task = tasks.load(name)
    ready = _data(task, workspace)
    if ready is not None:
        requests = _encoded(task, ready, split)
    else:
        console.info(f"{name}: the champion's data are not in this workspace; the sample is used")
        requests = draw_requests(name, [split], seed + 1)[split]
    if not requests:
        raise StackError(f"There are no examples of {name} to send.")
    random.Random(seed).shuffle(requests)
    return requests[:MAX_REQUESTS]


def draw_requests(
    name: str, splits: Sequence[Split], seed: int
) -> dict[Split, list[LabelledRequest]]:
    """Requests of a task's sample, drawn for them, by split."""
    task = tasks.load(name)
    with tempfile.TemporaryDirectory() as scratch:
        ready = _drawn(task, Path(scratch), seed)
        return {split: _encoded(task, ready, split) for split in splits}


def select(
    name: str | None, needs_images: bool, needs_reference: bool, workspace: Workspace
) -> list[LabelledRequest]:
    """Return the requests of a task, or of the first one with a champion that fits.

    Raises:
        StackError: there is no such task.
    """
    if name is not None:
        task = tasks.load(name).name
        if needs_reference and _is_pulled(task, workspace):
            raise StackError(
                f"The champion of {task}: expected one with its training data, found a public "
                "pretrained model, of which no drift is computed. Drill another task with --task, "
                "or train a model."
            )
        return load_requests(task, workspace)
    for each in tasks.names():
        if CHAMPION not in workspace.aliases(each):
            continue
        if needs_reference and _is_pulled(each, workspace):
            continue
        requests = load_requests(each, workspace)
        if not needs_images or all(request.is_image for request in requests):
            return requests
    wanted = ["is validated on pictures, as one of emotions is,"] * needs_images
    wanted += ["was trained here"] * needs_reference
    which = " that " * bool(wanted) + " and ".join(wanted)
    raise StackError(
        f"{workspace.home.resolve()}: expected a champion{which}, found none. Name the workspace "
        "of the stack with --home, or train such a model."
    )


def endless(requests: Sequence[LabelledRequest], seed: int = 0) -> Iterator[LabelledRequest]:
    """Repeat the requests without end, each time in another random order."""
    rng = random.Random(seed)
    while True:
        yield from rng.sample(requests, len(requests))


def send(client: HttpClient, request: LabelledRequest) -> HttpResponse:
    """Send one request."""
    headers = {"X-Mien-Fault": request.fault} if request.fault else {}
    return client.post(request.path, request.body, request.content_type, headers)


def send_all(
    client: HttpClient, stream: Iterator[LabelledRequest], count: int, clients: int = CLIENTS
) -> int:
    """Send `count` requests from concurrent clients; returns the count of status 200."""
    title = f"sending {count} requests"
    with ThreadPoolExecutor(clients) as pool, console.bar(title) as advance:
        succeeded = 0
        jobs = pool.map(lambda request: send(client, request).status, islice(stream, count))
        for count_sent, status in enumerate(jobs, 1):
            succeeded += status == 200
            advance(count_sent, count)
    return succeeded


def send_feedback(client: HttpClient, request: LabelledRequest, response: HttpResponse) -> int:
    """Send the true label of a prediction as feedback; returns the status."""
    feedback = {"trace_id": response.json()["trace_id"], "label": request.label}
    return client.post("/feedback", json.dumps(feedback).encode(), "application/json").status


def darkened(request: LabelledRequest, share: float) -> LabelledRequest:
    """The same image with its brightness scaled by `share`."""
    with Image.open(io.BytesIO(_image_of(request.body))) as image:
        pixels = (np.asarray(image.convert("RGB")) * share).astype(np.uint8)
    return replace(request, body=form(_png(pixels))[0])


def rotated(request: LabelledRequest, degrees: float) -> LabelledRequest:
    """The same image, turned; the corners are black."""
    with Image.open(io.BytesIO(_image_of(request.body))) as image:
        turned = image.convert("RGB").rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    return replace(request, body=form(_png(np.asarray(turned)))[0])


def truncated(request: LabelledRequest) -> LabelledRequest:
    """The same image without the second half of its bytes."""
    image = _image_of(request.body)
    return replace(request, body=form(image[: len(image) // 2])[0])


def _data(task: Task[Any], workspace: Workspace) -> Path | None:
    """The prepared data of the champion's training, if the workspace still has them."""
    champion = bundle.read_champion(task.name, workspace)
    if champion is None:
        return None
    lineage = champion.manifest.lineage
    for report in sorted(workspace.processed(task.name).glob(f"*/{REPORT}")):
        document = json.loads(report.read_text(encoding="utf-8"))
        if document.get("data_fingerprint") == lineage.data_fingerprint:
            return report.parent
    return None


def _is_pulled(task: str, workspace: Workspace) -> bool:
    champion = bundle.read_champion(task, workspace)
    return champion is not None and champion.manifest.lineage.trained_on == "pretrained"


def _drawn(task: Task[Any], scratch: Path, seed: int) -> Path:
    raw, ready = scratch / "raw", scratch / "ready"
    raw.mkdir()
    ready.mkdir()
    task.data.write_sample(raw, seed)
    task.data.prepare(raw, ready, task.training.Params(), scratch / "cache")
    return ready


def _encoded(task: Task[Any], ready: Path, split: Split) -> list[LabelledRequest]:
    examples = islice(task.data.examples(ready, split), 4 * MAX_REQUESTS)
    return [_request(task.name, example) for example in examples]


def _request(task: str, example: Example) -> LabelledRequest:
    path = f"/predict/{task}"
    if example.request.image is None:
        assert example.request.body is not None
        body = example.request.body.model_dump_json().encode()
        return LabelledRequest(path, body, "application/json", example.label)
    return LabelledRequest(path, *form(_png(example.request.image)), example.label)


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _image_of(body: bytes) -> bytes:
    return body[len(FORM_HEAD) : -len(FORM_TAIL)]
