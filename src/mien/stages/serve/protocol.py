"""HTTP on a connection, within bounds: uvicorn's protocol over httptools, which sets none itself.

Bounds the number of connections, the size of a request's head, the time for it to arrive, and the
time for a client to take its answer. What is wrong on this level is answered with a problem
document too. Knows nothing of addresses and models.
"""

import re
import sys
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mien.errors import OverloadedError
from mien.stages.serve.errors import BadHttpError, HeadTooLargeError, TooSlowError

HEAD_BYTES = 16_384
"""The largest request line with headers."""
LINGER_SECONDS = 5.0
"""How long the rest of an upload that was answered early may come, and is dropped: a connection
that is closed with unread bytes takes the answer along."""
REFUSED_SECONDS = 1.0
"""The same for what was no request."""
TAKE_SECONDS = 30.0
"""How long a client may leave its answer standing."""
SPARE_DESCRIPTORS = 16
"""File descriptors left for prediction_log, models and what is opened for a moment."""


@dataclass(frozen=True)
class Bounds:
    """What connections may take."""

    connections: int
    head_seconds: float
    refuse: Callable[[BaseException], bytes]
    """Counts a refusal on this level and makes its whole answer."""


MOST_QUEUED = 32
"""Requests that a client may send ahead on one connection."""
_UPGRADE = re.compile(rb"\r\n(upgrade):", re.IGNORECASE)


class Bounded(HttpToolsProtocol):
    """One connection."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._waiting = 0
        """Bytes of a head that is still incomplete."""
        self._parsed = 0
        """Bytes of a head that are understood."""
        self._begun = 0
        """Heads that began in the bytes that came last."""
        self._in_head = True
        self._lingers = False
        """Whether all was said, and what still comes is dropped."""
        self._late: TimerHandle | None = None
        self._untaken: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            self._refuse(OverloadedError())
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._lingers or self.transport.is_closing():
            return
        begins = self._waiting == 0 and (self.cycle is None or self._idle)
        self._begun = 0
        super().data_received(_without_upgrade(data) if begins else data)
        if self._lingers or self.transport.is_closing() or not (self._in_head or self._idle):
            return
        # Where a head begins behind a body, its part of these bytes is not known, and not counted.
        whole = self._waiting > 0 or (begins and self._begun < 2)
        self._waiting += len(data) if whole else 1
        if self._in_head and self._waiting > HEAD_BYTES:
            self._refuse(HeadTooLargeError())
        elif self._late is None:
            self._await_head()

    @property
    def _idle(self) -> bool:
        """Whether all is answered: what comes then, an empty line say, must become a request."""
        cycle = self.cycle
        return cycle is not None and cycle.response_complete and not cycle.more_body

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._parsed = True, 0
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head, self._waiting = False, 0
        self._stop_waiting()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise BadHttpError  # as RFC 9112, section 3.2, has it
        if len(self.pipeline) >= MOST_QUEUED:
            raise BadHttpError
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = cast(Transport, _Gentle(self, cycle))
        cycle.on_response = partial(self._answered, cycle)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn no longer looks once the answer is out

    def linger(self, cycle: RequestResponseCycle) -> None:
        """Close, but only after what the client is still sending has come or been waited for."""
        if not cycle.more_body:
            self.transport.close()
        elif not self._lingers:
            self._lingers = True
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answered(self, cycle: RequestResponseCycle) -> None:
        self.on_response_complete()
        if cycle.more_body and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.loop.call_later(LINGER_SECONDS, self._drop, cycle)

    def _unsupported_upgrade_warning(self) -> None:
        """Called by uvicorn when the parser stops at an offer to upgrade that was not seen above.

        The parser drops the body of such a request, so that it cannot be answered rightly.
        """
        if any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self._tell(BadHttpError())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called by uvicorn while it handles the parser's exception."""
        fault = sys.exception()
        cause = fault.__cause__ or fault.__context__ if fault else None
        ours = isinstance(cause, HeadTooLargeError | MemoryError)
        self._refuse(cause if ours and cause else BadHttpError())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def _count(self, size: int) -> None:
        # A head may be complete within the bytes that arrive at once, and still be too large.
        self._parsed += size
        if self._parsed > HEAD_BYTES:
            raise HeadTooLargeError  # the parser stops, and uvicorn asks for the answer

    def _drop(self, cycle: RequestResponseCycle) -> None:
        if cycle.more_body:
            self.transport.close()

    def _await_head(self) -> None:
        self._late = self.loop.call_later(self._bounds.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        # A connection on which nothing was asked is closed without a word.
        if self._waiting:
            self._refuse(TooSlowError())
        else:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, error: BaseException) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            # An earlier request is being answered; nothing may stand before its answer.
            cycle.keep_alive, self._lingers = False, True
            self.pipeline.clear()
            return
        self._tell(error)

    def _tell(self, error: BaseException) -> None:
        self.transport.write(self._bounds.refuse(error))
        if self.cycle is not None:  # whoever still works on it has nobody to answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if isinstance(error, OverloadedError) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._lingers = True
        self.transport.write_eof()
        self.loop.call_later(REFUSED_SECONDS, self.transport.close)


class _Gentle:
    """The transport as a request sees it: closing it lets the client read its answer first."""

    def __init__(self, connection: Bounded, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        self._connection.linger(self._cycle)


def _without_upgrade(data: bytes) -> bytes:
    """Rename the offer to speak another protocol, as Java's clients make it with a first request.

    HTTP lets a server ignore it; the parser would stop there, before the body. `data` begins with
    a head; only where the whole head is there, and in it alone, is anything changed.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
    if end < 0 or not (found := _UPGRADE.search(data, 0, end)):
        return data
    return data[: found.start()] + b"\r\nX-" + data[found.start(1) :]


def affordable(wanted: int) -> int:
    """The number of connections, at most `wanted`, for which there are file descriptors.

    Each may have a file open that is being sent.
    """
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return wanted
    used = len(list(_OPEN.iterdir())) if _OPEN.is_dir() else 0
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - used - SPARE_DESCRIPTORS
    return max(1, min(wanted, room // 2))


_OPEN = Path("/proc/self/fd")
