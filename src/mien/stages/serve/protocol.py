"""HTTP connections with limits: uvicorn's protocol over httptools, which has none itself.

Limits the number of connections, the size of a request's headers, the time for them to arrive, and
the time for a client to read its response. Errors on this level also get a problem document.

Most clients read a response only after they have sent the whole request, and closing a connection
with unread bytes destroys the response. So what follows an early response is read and dropped,
within limits of time and bytes. Knows nothing of addresses and models.
"""

import asyncio
import re
import sys
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mien.errors import OverloadedError
from mien.stages.serve.errors import BadHttpError, HeadersTooLargeError, RequestTimeoutError

MAX_HEADER_BYTES = 16_384
"""Maximum size of a request line with its headers."""
WRITE_TIMEOUT_S = 30.0
"""How long a client may leave its response unread."""
MIN_IDLE_S = 5.0
"""How long a connection was idle at least before it makes room for another one."""
RESERVED_DESCRIPTORS = 16
"""File descriptors left for prediction_log, models and what is opened for a moment."""


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of all connections."""

    connections: int
    header_timeout_s: float
    drain_timeout_s: float
    """How long the rest of an upload is read and dropped after an early response."""
    drain_bytes: int
    """How much of it is."""
    refuse: Callable[[BaseException], bytes]
    """Counts a refusal on this level and returns its response."""


RECEIVED = "mien.received"
"""Key in the scope of a request whose body was received: reading it does not wait."""
MAX_PIPELINED_REQUESTS = 32
"""Requests that a client may send on one connection without waiting for responses."""
_UPGRADE = re.compile(rb"\r\n(upgrade):", re.IGNORECASE)


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._pending_bytes = 0
        """Bytes of incomplete headers."""
        self._parsed_bytes = 0
        """Bytes of headers that are parsed."""
        self._started = 0
        """Requests that started in the last bytes received."""
        self._in_headers = True
        self._draining = False
        """Whether the last response was sent, and further bytes are dropped."""
        self._dropped_bytes = 0
        """Bytes that came after an early response."""
        self._header_timer: TimerHandle | None = None
        self._write_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections and not self._make_room():
            self._refuse(OverloadedError())
        else:
            self._await_headers()

    def _make_room(self) -> bool:
        """Close the connection that was idle for longest, where all places are taken. A client
        that sends one request after another is not idle between them."""
        others = cast(set[LimitedHttpProtocol], self.connections)
        if sum(not each._draining for each in others) <= self._limits.connections:
            return True
        latest = self.loop.time() + self.timeout_keep_alive - MIN_IDLE_S
        timers = {each: each.timeout_keep_alive_task for each in others if not each._pending_bytes}
        ends = {each: timer.when() for each, timer in timers.items() if timer is not None}
        ends = {each: end for each, end in ends.items() if end <= latest}
        if ends:
            min(ends, key=lambda each: ends[each]).transport.close()
        return bool(ends)

    def data_received(self, data: bytes) -> None:
        if self._draining:
            self._drop(len(data))
        if self._draining or self.transport.is_closing():
            return
        starts = self._pending_bytes == 0 and (self.cycle is None or self._idle)
        self._started = 0
        super().data_received(_without_upgrade(data) if starts else data)
        if self._draining or self.transport.is_closing() or not (self._in_headers or self._idle):
            return
        # Where headers follow a body, their part of these bytes is unknown, and not counted.
        countable = self._pending_bytes > 0 or (starts and self._started < 2)
        self._pending_bytes += len(data) if countable else 1
        if self._in_headers and self._pending_bytes > MAX_HEADER_BYTES:
            self._refuse(HeadersTooLargeError())
        elif self._header_timer is None:
            self._await_headers()

    @property
    def _idle(self) -> bool:
        """Whether every request is answered: further bytes, as an empty line, must be a request."""
        cycle = self.cycle
        return cycle is not None and cycle.response_complete and not cycle.more_body

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._parsed_bytes, self._dropped_bytes = True, 0, 0
        self._started += 1

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_headers, self._pending_bytes = False, 0
        self._cancel_header_timer()
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise BadHttpError  # RFC 9112, section 3.2
        if len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            raise BadHttpError
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = cast(Transport, DrainingTransport(self, cycle))
        cycle.on_response = partial(self._answered, cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn's own adds a callback to the task, which costs another turn of the event loop.
        self.tasks.add(self.loop.create_task(self._run(cycle, app)))

    async def _run(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            await cycle.run_asgi(app)
        finally:
            self.tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def on_body(self, body: bytes) -> None:
        cycle = cast(Any, self.cycle)
        if cycle.response_complete:
            self._drop(len(body))
            return
        # Bytes where uvicorn has a bytearray: `receive` returns them without a copy.
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn no longer looks once the answer is out
        cast(dict[str, Any], self.cycle.scope)[RECEIVED] = True

    def drain(self, cycle: RequestResponseCycle) -> None:
        """Close after the client has sent the rest of its upload, or at the limits."""
        if not cycle.more_body:
            self.transport.close()
        elif not self._draining:
            self._drain()

    def _drain(self) -> None:
        """Send the end of the responses, and drop what comes until the client closes."""
        self._draining = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(self._limits.drain_timeout_s, self.transport.close)

    def _drop(self, size_bytes: int) -> None:
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > self._limits.drain_bytes:
            self.transport.close()

    def _answered(self, cycle: RequestResponseCycle) -> None:
        cast(DrainingTransport, cycle.transport).flush()
        self.on_response_complete()
        if self._draining and not cycle.more_body:
            self._drain()  # a later request was refused meanwhile
        elif cycle.more_body and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.loop.call_later(self._limits.drain_timeout_s, self._close_unless_sent, cycle)

    def shutdown(self) -> None:
        if self._draining:
            self.transport.close()
        super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """Called by uvicorn when the parser stops at an offer to upgrade that was not renamed.

        The parser drops the body of such a request, so it cannot be answered correctly.
        """
        if any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self._send_refusal(BadHttpError())

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP; called by uvicorn while it handles the parser's exception."""
        error = sys.exception()
        cause = error.__cause__ or error.__context__ if error else None
        is_own = isinstance(cause, HeadersTooLargeError | MemoryError)
        self._refuse(cause if is_own and cause else BadHttpError())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_header_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def _count(self, size: int) -> None:
        # Headers may be complete in the first bytes received, and still be too large.
        self._parsed_bytes += size
        if self._parsed_bytes > MAX_HEADER_BYTES:
            raise HeadersTooLargeError  # the parser stops, and uvicorn calls `send_400_response`

    def _close_unless_sent(self, cycle: RequestResponseCycle) -> None:
        if cycle.more_body:
            self.transport.close()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(
            self._limits.header_timeout_s, self._headers_timed_out
        )

    def _headers_timed_out(self) -> None:
        # A connection without a request is closed without a response.
        if self._pending_bytes:
            self._refuse(RequestTimeoutError())
        else:
            self.transport.close()

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, error: BaseException) -> None:
        self._cancel_header_timer()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            # An earlier request is being answered; nothing may be sent before its response.
            cycle.keep_alive, self._draining = False, True
            self.pipeline.clear()
            return
        self._send_refusal(error)

    def _send_refusal(self, error: BaseException) -> None:
        self.transport.write(self._limits.refuse(error))
        if self.cycle is not None:  # its client gets no other response
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if len(self.connections) > 2 * self._limits.connections:
            self.transport.close()  # no file descriptors are left for it
        else:
            self._drain()


class DrainingTransport:
    """The transport of a request: closing it lets the client read its response first.

    The head of a response is sent together with the first part of its body: a second system call
    would cost as much as all of the formatting.
    """

    def __init__(self, connection: LimitedHttpProtocol, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._write = connection.transport.write
        self._head: bytes | None = None
        self.is_closing = connection.transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head is None and self._cycle.response_started:
            self._head = data
        elif self._head:
            data, self._head = self._head + data, b""
            self._write(data)
        else:  # "100 Continue", or more of the body
            self._write(data)

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head:
            self._write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._connection.drain(self._cycle)


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header Upgrade, which Java's clients send with a first request.

    HTTP lets a server ignore it; the parser would stop there, before the body. `data` starts with
    headers; it is changed only where they are complete, and only in them.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_HEADER_BYTES)
    if end < 0 or not (match := _UPGRADE.search(data, 0, end)):
        return data
    return data[: match.start()] + b"\r\nX-" + data[match.start(1) :]


def max_connections(configured: int) -> int:
    """The number of connections, at most `configured`, for which there are file descriptors.

    Each may also have a file open that is being sent.
    """
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return configured
    used = len(list(_OPEN_DESCRIPTORS.iterdir())) if _OPEN_DESCRIPTORS.is_dir() else 0
    available = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - used - RESERVED_DESCRIPTORS
    return max(1, min(configured, available // 2))


_OPEN_DESCRIPTORS = Path("/proc/self/fd")
