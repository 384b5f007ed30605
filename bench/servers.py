"""The servers that are compared: how each is installed, started, asked, and what it answers.

Each runs pinned to one core with one thread for each operation. Those that it is not the turn of
are stopped (SIGSTOP), so that none takes time from another.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import load
from bench.page import ROOT
from bench.workloads import JSON, Question, Workload

SERVER_CORE, LOAD_CORE = 0, 1
OURS, OBVIOUS = "mien", "FastAPI + PyTorch, MediaPipe"
PATIENCE = 120.0
"""Seconds for a start; also MIEN_DEADLINE_S, as the rivals have no such limit or a long one."""
QUEUE = 128
"""MIEN_MAX_IN_FLIGHT: with its default of 32, mien would answer 503 to 32 of 64 clients."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien" / "bench"
_RIVALS = ROOT / "bench" / "rivals"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class NotThereError(Exception):
    """A server cannot be installed or started; the message says why."""


@dataclass(frozen=True)
class Server:
    """One way to serve the champions."""

    name: str
    command: Callable[[Path], list[str]]
    """From a scratch folder to what is run; the port is in $PORT."""
    wire: Callable[[str, Question], bytes]
    """From task and question to the request."""
    answer: Callable[[bytes], Mapping[str, Any]] = json.loads
    """From the body of an answer to mien's own form of it."""
    package: str = ""
    """Of requirements `bench/rivals/<package>.txt`; empty for the project's own environment."""
    licence: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A server that has answered."""

    server: Server
    process: subprocess.Popen[str]
    port: int
    _wires: dict[str, list[bytes]] = field(default_factory=dict)

    def tree(self) -> list[int]:
        """The process and all that it has started."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found += [int(child) for child in children.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """User and system seconds of the process and all that it has started, until now."""
        return sum(time.clock_gettime(_cpu_clock(pid)) for pid in self.tree())

    def signal(self, number: signal.Signals) -> None:
        for pid in self.tree():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        self.signal(signal.SIGSTOP)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let it run in the block, and stop it after."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def wires(self, workload: Workload) -> list[bytes]:
        """The workload's questions as this server wants them."""
        if workload.name not in self._wires:
            wire = self.server.wire
            self._wires[workload.name] = [wire(workload.task, q) for q in workload.questions]
        return self._wires[workload.name]

    def labels(self, asked: Sequence[Workload]) -> Iterator[str | None]:
        """What it answers to every question."""
        with self.turn():
            for workload in asked:
                for wire in self.wires(workload):
                    status, body = load.ask(self.port, wire)
                    yield self.server.answer(body)[workload.task] if status == 200 else str(status)

    def raw(self, workload: Workload, seconds: float, pause: float = 0.0) -> load.Slice:
        """The limit, measured within the process; only of a process of `bench.host`."""
        wanted = {"workload": workload.name, "seconds": seconds, "pause": pause}
        found = self._command(wanted)
        answers = len(found["latencies"])
        return load.Slice(found["seconds"], found["latencies"], answers, cpu_s=found["cpu_s"])

    def parts(self) -> dict[str, float]:
        """CPU seconds of each part until now; only of a process of `bench.host` with clocks."""
        found: dict[str, float] = self._command({"parts": True})
        return found

    def _command(self, wanted: Mapping[str, object]) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        return json.loads(_line(self.process))

    def end(self) -> None:
        """Let it end; what has not ended in a while is killed."""
        tree = self.tree()
        self.signal(signal.SIGCONT)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def installed(server: Server) -> Path:
    """The folder of programs of a server's environment, which is made when it is not there.

    Raises:
        NotThereError: uv is not there or cannot install the pinned versions.
    """
    if not server.package:
        return Path(sys.executable).parent
    pins = _RIVALS / f"{server.package}.txt"
    folder = CACHE / f"{server.package}-{sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not (folder / "done").is_file():
        uv = [sys.executable, "-m", "uv"] if find_spec("uv") else [shutil.which("uv") or "uv"]
        _call(server, [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        python = str(folder / "bin" / "python")
        _call(server, [*uv, "pip", "install", "--quiet", "--python", python, "-r", str(pins)])
        (folder / "done").touch()
    return folder / "bin"


def version(package: str) -> str:
    """The version of a package that its requirements pin."""
    for line in (_RIVALS / f"{package}.txt").read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("==")
        if name == package:
            return pinned
    raise NotThereError(f"bench/rivals/{package}.txt does not pin {package}.")


def start(server: Server, scratch: Path, asked: Sequence[Workload]) -> Running:
    """Start a server and wait until it has answered a question of each workload.

    Raises:
        NotThereError: it ends, or does not answer in time; the message has its last words.
    """
    folder = scratch / server.name.partition(" ")[0]
    folder.mkdir(exist_ok=True)
    port = free_port()
    env = os.environ | _ONE_THREAD | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    env |= {"PORT": str(port), "PATH": f"{installed(server)}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = pinned(server.command(folder), env | dict(server.env), log, folder)
    running = Running(server, process, port)
    try:
        _wait(running, [running.wires(each)[0] for each in asked], folder / "log")
    except NotThereError:
        running.end()
        raise
    return running


def pinned(
    command: list[str], env: Mapping[str, str], log: Any, folder: Path = ROOT
) -> subprocess.Popen[str]:
    """Start a process, and all that it starts, on the servers' core."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if "bench.host" in command else log,
        stderr=log,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )


def _cpu_clock(pid: int) -> int:
    """The clock of another process's CPU time, as Linux numbers it (clock_getcpuclockid(3))."""
    return ~pid << 3 | 2


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(running: Running, wires: list[bytes], log: Path) -> None:
    if _is_host(running.process):  # it prints its port, once its models are warm
        running.port = int(_line(running.process, log))
    end, left = time.monotonic() + PATIENCE, list(wires)
    status: int | str = "no answer"
    while time.monotonic() < end and running.process.poll() is None:
        with suppress(OSError, EOFError, ValueError):
            status, _ = load.ask(running.port, left[0])
            if status == 200:
                left.pop(0)
            if not left:
                return
        if status != 200:
            time.sleep(0.05)
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    ended = running.process.poll()
    state = "does not answer in time" if ended is None else f"ended with status {ended}"
    raise NotThereError(f"{running.server.name} {state} ({status}): {' / '.join(words)}")


def _is_host(process: subprocess.Popen[str]) -> bool:
    return isinstance(process.args, list) and "bench.host" in process.args


def _line(process: subprocess.Popen[str], log: Path | None = None) -> str:
    assert process.stdout
    found = process.stdout.readline()
    if not found:
        words = log.read_text(encoding="utf-8").strip().splitlines()[-3:] if log else []
        raise NotThereError(f"mien ended with status {process.wait()}: {' / '.join(words)}")
    return found


def _call(server: Server, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotThereError(f"{server.name} needs uv to be installed: {error}.") from None
    if done.returncode:
        words = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise NotThereError(f"{server.name} cannot be installed: {words}")


# How each server wants its questions.


def mien_wire(task: str, question: Question) -> bytes:
    if question.kind == JSON:
        return load.request(f"/predict/{task}", question.content, JSON)
    return load.form(f"/predict/{task}", "file", question.content, question.kind)


def _obvious_wire(task: str, question: Question) -> bytes:
    if question.kind == JSON:
        return load.request(f"/predict/{task}/landmarks", question.content, JSON)
    return mien_wire(task, question)


def _litserve_wire(task: str, question: Question) -> bytes:
    if question.kind == JSON:
        return mien_wire(task, question)
    body = json.dumps({"image": base64.b64encode(question.content).decode()})
    return load.request(f"/predict/{task}", body.encode(), JSON)


def _bento_wire(task: str, question: Question) -> bytes:
    if question.kind == JSON:
        return load.request("/landmarks", question.content, JSON)
    return load.form(f"/{task}", "file", question.content, question.kind)


def _mlserver_wire(task: str, question: Question) -> bytes:
    name, content = "landmarks", question.content.decode() if question.kind == JSON else ""
    parameters = {"content_type": "str"}
    if question.kind != JSON:
        name, content = "image", base64.b64encode(question.content).decode()
        parameters = {"content_type": "base64"}
    sent = {"name": name, "datatype": "BYTES", "shape": [1, 1], "parameters": parameters}
    body = json.dumps({"inputs": [{**sent, "data": [content]}]})
    return load.request(f"/v2/models/{task}/infer", body.encode(), JSON)


def _mlserver_answer(body: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(json.loads(body)["outputs"][0]["data"][0])
    return found


def _mlserver_command(scratch: Path) -> list[str]:
    """Write the settings files that MLServer reads: its own, and one for each model."""
    for task in ("emotion", "gesture"):
        (scratch / task).mkdir(exist_ok=True)
        model = {"name": task, "implementation": "bench.rivals.mlserver_app.Runtime"}
        (scratch / task / "model-settings.json").write_text(json.dumps(model))
    ports = {"grpc_port": free_port(), "metrics_port": free_port()}
    own = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (scratch / "settings.json").write_text(json.dumps(own))
    # The port of HTTP is known in the environment alone.
    return ["sh", "-c", f"MLSERVER_HTTP_PORT=$PORT exec mlserver start {scratch}"]


def known(workloads: Path, originals: Path) -> list[Server]:
    """All servers, mien's own first; the folders are those of `workloads` and `originals`."""
    host = [sys.executable, "-m", "bench.host", str(workloads)]
    obvious = [sys.executable, "-m", "bench.rivals.obvious", str(originals)]
    settings = {
        "MIEN_MAX_IN_FLIGHT": str(QUEUE),
        "MIEN_DEADLINE_S": str(PATIENCE),
        "MIEN_THREADS": "1",
        "MIEN_PREDICTION_LOG": "predictions.db",
    }
    return [
        Server(OURS, lambda _: host, mien_wire, env=settings),
        Server(
            OBVIOUS,
            lambda _: obvious,
            _obvious_wire,
            licence="MIT, BSD-3-Clause, MIT, Apache-2.0, BSD-3-Clause",
        ),
        Server(
            "LitServe",
            lambda _: ["python", "-m", "bench.rivals.litserve_app"],
            _litserve_wire,
            package="litserve",
            licence="Apache-2.0",
        ),
        Server(
            "BentoML",
            lambda _: ["sh", "-c", "exec bentoml serve bench.rivals.bento_app:Mien -p $PORT"],
            _bento_wire,
            package="bentoml",
            licence="Apache-2.0",
            env={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOST": "127.0.0.1"},
        ),
        Server(
            "MLServer",
            _mlserver_command,
            _mlserver_wire,
            _mlserver_answer,
            package="mlserver",
            licence="Apache-2.0",
        ),
    ]
