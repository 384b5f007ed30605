"""A closed-loop load generator: so many clients, each with a connection that it keeps, each sending
its next request when the last one is answered. And an open loop: requests at random times.

Raw sockets on asyncio, since a client library would cost more than the server that is measured.
Knows HTTP/1.1 answers with a Content-Length, and nothing of what is asked.
"""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

PATIENCE = 120.0
"""Seconds after the end of a slice after which an answer is no longer waited for."""


@dataclass
class Slice:
    """What a server did for a while."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each answer, without the first one of each client where it got more than one: the
    queue is not yet full when all begin at once."""
    answers: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Statuses other than 2xx, and connections that broke, with how often."""
    cpu_s: float = 0.0
    """User and system seconds of the processes that answered."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def cpu_per_answer_s(self) -> float:
        return self.cpu_s / self.answers


def request(path: str, body: bytes, content_type: str) -> bytes:
    """A POST as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def form(path: str, field: str, content: bytes, kind: str) -> bytes:
    """A POST of one file in a form."""
    edge = b"e8f0c2b1a7d94356b0f1c2a3e4d5f607"  # as long as those of urllib3
    head = (
        f'Content-Disposition: form-data; name="{field}"; filename="picture"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    body = b"--%b\r\n%b%b\r\n--%b--\r\n" % (edge, head.encode(), content, edge)
    return request(path, body, f"multipart/form-data; boundary={edge.decode()}")


def send(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Slice:
    """Send whole rounds of the requests, in turn, until the seconds are over."""
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_send(port, requests, clients, seconds))
    finally:
        gc.enable()


def ask(port: int, wire: bytes) -> tuple[int, bytes]:
    """Send one request and return status and body of the answer."""
    return asyncio.run(_ask(port, wire))


def send_at_random(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int
) -> Slice:
    """Send the requests in turn at random times, `rate` of them a second on average, whether or
    not earlier ones are answered; latencies count from the time at which each was due."""
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_send_at_random(port, requests, rate, seconds, random.Random(seed)))
    finally:
        gc.enable()


async def _send_at_random(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, chance: random.Random
) -> Slice:
    found, tasks = Slice(), list[asyncio.Task[None]]()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send_one(wire: bytes, due: float) -> None:
        line = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        line[1].write(wire)
        head = await line[0].readuntil(b"\r\n\r\n")
        await line[0].readexactly(_length(head))
        found.latencies.append(perf_counter() - due)
        if head[9:10] != b"2":
            found.faults[head[9:12].decode()] += 1
        idle.append(line)

    start = due = perf_counter()
    while (due := due + chance.expovariate(rate)) < start + seconds or not tasks:
        await asyncio.sleep(due - perf_counter())
        tasks.append(asyncio.create_task(send_one(requests[len(tasks) % len(requests)], due)))
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    found.seconds, found.answers = perf_counter() - start, len(found.latencies)
    for _, writer in idle:
        writer.close()
    return found


async def _ask(port: int, wire: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(wire)
        head = await reader.readuntil(b"\r\n\r\n")
        return int(head[9:12]), await reader.readexactly(_length(head))
    finally:
        writer.close()


async def _send(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Slice:
    loop, drawn = asyncio.get_running_loop(), _Deck(requests, seconds)
    lines = []
    for _ in range(clients):
        _, line = await loop.create_connection(lambda: _Line(drawn, loop), "127.0.0.1", port)
        lines.append(line)
    drawn.start = perf_counter()
    for line in lines:
        line.begin()
    await asyncio.wait([line.done for line in lines], timeout=seconds + PATIENCE)
    found = Slice(max(line.last for line in lines) - drawn.start)
    for line in lines:
        if not line.done.done():
            line.faults["no answer in time"] += 1
        found.answers += line.answers
        found.faults.update(line.faults)
        found.latencies += line.latencies[1:] or line.latencies
        line.transport.close()
    return found


class _Deck:
    """The requests in turn; it ends with the last one of a round once the time is over."""

    def __init__(self, requests: Sequence[bytes], seconds: float) -> None:
        self.requests, self.seconds, self.start, self.place = requests, seconds, 0.0, 0

    def draw(self) -> bytes | None:
        place = self.place % len(self.requests)
        if not place and self.place and perf_counter() - self.start >= self.seconds:
            return None
        self.place += 1
        return self.requests[place]


class _Line(asyncio.Protocol):
    """One client's connection."""

    transport: asyncio.Transport

    def __init__(self, deck: _Deck, loop: asyncio.AbstractEventLoop) -> None:
        self.deck, self.done = deck, loop.create_future()
        self.latencies: list[float] = []
        self.faults: Counter[str] = Counter()
        self.answers, self.since, self.last = 0, 0.0, 0.0
        self.received, self.wanted = bytearray(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def begin(self) -> None:
        wire = self.deck.draw()
        if wire is None:
            self.last = self.last or perf_counter()
            self.done.set_result(None)
            return
        self.since = perf_counter()
        self.transport.write(wire)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.wanted:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.wanted = end + 4 + _length(self.received[: end + 2])
        if len(self.received) >= self.wanted:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.faults["connection lost"] += 1
            self.last = perf_counter()
            self.done.set_result(None)

    def _answered(self) -> None:
        self.last = perf_counter()
        self.latencies.append(self.last - self.since)
        self.answers += 1
        if self.received[9:10] != b"2":
            self.faults[self.received[9:12].decode()] += 1
        self.received.clear()
        self.wanted = 0
        self.begin()


def _length(head: bytes | bytearray) -> int:
    _, found, rest = bytes(head).lower().partition(b"content-length:")
    if not found:
        raise ValueError(f"an answer has no Content-Length: {bytes(head)!r}")
    return int(rest.split(b"\r\n", 1)[0])
