"""Promises of the emulated platform, with instances that are plain HTTP servers of the test."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from select import select

import pytest
from waiting import until

from mien.errors import ConfigError, ProgramError, StackError
from mien.stages.emulate import cloud_run, scenario
from mien.stages.emulate.cloud_run import REQUEST_CAP_BYTES, CloudRun
from mien.stages.emulate.instances import Limits, Stopped
from mien.storage.workspace import Workspace


class SmallServer:
    """An instance that answers at once, unless the test makes it wait or fail."""

    def __init__(self, status: int = 200, peak_mb: float = 100.0, exit_status: int = 0) -> None:
        self.running, self.started_at = True, 0.0
        self.status, self.peak_mb, self.exit_status = status, peak_mb, exit_status
        self.bodies: list[int] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # closing waits for those that answer
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        options = {"poll_interval": 0.02}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=options)
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        instance = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, b'{"tasks": ["gesture"]}')

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self.rfile.read(length)
                instance.bodies.append(length)
                instance.may_answer.wait()
                is_picture = self.headers["Content-Type"] == "image/png"
                self._answer(instance.status if is_picture else 415, b"{}")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        return Handler

    def cpu_s(self) -> float:
        return 1.0

    def peak_memory_mb(self) -> float:
        return self.peak_mb

    def log(self) -> str:
        return "the last line"

    def stop(self, patience_s: float) -> Stopped:
        if self.running:
            self.running = False
            self._server.shutdown()
            self._thread.join()
            while select([self._server], [], [], 0)[0]:  # connections that nobody accepted yet
                self._server.handle_request()
            self._server.server_close()
        return Stopped(0.5, self.exit_status == 137, self.exit_status)


class Service:
    """Starts instances and remembers them."""

    def __init__(self) -> None:
        self.instances: list[SmallServer] = []
        self.status, self.peak_mb, self.exit_status = 200, 100.0, 0

    def start(self) -> SmallServer:
        self.instances.append(SmallServer(self.status, self.peak_mb, self.exit_status))
        return self.instances[-1]


@pytest.fixture
def service() -> Iterator[Service]:
    started = Service()
    yield started
    for instance in started.instances:
        instance.may_answer.set()
        instance.stop(0)


def test_the_first_request_starts_an_instance_and_waits_for_it(service: Service) -> None:
    """None runs before, and the second request goes to the same one."""
    platform = CloudRun(service.start)
    assert service.instances == []
    statuses = [platform.request("/predict/gesture", b"x", "image/png").status for _ in range(2)]
    assert statuses == [200, 200]
    assert len(service.instances) == 1


def test_a_body_above_the_limit_reaches_no_instance(service: Service) -> None:
    """32 MiB are passed on; one byte more is refused before an instance is even started."""
    platform = CloudRun(service.start)
    beyond = platform.request("/predict/gesture", bytes(REQUEST_CAP_BYTES + 1), "image/png")
    assert (beyond.status, service.instances) == (413, [])
    largest = platform.request("/predict/gesture", bytes(REQUEST_CAP_BYTES), "image/png")
    assert (largest.status, service.instances[0].bodies) == (200, [REQUEST_CAP_BYTES])


def test_a_request_that_was_sent_before_is_answered_by_the_stopped_instance(
    service: Service,
) -> None:
    """The next request starts another instance, also while the first one still answers."""
    platform, responses = CloudRun(service.start), list[int]()

    def send() -> None:
        responses.append(platform.request("/predict/gesture", b"x", "image/png").status)

    first = platform.instance
    assert first is service.instances[0]
    service.instances[0].may_answer.clear()
    client = threading.Thread(target=send)
    client.start()
    until(lambda: service.instances[0].bodies)
    stopper = threading.Thread(target=platform.scale_to_zero)
    stopper.start()
    until(lambda: not service.instances[0].running)
    send()
    assert (responses, len(service.instances)) == ([200], 2)
    service.instances[0].may_answer.set()
    client.join()
    stopper.join()
    assert responses == [200, 200]


def test_an_instance_that_ends_before_it_is_ready_is_reported_with_its_log() -> None:
    """Not waited for until the startup probe gives up."""

    def ended() -> SmallServer:
        instance = SmallServer()
        instance.stop(0)
        return instance

    with pytest.raises(StackError, match=r"ended before it was ready.*\n.*the last line"):
        CloudRun(ended).request("/predict/gesture", b"x", "image/png")


def test_a_service_that_keeps_the_contract_has_no_failures(service: Service) -> None:
    """Every request is counted, over two instances, and the next cold start has a third."""
    report = scenario.run(CloudRun(service.start), Limits(), requests=20, clients=3)
    assert report.failures == []
    assert report.lost == 0
    assert report.requests >= 40
    assert len(service.instances) == 3
    assert not any(instance.running for instance in service.instances)


@pytest.mark.parametrize(
    ("change", "value", "failure"),
    [
        ("peak_mb", 2000.0, "memory: expected at most 1074 MB, found 2000"),
        ("exit_status", 137, "SIGTERM: expected an end within 10 s, found none"),
        ("exit_status", 3, "exit status: expected 0, found 3"),
    ],
)
def test_what_breaks_the_contract_is_a_failure(
    service: Service, change: str, value: float, failure: str
) -> None:
    """Named with what was expected and found."""
    setattr(service, change, value)
    report = scenario.run(CloudRun(service.start), Limits(), requests=20, clients=2)
    assert failure in report.failures


def test_lost_requests_are_counted_with_their_status(service: Service) -> None:
    """Of the second instance, whose answers are errors."""

    def start() -> SmallServer:
        service.status = 500 if len(service.instances) == 1 else 200
        return service.start()

    report = scenario.run(CloudRun(start), Limits(), requests=20, clients=2)
    assert report.lost >= 20
    assert report.failures == [f"{report.lost} requests were lost, with status [500]"]


def test_a_service_that_does_not_answer_its_first_request_is_an_error(service: Service) -> None:
    """Nothing else is measured then, and no instance is left."""
    service.status = 503
    with pytest.raises(StackError, match="expected status 200, found 503"):
        scenario.run(CloudRun(service.start), Limits(), requests=20, clients=2)
    assert not service.instances[0].running


def test_a_failure_of_the_engine_under_load_ends_the_run(service: Service) -> None:
    """The second instance cannot be made: no client may wait for it for ever."""

    def start() -> SmallServer:
        if service.instances:
            raise ProgramError("`docker create`: no space left on device.")
        return service.start()

    with pytest.raises(ProgramError, match="no space left"):
        scenario.run(CloudRun(start), Limits(), requests=20, clients=2)


def test_a_setting_without_a_value_is_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match="expected NAME=VALUE, found 'MIEN_THREADS'"):
        cloud_run.service(Limits(), ["MIEN_THREADS"], None, [], Workspace(tmp_path))
