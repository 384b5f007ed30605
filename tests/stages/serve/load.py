"""Clients over raw sockets that record every request.

They know HTTP/1.1 and the addresses of the service, not its code.
"""

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from waiting import PATIENCE, until

POINT = b'{"point": {"values": [1, 2, 3]}}'
"""A JSON body for the test task `shape`."""
BOUNDARY = "mien-load"


def get(path: str, **headers: str) -> bytes:
    """The bytes of a GET request."""
    return _head("GET", path, headers) + b"\r\n"


def post(path: str, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    """The bytes of a POST request; an underscore in a header's name stands for a hyphen."""
    of_body = {"Content-Type": kind, "Content-Length": str(len(body))}
    return _head("POST", path, of_body | headers) + b"\r\n" + body


def form(path: str, picture: bytes, **headers: str) -> bytes:
    """The bytes of a POST request with a picture in the field `file`."""
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = start.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    return post(path, body, f"multipart/form-data; boundary={BOUNDARY}", **headers)


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: server"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode()


@dataclass(frozen=True)
class Response:
    """One response of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


@dataclass(frozen=True)
class Record:
    """One request: when it was sent (`time.monotonic`), and its response or its failure."""

    sent: float
    seconds: float
    request: int
    """Its index in the requests of the load."""
    status: int = 0
    """0 without a response."""
    version: str = ""
    trace_id: str = ""
    retry_after: str = ""
    fault: str = ""
    """The exception, where no complete response came."""

    @property
    def fine(self) -> bool:
        return self.status == 200


async def read(reader: asyncio.StreamReader) -> Response:
    """Read one response; raise an error if the connection ends before its last byte."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Response(int(first.split()[1]), headers, body)


class Load:
    """Clients in one thread, each sending one request after the other, on kept-alive connections,
    for the duration of a `with` block.

    Args:
        requests: as bytes; the clients take them in turn.
        rest: seconds between an answer and the next request of a client.
        pause: the same after a 503, as Retry-After says; 0: as after any answer.
        balanced: stop sending once /readyz is not 200, as a load balancer does.
        patience: seconds after which a request counts as failed.
    """

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        clients: int,
        *,
        rest: float = 0.01,
        pause: float = 0.0,
        balanced: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.records: list[Record] = []
        self.waiting = 0
        """Requests that were sent and have no response yet."""
        self._port, self._requests, self._clients = port, requests, clients
        self._rest, self._pause = rest, pause
        self._balanced, self._patience = balanced, patience
        self._stopping, self._next = False, 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> list[Record]:
        """Let each client finish its request; return the records."""
        self._stopping = True
        self._thread.join()
        return self.records

    @property
    def fine(self) -> list[Record]:
        return [each for each in self.records if each.fine]

    @property
    def failed(self) -> list[Record]:
        return [each for each in self.records if not each.fine]

    def reach(self, count: int) -> None:
        """Wait until so many more requests have a response 200."""
        goal = len(self.fine) + count
        until(
            lambda: len(self.fine) >= goal,
            lambda: f"{len(self.fine)} of {goal} responses; failed: {self.failed[-3:]}",
        )

    async def _all(self) -> None:
        clients = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        watch = asyncio.create_task(self._watch()) if self._balanced else None
        await asyncio.gather(*clients)
        if watch:
            watch.cancel()

    async def _watch(self) -> None:
        """Poll /readyz, on a new connection each time, as a load balancer does."""
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(get("/readyz"))
                self._stopping = (await read(reader)).status != 200
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                self._stopping = True
            await asyncio.sleep(0.02)

    async def _client(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping:
            number = self._next % len(self._requests)
            self._next += 1
            if streams and streams[0].at_eof():  # closed while idle
                streams[1].close()
                streams = None
            record, streams = await self._send(number, streams)
            self.records.append(record)
            refused = record.status == 503 and self._pause
            await asyncio.sleep(self._pause if refused else self._rest)
        if streams:
            streams[1].close()

    async def _send(self, number: int, streams: Any) -> tuple[Record, Any]:
        sent, started = time.monotonic(), streams
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                streams = streams or await asyncio.open_connection("127.0.0.1", self._port)
                started = streams
                streams[1].write(self._requests[number])
                await streams[1].drain()
                answer = await read(streams[0])
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            if started:
                started[1].close()
            fault = type(error).__name__
            return Record(sent, time.monotonic() - sent, number, fault=fault), None
        finally:
            self.waiting -= 1
        if answer.closes:
            streams[1].close()
        return _record(sent, number, answer), None if answer.closes else streams


def _record(sent: float, number: int, answer: Response) -> Record:
    seconds, document = time.monotonic() - sent, {}
    with suppress(ValueError):
        document = answer.json()
    known = document if isinstance(document, dict) else {}
    return Record(
        *(sent, seconds, number, answer.status),
        version=known.get("model", {}).get("version", ""),
        trace_id=known.get("trace_id", ""),
        retry_after=answer.headers.get("retry-after", ""),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
