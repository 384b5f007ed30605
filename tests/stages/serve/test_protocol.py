"""What a connection may take, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from waiting import PATIENCE, until

from mien.config import Settings
from mien.stages.serve import protocol
from mien.stages.serve.protocol import MAX_HEADER_BYTES, DrainingTransport, max_connections

ServerProcess = Callable[..., AbstractContextManager[Any]]
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE)


def ask(address: str, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the pieces; status, headers and body of what comes until the server closes."""
    with closing(connect(address)) as line:
        for piece in pieces:
            line.sendall(piece)
        return answer(line)


def answer(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = b""
    while more := line.recv(65536):
        response += more
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(each.lower().split(": ", 1) for each in lines)
    return int(first.split()[1]) if first else 0, headers, body


@pytest.mark.parametrize(
    "sent",
    [
        b"nothing that HTTP knows\r\n\r\n",
        b"GET / HTTP/9.1\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told_so(server_process: ServerProcess, sent: bytes) -> None:
    """As a problem document with a trace_id, and the connection is closed."""
    with server_process() as server:
        status, headers, body = ask(server.address, sent)
    response = json.loads(body)
    assert (status, response["status"]) == (400, 400)
    assert response["type"] == "/errors/bad-http"
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-trace-id"] == response["trace_id"] != ""
    assert headers["connection"] == "close"
    assert headers["x-frame-options"] == "deny"


@pytest.mark.parametrize("name", ["X-Long", "Cookie"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_has_a_size(server_process: ServerProcess, name: str, at_once: bool) -> None:
    """One long header, whole or endless, and the server remembers no more than that."""
    with server_process() as server:
        value = b"a" * MAX_HEADER_BYTES
        head = LIVE + name.encode() + b": " + value + (b"\r\nConnection: close\r\n\r\n" * at_once)
        status, _, body = ask(server.address, head)
        assert (status, json.loads(body)["type"]) == (431, "/errors/headers-too-large")
        fitting = LIVE + b"X: " + value[: MAX_HEADER_BYTES // 2] + b"\r\nConnection: close\r\n\r\n"
        assert ask(server.address, fitting)[0] == 200


def test_a_thousand_headers_are_too_many(server_process: ServerProcess) -> None:
    """However short each of them is."""
    with server_process() as server:
        lines = b"".join(b"X-%04d: 12345678\r\n" % number for number in range(1200))
        assert ask(server.address, LIVE + lines + b"\r\n")[0] == 431


def test_a_head_has_its_time(server_process: ServerProcess) -> None:
    """A begun request is answered 408; where nothing came, the connection is closed."""
    with server_process(MIEN_HEADER_TIMEOUT_S="2") as server:
        status, _, body = ask(server.address, b"GET /livez HTTP/1.1\r\nHo")
        assert (status, json.loads(body)["type"]) == (408, "/errors/request-timeout")
        assert ask(server.address) == (0, {}, b"")


def test_a_second_head_on_a_connection_has_its_time_too(server_process: ServerProcess) -> None:
    """The first request was answered; of the second one there is but a part."""
    with (
        server_process(MIEN_HEADER_TIMEOUT_S="2") as server,
        closing(connect(server.address)) as line,
    ):
        line.sendall(LIVE + b"\r\n")
        assert b"200 OK" in one(line)
        line.sendall(b"GET /livez HT")
        assert answer(line)[0] == 408


def test_too_many_connections_are_told_503(server_process: ServerProcess) -> None:
    """Those that are there go on; when one goes, another one may come."""
    with server_process(MIEN_MAX_CONNECTIONS="2", MIEN_HEADER_TIMEOUT_S="3000") as server:
        held = [connect(server.address) for _ in range(2)]
        for line in held:
            line.sendall(LIVE + b"\r\n")
            assert b"200 OK" in one(line)
            line.sendall(b"GET")
        status, headers, body = ask(server.address)
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["type"] == "/errors/overloaded"
        for line in held:
            line.close()
        while ask(server.address, LIVE + b"Connection: close\r\n\r\n")[0] == 503:
            pass


def test_an_early_answer_reaches_a_client_that_is_still_sending(
    server_process: ServerProcess,
) -> None:
    """A megabyte is declared as more than is taken: 413, though its sender reads at the end."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with server_process(MIEN_MAX_UPLOAD_MB="0.5") as server:
        length = b"Content-Length: 1000000\r\nConnection: close\r\n\r\n"
        status, _, body = ask(server.address, head + length, b"a" * 900_000)
        assert (status, json.loads(body)["type"]) == (413, "/errors/too-large")


@pytest.mark.long
def test_refusals_reach_clients_that_read_after_sending(server_process: ServerProcess) -> None:
    """However slowly they send: a cut after some seconds would destroy the response."""
    key = "0123456789abcdef"
    form, json_kind = "multipart/form-data; boundary=x", "application/json"
    refused = {
        401: ("/predict/shape", form, ""),
        404: ("/predict/nothing", form, key),
        405: ("/livez", form, key),
        413: ("/predict/shape", form, key),
        415: ("/predict/colour", json_kind, key),
    }

    def send(case: tuple[str, str, str]) -> int:
        path, kind, key = case
        size = 1_000_000 if case == refused[413] else 400_000
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"X-API-Key: {key}"]
        head = "\r\n".join([*lines, f"Content-Length: {size}", "", ""])
        with closing(connect(server.address)) as line:
            line.sendall(head.encode())
            for _ in range(20):
                pause.wait(0.35)
                line.sendall(b"a" * (size // 20))
            return int(one(line).split()[1])

    pause = threading.Event()
    settings = {"MIEN_API_KEYS": f"x:{key}", "MIEN_MAX_UPLOAD_MB": "0.5"}
    with server_process(**settings) as server, ThreadPoolExecutor(len(refused)) as pool:
        assert list(pool.map(send, refused.values())) == list(refused)


@pytest.mark.parametrize("limit", ["MIEN_MAX_IN_FLIGHT", "MIEN_MAX_CONNECTIONS"])
def test_a_busy_server_tells_clients_that_read_after_sending(
    server_process: ServerProcess, limit: str
) -> None:
    """Uploads that do not go on hold all places. Another client sends all of its own on a slow
    line, with pauses as long as an idle connection lives, and reads 503 then."""
    size, pause = 400_000, threading.Event()
    kind = b"Content-Type: multipart/form-data; boundary=x"
    head = b"POST /predict/shape HTTP/1.1\r\nHost: x\r\n%b\r\nContent-Length: %d\r\n\r\n"
    settings = {limit: "4", "MIEN_KEEP_ALIVE_S": "1"}
    with server_process(**settings) as server, ExitStack() as places:
        for _ in range(4):
            place = places.enter_context(closing(connect(server.address)))
            place.sendall(head % (kind, size))
        until(lambda: ask(server.address, post(BODY, b"Connection: close"))[0] == 503)
        with closing(connect(server.address)) as line:
            line.sendall(head % (kind, size))
            for _ in range(2):
                pause.wait(1.3)
                line.sendall(b"a" * (size // 2))
            assert one(line).startswith(b"HTTP/1.1 503")


def test_a_refused_upload_has_limits(server_process: ServerProcess) -> None:
    """Of bytes, five of the largest uploads, and of time: beyond them the connection is closed."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"
    for settings, rest in (
        ({"MIEN_BODY_TIMEOUT_S": "3000"}, b"a" * 6_000),
        ({"MIEN_BODY_TIMEOUT_S": "1"}, b"a"),
    ):
        small = server_process(MIEN_MAX_UPLOAD_MB="0.001", **settings)
        with small as server, closing(connect(server.address)) as line:
            line.sendall(head)
            assert one(line).startswith(b"HTTP/1.1 413")
            line.sendall(rest)
            assert ended(line)


def ended(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.long
def test_a_connection_goes_on_after_an_early_answer(server_process: ServerProcess) -> None:
    """The rest of the upload has come and is dropped: nothing closes it later."""
    early = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
    small = server_process(MIEN_MAX_UPLOAD_MB="0.001", MIEN_BODY_TIMEOUT_S="5")
    with small as server, closing(connect(server.address)) as line:
        line.sendall(early)
        assert one(line).startswith(b"HTTP/1.1 413")
        line.sendall(b"a" * 5000)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            line.sendall(LIVE + b"\r\n")
            assert one(line).startswith(b"HTTP/1.1 200")


def test_a_refused_connection_reads_why(server_process: ServerProcess) -> None:
    """Also a client that sends its whole upload first."""
    upload = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 900_000
    with (
        server_process(MIEN_MAX_CONNECTIONS="1", MIEN_HEADER_TIMEOUT_S="3000") as server,
        closing(connect(server.address)) as other,
    ):
        other.sendall(LIVE + b"\r\nGET")
        assert b"200 OK" in one(other)
        assert ask(server.address, upload)[0] == 503


def test_idle_connections_make_room(server_process: ServerProcess) -> None:
    """The one that was idle for longest is closed; one with a part of a request is not."""
    with server_process(MIEN_MAX_CONNECTIONS="3") as server, ExitStack() as places:
        lines = [places.enter_context(closing(connect(server.address))) for _ in range(3)]
        for line in lines:
            line.sendall(LIVE + b"\r\n")
            assert b"200 OK" in one(line)
        lines[0].sendall(b"GET /livez")
        lines[2].sendall(LIVE + b"\r\n")
        assert b"200 OK" in one(lines[2])
        closing_request = LIVE + b"Connection: close\r\n\r\n"
        assert ask(server.address, closing_request)[0] == 503, "they were busy a moment ago"
        until(lambda: ask(server.address, closing_request)[0] == 200)
        assert ended(lines[1])
        for line, rest in ((lines[0], b" HTTP/1.1\r\nHost: x\r\n\r\n"), (lines[2], LIVE + b"\r\n")):
            line.sendall(rest)
            assert b"200 OK" in one(line)


def test_idle_connections_outlive_those_of_proxies(server_process: ServerProcess) -> None:
    """A setting decides when they end, and its default is longer than 75 seconds."""
    assert Settings().keep_alive_s > 75
    with server_process(MIEN_KEEP_ALIVE_S="1") as server, closing(connect(server.address)) as line:
        line.sendall(LIVE + b"\r\n")
        assert b"200 OK" in one(line)
        assert ended(line)


def one(line: socket.socket) -> bytes:
    """One whole answer on a connection that goes on."""
    response = b""
    while b"\r\n\r\n" not in response:
        response += line.recv(65536)
    head, _, body = response.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536)
    return head


def post(body: bytes, *headers: bytes) -> bytes:
    kind = b"Content-Type: application/json"
    length = b"Content-Length: %d" % len(body)
    lines = [b"POST /predict/shape HTTP/1.1", b"Host: x", *headers, kind, length]
    return b"\r\n".join([*lines, b"", body])


BODY = b'{"point": {"values": [0.1, 0.2, 0.7]}}'
OFFER = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")


def test_an_offer_of_another_protocol_is_not_heeded(server_process: ServerProcess) -> None:
    """As Java's clients make it with each first request: it is answered, body and all, again on
    the same connection too."""
    with server_process() as server, closing(connect(server.address)) as line:
        for _ in range(2):
            line.sendall(post(BODY, *OFFER))
            response = one(line)
            assert response.startswith(b"HTTP/1.1 200"), response


def test_an_offer_that_comes_in_pieces_is_refused(server_process: ServerProcess) -> None:
    """The parser would drop the body; an answer to half a request would be a wrong one."""
    with server_process() as server, closing(connect(server.address)) as line:
        sent = post(BODY, *OFFER)
        cut = sent.index(b"Upgrade: h2c") + 3
        line.sendall(sent[:cut])
        assert ask(server.address, LIVE + b"Connection: close\r\n\r\n")[0] == 200
        line.sendall(sent[cut:])
        assert answer(line)[0] == 400
        assert ask(server.address, LIVE + b"Connection: close\r\n\r\n")[0] == 200
        assert not [each for each in server.lines if "Traceback" in each]


def test_a_body_is_never_altered(server_process: ServerProcess) -> None:
    """Whatever stands in it; else the next request would begin within it."""
    content = b"--x\r\nUpgrade: y\r\n\r\nz\r\n--x--\r\nGE"
    head = (
        b"POST /predict/shape HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x"
    )
    first = head + b"\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    with server_process() as server:
        status, _, response = ask(
            server.address, first + b"T /errors/request-timeout HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    assert response.count(b"HTTP/1.1 ") == 0 or b"HTTP/1.1 200" not in response
    assert status == 422


def test_a_segment_of_many_offers_holds_nobody_up(server_process: ServerProcess) -> None:
    """A quarter of a megabyte of them is refused as any head of that size."""
    with server_process() as server:
        flood = LIVE + b"upgrade:" + b"\r\nupgrade:" * 25_000
        with closing(connect(server.address)) as line:
            line.sendall(flood)
            assert answer(line)[0] in (400, 431)


def test_few_requests_may_be_sent_ahead(server_process: ServerProcess) -> None:
    """A client that sends thousands before it reads is cut off; its first ones are answered."""
    with server_process() as server, closing(connect(server.address)) as line:
        line.sendall(post(BODY) + (LIVE + b"\r\n") * 3000)
        response = b""
        try:
            while more := line.recv(65536):
                response += more
        except ConnectionResetError:
            pass
    assert response.startswith(b"HTTP/1.1 200")
    assert response.count(b"HTTP/1.1 200") < 100


def test_some_requests_may_be_sent_ahead(server_process: ServerProcess) -> None:
    """And are answered in their order."""
    with server_process() as server:
        last = LIVE + b"Connection: close\r\n\r\n"
        with closing(connect(server.address)) as line:
            line.sendall(post(BODY) + (LIVE + b"\r\n") * 2 + last)
            response = b""
            while more := line.recv(65536):
                response += more
    assert response.count(b"HTTP/1.1 200") == 4
    assert response.index(b"confidence") < response.index(b'{"status":"ok"}')


def test_a_long_body_before_a_head_is_no_long_head(server_process: ServerProcess) -> None:
    """Both in one segment: 60 kB of body, and the beginning of the next request."""
    with server_process() as server, closing(connect(server.address)) as line:
        line.sendall(post(BODY + b" " * 60_000) + b"GET /livez HT")
        line.sendall(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = b""
        while more := line.recv(65536):
            response += more
    assert response.count(b"HTTP/1.1 200") == 2


def test_refusals_on_this_level_are_counted(server_process: ServerProcess) -> None:
    """They are requests that were refused for what they are."""
    with server_process() as server:
        ask(server.address, b"x\r\n\r\n")
        page = urlopen(f"{server.address}/metrics", timeout=PATIENCE).read().decode()
    assert 'mien_rejected_total{reason="bad-http"} 1.0' in page


def test_connections_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few descriptors there are few connections, and always one."""
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    few = max_connections(512)
    assert 1 <= few <= 64 - protocol.RESERVED_DESCRIPTORS
    assert max_connections(few - 1 or 1) == (few - 1 or 1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
    assert max_connections(512) == 1


def test_head_and_body_of_a_response_are_sent_together() -> None:
    """One system call and one packet; what comes before, later or alone is sent as it is."""
    sent = list[bytes]()
    connection: Any = SimpleNamespace(
        transport=SimpleNamespace(write=sent.append, is_closing=lambda: False),
        drain=lambda _: sent.append(b"closed"),
    )
    cycle: Any = SimpleNamespace(response_started=False)
    transport = DrainingTransport(connection, cycle)
    transport.write(b"100 Continue")
    cycle.response_started = True
    for part in (b"head ", b"body", b"more"):
        transport.write(part)
    transport.flush()
    assert sent == [b"100 Continue", b"head body", b"more"]
    sent.clear()
    alone = DrainingTransport(connection, cycle)
    alone.write(b"head of HEAD")
    alone.close()
    assert sent == [b"head of HEAD", b"closed"]
