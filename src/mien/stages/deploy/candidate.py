"""Questions over HTTP to a revision: are its models and answers those of the bundles here, and is
it as fast and as reliable as the present revision?

The bundles of the workspace went into the image. They are opened here, and what they answer to
drawn requests is what the revision has to answer.
"""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import cycle, islice
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from PIL import Image

from mien import tasks
from mien.errors import DeploymentError, RegistryError, RequestError
from mien.model import golden
from mien.storage.workspace import CHAMPION, Workspace
from mien.task import Request, Task

TIMEOUT_S = 30.0
REQUESTS = 50
"""Requests to each of the two revisions, in turn."""
ROUNDS = 3
"""A candidate is slow if it is slow in each round: one burst of other work is no reason."""
MAX_SLOWDOWN = 1.5
SLOWDOWN_S = 0.05
"""The 95th percentile may be `MAX_SLOWDOWN` times that of the present revision, and this longer."""
MAX_MORE_ERRORS = 0.02
"""Share of requests that may fail beyond those that fail at the present revision."""
TOLERANCE = 0.05
"""Of a confidence: golden answers have their own, tighter one, and are checked by the server."""


@dataclass(frozen=True)
class ExpectedAnswer:
    """A request, and what the bundle answers to it on this machine."""

    path: str
    body: bytes
    content_type: str
    task: str
    label: str | None
    outcome: str
    confidence: float


@dataclass(frozen=True)
class ExpectedModel:
    """A bundle that is in the image."""

    task: str
    digest: str
    answers: tuple[ExpectedAnswer, ...]


@dataclass(frozen=True)
class RevisionResponse:
    """What a revision returned; status 0 is no response."""

    status: int
    body: bytes
    seconds: float = 0.0

    def json(self) -> dict[str, Any]:
        """The JSON object of the body; empty where it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True)
class Revision:
    """A revision at the address of its tag."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(
        self, path: str, body: bytes | None = None, content_type: str = ""
    ) -> RevisionResponse:
        """Send one request; returns a response whatever happens."""
        headers = {**self.headers, **({"Content-Type": content_type} if body else {})}
        request, start = HttpRequest(f"{self.url}{path}", body, headers), time.perf_counter()
        try:
            try:
                answer = urlopen(request, timeout=TIMEOUT_S)
            except HTTPError as refusal:
                answer = refusal
            with answer:
                status, content = answer.status, answer.read()
        except (OSError, HTTPException) as error:
            status, content = 0, str(error).encode()
        return RevisionResponse(status, content, time.perf_counter() - start)


def expected_models(workspace: Workspace) -> list[ExpectedModel]:
    """Open the champions of a workspace and let them answer drawn requests.

    Raises:
        RegistryError: there is no champion.
        BundleError: one is damaged, or answers differently on this machine.
    """
    names = [name for name in tasks.names() if CHAMPION in workspace.aliases(name)]
    if not names:
        raise RegistryError(
            f"{workspace.home.resolve()}: expected the champions that are in the image, found "
            "none. Name their workspace with --home."
        )
    return [_expected_model(tasks.load(name), workspace) for name in names]


def _expected_model(task: Task[Any], workspace: Workspace) -> ExpectedModel:
    folder = workspace.version(*workspace.champion([task.name]))
    answers = []
    with golden.load(folder) as model:
        for predict in task.inference.drawn_predictions():
            try:
                prediction = predict(model)
            except RequestError:
                continue  # a model may take one kind of request alone
            body, content_type = _encoded(*predict.args)
            best = prediction.best
            answers.append(
                ExpectedAnswer(
                    path=f"/predict/{task.name}",
                    body=body,
                    content_type=content_type,
                    task=task.name,
                    label=best.label if best else None,
                    outcome=prediction.outcome,
                    confidence=best.confidence if best else 0.0,
                )
            )
        return ExpectedModel(task.name, model.bundle.digest, tuple(answers))


def _encoded(request: Request) -> tuple[bytes, str]:
    if request.image is None:
        assert request.body is not None
        return request.body.model_dump_json().encode(), "application/json"
    file = io.BytesIO()
    Image.fromarray(request.image).save(file, "PNG")
    return file.getvalue(), "image/png"


def check_models(revision: Revision, expected: Sequence[ExpectedModel]) -> None:
    """Ask a revision which models it serves, and for the answers to all drawn requests.

    Raises:
        DeploymentError: it is not ready, serves other models, or answers differently.
    """
    health = revision.send("/health")
    if _bad_status(health):
        raise DeploymentError(
            f"{revision.url}/health: {_bad_status(health)}. Its log has the reason."
        )
    served = {each.get("task"): each for each in health.json().get("models", [])}
    own_digests = {each.task: each.digest for each in expected}
    digests = {task: each.get("digest") for task, each in served.items()}
    if digests != own_digests:
        raise DeploymentError(
            f"{revision.url} serves other models than this workspace: expected "
            f"{_short(own_digests)}, found {_short(digests)}. Build the image from this workspace, "
            "or name the workspace of the image with --home."
        )
    if unchecked := [task for task, each in served.items() if not each.get("golden")]:
        raise DeploymentError(f"{revision.url}: no golden answers of {', '.join(unchecked)}.")
    for model in expected:
        for answer in model.answers:
            if fault := _fault(_ask(revision, answer), answer):
                raise DeploymentError(f"{revision.url}{answer.path}: {fault}.")


def compare(
    candidate: Revision, present: Revision | None, expected: Sequence[ExpectedModel]
) -> str:
    """Send the same requests to both revisions in turn; returns the figures as a sentence.

    Args:
        candidate: the revision that is tried.
        present: the revision to compare it with; None at the first deployment.
        expected: the models, whose drawn requests are sent.

    Raises:
        DeploymentError: the candidate fails more often, or is slower in every round.
    """
    for _ in range(ROUNDS):
        own, other = Sent(), Sent()
        answers = [answer for model in expected for answer in model.answers]
        for answer in islice(cycle(answers), REQUESTS):
            own.add(_ask(candidate, answer), answer)
            if present is not None:
                other.add(_ask(present, answer), None)
        if len(own.faults) > len(other.faults) + MAX_MORE_ERRORS * REQUESTS:
            raise DeploymentError(
                f"{len(own.faults)} of {REQUESTS} requests to the candidate failed, and "
                f"{len(other.faults)} to the present revision: {own.faults[0]}."
            )
        figures = f"candidate {own}, present revision {other if present else 'none'}"
        if present is None or own.p95_s <= MAX_SLOWDOWN * other.p95_s + SLOWDOWN_S:
            return figures
    raise DeploymentError(
        f"The candidate is slow in each of {ROUNDS} rounds: {figures}; expected at most "
        f"{MAX_SLOWDOWN:g} times the 95th percentile of the present one, and "
        f"{1000 * SLOWDOWN_S:.0f} ms."
    )


@dataclass
class Sent:
    """What the requests of one round to one revision gave."""

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, response: RevisionResponse, expected: ExpectedAnswer | None) -> None:
        """Note a response; the status alone counts where no answer is expected."""
        self.seconds.append(response.seconds)
        fault = _fault(response, expected) if expected else _bad_status(response)
        self.faults += [fault] if fault else []

    @property
    def p95_s(self) -> float:
        return sorted(self.seconds)[math.ceil(0.95 * len(self.seconds)) - 1]

    def __str__(self) -> str:
        count = len(self.seconds)
        return f"{1000 * self.p95_s:.0f} ms (p95), {len(self.faults)} of {count} failed"


def _ask(revision: Revision, answer: ExpectedAnswer) -> RevisionResponse:
    return revision.send(answer.path, answer.body, answer.content_type)


def _fault(response: RevisionResponse, expected: ExpectedAnswer) -> str:
    """What is wrong with a response; empty for an expected one."""
    if bad := _bad_status(response):
        return bad
    document = response.json()
    label, outcome = document.get(expected.task), document.get("outcome")
    if (label, outcome) != (expected.label, expected.outcome):
        return (
            f"expected {expected.label} ({expected.outcome}) as the bundle answers here, found "
            f"{label} ({outcome})"
        )
    confidence = document.get("confidence", math.nan)
    if not abs(confidence - expected.confidence) <= TOLERANCE:
        return f"{label}: expected confidence {expected.confidence:.3f}, found {confidence}"
    return ""


def _bad_status(response: RevisionResponse) -> str:
    return "" if response.status == 200 else f"expected status 200, found {_status(response)}"


def _status(response: RevisionResponse) -> str:
    detail = response.json().get("detail") or response.body[:200].decode("utf-8", "replace")
    return f"{response.status or 'no response'}: {detail}"


def _short(digests: Mapping[Any, Any]) -> str:
    pairs = (f"{task} {str(digest)[:12]}" for task, digest in digests.items())
    return ", ".join(sorted(pairs)) or "none"
