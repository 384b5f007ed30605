"""What is tried on an emulated platform, and what it showed.

A first request to a service without an instance; load; uploads at the platform's size limit;
SIGTERM under load, with requests that arrive meanwhile and start the next instance; a start again.
"""

import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles

from mien import tasks
from mien.config import Schema
from mien.errors import MienError, StackError
from mien.reporting import console

from .cloud_run import REQUEST_CAP_BYTES, STOP_PATIENCE_S, CloudRun, Response, get
from .instances import Instance, Limits, Stopped

Post = tuple[str, bytes, str]
"""Path, body and content type."""
_POLL_S = 0.01


class ColdStart(Schema):
    """From a request to a service without an instance to its answer, in seconds."""

    answer_s: float
    """Of the service: from the start of its first process."""
    engine_s: float
    """What the engine took before, for a container."""
    cpu_s: float


class Report(Schema):
    """What an emulation measured."""

    cold_start: ColdStart
    next_cold_start: ColdStart
    """With the files in the memory of the machine."""
    requests: int
    lost: int
    p50_ms: float
    p95_ms: float
    """Of those before SIGTERM."""
    peak_memory_mb: float
    memory_limit_mb: float
    stop_s: float
    """From SIGTERM under load to the end of the instance."""
    failures: list[str]
    """What broke the contract."""


class Load:
    """Requests by several clients at once, until they are stopped."""

    def __init__(self, platform: CloudRun, posts: Sequence[Post], clients: int) -> None:
        self.responses: list[Response] = []
        self.latencies_ms: list[float] = []
        self._platform, self._posts, self._clients = platform, posts, clients
        self._stop = threading.Event()
        self._error: MienError | None = None

    def run(self, during: Callable[[], object]) -> None:
        """Send requests while `during` runs, and finish those that are on their way."""
        with ThreadPoolExecutor(self._clients, thread_name_prefix="mien-client") as pool:
            workers = [pool.submit(self._client, number) for number in range(self._clients)]
            try:
                during()
            finally:
                self._stop.set()
            for worker in workers:
                worker.result()

    def await_responses(self, count: int) -> None:
        """Wait until that many more responses are there.

        Raises:
            MienError: an instance did not start.
        """
        goal = len(self.responses) + count
        while len(self.responses) < goal and self._error is None:
            time.sleep(_POLL_S)
        if self._error is not None:
            raise self._error

    def _client(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                start = time.perf_counter()
                post = self._posts[number % len(self._posts)]
                self.responses.append(self._platform.request(*post))
                self.latencies_ms.append((time.perf_counter() - start) * 1e3)
                number += 1
        except MienError as error:
            self._error = error


def run(platform: CloudRun, limits: Limits, requests: int, clients: int) -> Report:
    """Try a service on the platform, and leave no instance behind.

    Args:
        platform: has no instance yet.
        limits: of an instance.
        requests: responses before SIGTERM, and again after it.
        clients: how many requests are sent at once.

    Raises:
        StackError: an instance does not start, or does not answer its first request.
    """
    pictures = {name: _png(name) for name in tasks.names()}
    try:
        with console.bar("cold start"):
            first = _cold_start(platform, pictures)
        posts = _posts(platform.instance, pictures)
        failures = _size_limit(platform, posts[0][0])
        load, ends = Load(platform, posts, clients), list[_End]()
        with console.bar("requests, and SIGTERM among them"):
            load.run(lambda: ends.append(_scale_down(platform, load, requests)))
        ends.append(_end(platform))
        with console.bar("the next cold start"):
            again = _cold_start(platform, pictures)
    finally:
        platform.scale_to_zero()
    failures += _lost(load.responses) + [each for end in ends for each in end.failures(limits)]
    percentiles = quantiles(load.latencies_ms[:requests], n=20)  # none waited for a cold start
    return Report(
        cold_start=first,
        next_cold_start=again,
        requests=len(load.responses),
        lost=sum(response.lost for response in load.responses),
        p50_ms=percentiles[9],
        p95_ms=percentiles[18],
        peak_memory_mb=max(end.peak_memory_mb for end in ends),
        memory_limit_mb=limits.memory_mb * 2**20 / 1e6,
        stop_s=ends[0].stopped.seconds,
        failures=failures,
    )


def show(report: Report) -> None:
    """Print a report as a table, and what broke the contract."""
    rows = [
        [title, f"{cold.answer_s:.2f} s", f"{cold.cpu_s:.2f} s CPU, {cold.engine_s:.2f} s before"]
        for title, cold in (
            ("cold start to the first answer", report.cold_start),
            ("the next cold start", report.next_cold_start),
        )
    ]
    limit = f"limit {report.memory_limit_mb:.0f} MB"
    rows += [
        [
            "requests",
            str(report.requests),
            f"p50 {report.p50_ms:.0f} ms, p95 {report.p95_ms:.0f} ms",
        ],
        ["requests lost", str(report.lost), ""],
        ["SIGTERM under load to the end", f"{report.stop_s:.2f} s", f"limit {STOP_PATIENCE_S:g} s"],
        ["peak memory", f"{report.peak_memory_mb:.0f} MB", limit],
    ]
    console.table("Cloud Run's contract", ["what", "measured", ""], rows)
    for failure in report.failures:
        console.result(f"failed: {failure}")


@dataclass(frozen=True)
class _End:
    """What an instance had used when it was stopped, and how it ended."""

    peak_memory_mb: float
    stopped: Stopped

    def failures(self, limits: Limits) -> list[str]:
        failures, limit_mb = [], limits.memory_mb * 2**20 / 1e6
        if self.stopped.killed:
            failures.append(f"SIGTERM: expected an end within {STOP_PATIENCE_S:g} s, found none")
        elif self.stopped.exit_status:
            failures.append(f"exit status: expected 0, found {self.stopped.exit_status}")
        if self.stopped.out_of_memory or self.peak_memory_mb > limit_mb:
            failures.append(
                f"memory: expected at most {limit_mb:.0f} MB, found {self.peak_memory_mb:.0f}"
            )
        return failures


def _scale_down(platform: CloudRun, load: Load, requests: int) -> _End:
    """Stop the instance among requests; the next ones start another."""
    load.await_responses(requests)
    end = _end(platform)
    load.await_responses(requests)
    return end


def _end(platform: CloudRun) -> _End:
    peak = platform.instance.peak_memory_mb()
    stopped = platform.scale_to_zero()
    assert stopped is not None
    return _End(peak, stopped)


def _lost(responses: Sequence[Response]) -> list[str]:
    statuses = [response.status for response in responses if response.lost]
    if not statuses:
        return []
    return [f"{len(statuses)} requests were lost, with status {sorted(set(statuses))}"]


def _cold_start(platform: CloudRun, pictures: Mapping[str, bytes]) -> ColdStart:
    sent = time.time()
    instance = platform.instance
    response = platform.request(*_posts(instance, pictures)[0])
    answered = time.time()
    if response.status != 200:
        raise StackError(
            f"The first request: expected status 200, found {response.status}: "
            f"{response.body[:300].decode(errors='replace')}. Log:\n{instance.log()}"
        )
    started = instance.started_at
    return ColdStart(
        answer_s=answered - started, engine_s=max(0.0, started - sent), cpu_s=instance.cpu_s()
    )


def _posts(instance: Instance, pictures: Mapping[str, bytes]) -> list[Post]:
    """A picture for each task that the instance serves."""
    served = json.loads(get(instance.address, "/readyz").body)["tasks"]
    return [
        (f"/predict/{name}", picture, "image/png")
        for name, picture in pictures.items()
        if name in served
    ]


def _png(task: str) -> bytes:
    buffer = io.BytesIO()
    tasks.load(task).inference.sample_picture().convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _size_limit(platform: CloudRun, path: str) -> list[str]:
    """Bodies at the limit: the largest reaches the service, one byte more does not."""
    largest = platform.request(path, bytes(REQUEST_CAP_BYTES), "application/octet-stream")
    beyond = platform.request(path, bytes(REQUEST_CAP_BYTES + 1), "application/octet-stream")
    failures = []
    if not 400 <= largest.status < 500:
        failures.append(f"32 MiB that are no picture: expected status 4xx, found {largest.status}")
    if beyond.status != 413:
        failures.append(f"32 MiB and a byte: expected status 413, found {beyond.status}")
    return failures
