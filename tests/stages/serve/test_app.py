"""The wiring, with a real server on a real port."""

import gc
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from waiting import PATIENCE

from mien.config import Settings
from mien.errors import BundleError, ConfigError, RegistryError
from mien.stages.serve import app, models, uploads
from mien.storage.workspace import Workspace

Draw = Callable[..., bytes]
StartServer = Callable[..., AbstractContextManager[Any]]
FREE = Settings(HOST="127.0.0.1", PORT=0, MIEN_THREADS=2)


def test_a_real_server_answers(workspace: Workspace, picture: Draw) -> None:
    """Over a real socket, on a port that the system chose."""
    with app.running(workspace, [], [], FREE) as address:
        answer = requests.post(f"{address}/predict", files={"file": picture()}, timeout=PATIENCE)
        probe = requests.head(f"{address}/health", timeout=PATIENCE)
        metrics = requests.get(f"{address}/metrics", timeout=PATIENCE)
    assert address.startswith("http://127.0.0.1:")
    assert answer.json()["colour"] == "star"
    assert (probe.status_code, probe.content) == (200, b"")
    assert "server" not in answer.headers
    assert (
        'mien_predictions_total{label="star",outcome="ok",task="colour",version="1"} 1.0'
        in metrics.text
    )
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=PATIENCE)


def test_what_is_loaded_is_out_of_the_collectors_way(workspace: Workspace) -> None:
    """For as long as the server runs, and no longer."""
    with app.running(workspace, [], [], FREE):
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_client_reads_why_its_upload_was_refused(workspace: Workspace) -> None:
    """The connection is not cut off while the client still sends: it gets to see the 413."""
    with app.running(workspace, ["shape"], [], FREE) as address:
        refused = requests.post(
            f"{address}/predict", files={"file": b"a" * 64_000_001}, timeout=PATIENCE
        )
        after = requests.get(f"{address}/livez", timeout=PATIENCE)
    assert (refused.status_code, refused.json()["type"]) == (413, "/errors/too-large")
    assert after.status_code == 200


def test_chunked_uploads_are_refused_too(workspace: Workspace) -> None:
    """Without a declared length, the bytes are counted."""
    settings = FREE.model_copy(update={"max_upload_mb": 0.05})

    def pieces() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield b"a" * 5_000

    with app.running(workspace, ["shape"], [], settings) as address:
        refused = requests.post(
            f"{address}/predict",
            data=pieces(),
            headers={"content-type": "multipart/form-data; boundary=x"},
            timeout=PATIENCE,
        )
    assert refused.status_code == 413


def test_a_request_in_work_is_answered_when_the_server_stops(
    workspace: Workspace, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is made only after the server has begun to stop, and is still sent."""
    entered, leave = threading.Event(), threading.Event()
    original, answers = uploads.decode, []

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert leave.wait(PATIENCE)
        return original(*arguments)

    async def shutdown(server: uvicorn.Server, *arguments: Any, **named: Any) -> None:
        leave.set()
        await stop(server, *arguments, **named)

    stop = uvicorn.Server.shutdown
    monkeypatch.setattr(uploads, "decode", slow)
    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    with app.running(workspace, ["shape"], [], FREE) as address:
        client = threading.Thread(
            target=lambda: answers.append(
                requests.post(f"{address}/predict", files={"file": picture()}, timeout=PATIENCE)
            )
        )
        client.start()
        assert entered.wait(PATIENCE)
        assert not leave.is_set()
    client.join()
    assert [answer.status_code for answer in answers] == [200]


def test_a_taken_port_is_told(workspace: Workspace) -> None:
    """The message names the variables and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = FREE.model_copy(update={"port": taken.getsockname()[1]})
        with (
            pytest.raises(ConfigError, match=r"PORT=\d+ cannot be used.*Set another PORT"),
            app.running(workspace, ["shape"], [], settings),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("no.such.host.invalid", "Set HOST to an address or a name of this machine"),
        ("http://0.0.0.0", "Set HOST to an address or a name of this machine"),
        ("a..b", "Set HOST to an address or a name of this machine"),
        ("192.0.2.1", "This machine has no such address. Set another HOST"),
    ],
)
def test_a_host_that_cannot_be_bound_is_told_what_to_do(host: str, advice: str) -> None:
    """Another port would not help."""
    with pytest.raises(ConfigError, match=f"HOST={host} .*cannot be used: .*{advice}") as failure:
        app.listen(FREE.model_copy(update={"host": host}))
    assert "Set another PORT" not in str(failure.value)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_are_those_of_both_families(workspace: Workspace, host: str) -> None:
    """The health check of a container asks 127.0.0.1."""
    with app.running(workspace, ["shape"], [], FREE.model_copy(update={"host": host})) as address:
        assert address.startswith("http://[::]:")
        port = address.rpartition(":")[2]
        for name in ("127.0.0.1", "[::1]", "localhost"):
            live = requests.get(f"http://{name}:{port}/livez", timeout=PATIENCE)
            assert live.status_code == 200


def test_one_address_of_ipv6_is_that_alone(workspace: Workspace) -> None:
    """Only `::` stands for all."""
    with app.listen(FREE.model_copy(update={"host": "::1"})) as listener:
        assert listener.getsockname()[0] == "::1"


def test_answers_do_not_wait_for_receipts() -> None:
    """A server that binds its own socket has to switch Nagle's algorithm off itself."""
    with (
        app.listen(FREE) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_running_says_why_a_model_is_not_there(workspace: Workspace) -> None:
    """Where a person waits for the server, a broken model is an error at once."""
    (workspace.version("shape", 3) / "model.onnx").write_bytes(b"")
    with (
        pytest.raises(BundleError, match="differs from its checksum"),
        app.running(workspace, ["shape"], [], FREE),
    ):
        pass


def test_nothing_to_serve_is_an_error_before_a_port_is_taken(tmp_path: Path) -> None:
    """`mien serve` in an empty folder ends with a message."""
    with pytest.raises(RegistryError, match="no champion"):
        app.run(Workspace(tmp_path), [], [], FREE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_process_says_where_it_is_and_stops_when_told(
    server_process: StartServer, number: signal.Signals
) -> None:
    """HOST and PORT come from the environment; the line at readiness has the bound port; requests
    are logged even where the command line keeps other libraries quiet."""
    with server_process() as server:
        health = requests.get(f"{server.address}/health", timeout=PATIENCE)
        sample = requests.get(f"{server.address}/sample/shape", timeout=PATIENCE).content
        url = f"{server.address}/predict/shape"
        answer = requests.post(url, files={"file": sample}, timeout=PATIENCE)
        server.process.send_signal(number)
        code = server.process.wait(PATIENCE)
    line, rest = server.lines[0], "".join(server.lines[1:])
    assert re.match(r"\S+T\S+ INFO mien serves colour, shape on http://127.0.0.1:", line)
    assert health.status_code == 200
    assert f'"trace_id": "{answer.json()["trace_id"]}", "route": "/predict/shape"' in rest
    assert "Traceback" not in rest
    assert code in ((0,) if number == signal.SIGHUP else (0, -number))


_STARTING = """
import os, signal, sys
from mien.stages.serve import exit_at_sigterm
exit_at_sigterm()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except SystemExit:  # as pydantic catches it while it builds a model
    pass
print("the start goes on", flush=True)
"""


def test_sigterm_ends_a_start_that_the_system_would_let_go_on() -> None:
    """For the first process of a container the default action is none; no library stops the end."""
    done = subprocess.run(
        [sys.executable, "-c", _STARTING],
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_sigterm_before_a_model_is_ready_has_no_grace_period(serving: Any) -> None:
    """Nobody sends requests then; a container that is stopped while it starts ends at once."""
    with serving() as client:
        server = app._Server(client.app)
        server.handle_exit(signal.SIGTERM, None)
        assert not server.should_exit, "a balancer needs time to switch"
        for slot in server._inference.models.slots:
            slot.state = "loading"
        waiting = app._Server(client.app)
        waiting.handle_exit(signal.SIGTERM, None)
        assert waiting.should_exit


def test_running_requests_have_the_drain_time(serving: Any) -> None:
    """Where a container is killed 10 seconds after SIGTERM, 30 would lose them all."""
    with serving(drain_s=8) as client:
        assert app._Server(client.app).config.timeout_graceful_shutdown == 8


def test_what_is_served_is_announced(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """A server without any model says so, as an error."""
    caplog.set_level(logging.INFO)
    made = models.Models(models.resolve_sources(workspace, ["shape"], []))
    models.log_loaded(made, "http://127.0.0.1:1")
    assert caplog.records[-1].levelno == logging.ERROR
    assert "mien serves no model on http://127.0.0.1:1: shape: loading" in caplog.text
