"""One instance of the service, within limits: a container of an image, or a process.

A process has the cores and the temporary folder of an instance; its memory is measured, not
limited, and its disk may be written to.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Protocol

from mien.errors import ProgramError

_MB = 1e6
_LOG_LINES = 20
ANSWER_S, PULL_S = 60.0, 900.0
"""The longest that the engine may take for a command; `create` may fetch the image first."""
_MEMORY = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")
"""Where a control group counts the most memory that it had, by version 2 and 1."""
_CPU = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpuacct/cpuacct.usage")
"""CPU time: `usage_usec N` of version 2, nanoseconds of version 1."""


@dataclass(frozen=True)
class Limits:
    """What an instance gets."""

    cpus: float = 1.0
    memory_mb: int = 1024


@dataclass(frozen=True)
class Stopped:
    """How an instance ended."""

    seconds: float
    killed: bool
    """Whether it had not ended by itself in time."""
    exit_status: int
    out_of_memory: bool = False


class Instance(Protocol):
    """A started instance. Times are those of `time.time`."""

    address: str

    @property
    def running(self) -> bool: ...

    @property
    def started_at(self) -> float:
        """When its first process started: the engine's own time before it is not the service's."""
        ...

    def cpu_s(self) -> float:
        """CPU time until now, 0 where the system does not tell."""
        ...

    def peak_memory_mb(self) -> float:
        """The most memory until now, 0 where the system does not tell."""
        ...

    def log(self) -> str:
        """Its last lines."""
        ...

    def stop(self, patience_s: float) -> Stopped:
        """Send SIGTERM, and SIGKILL after `patience_s`."""
        ...


@dataclass
class Process:
    """`mien serve` as a process of this machine."""

    home: Path
    limits: Limits
    environment: Mapping[str, str]
    port: int
    address: str = field(init=False)
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mien-emulate-")
        folder = Path(self._scratch.name)
        self._log = folder / "server.log"
        self.address = f"http://127.0.0.1:{self.port}"
        variables = {
            **os.environ,
            **self.environment,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "MIEN_HOME": str(self.home.resolve()),
            "MIEN_PREDICTION_LOG": str(folder / "predictions.db"),
            "TMPDIR": str(folder),
        }
        command = [sys.executable, "-m", "mien.cli", "serve"]
        with self._log.open("w") as out, _on_cores(ceil(self.limits.cpus)):
            self.started_at = time.time()
            self._process = subprocess.Popen(command, env=variables, stdout=out, stderr=out)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def cpu_s(self) -> float:
        with suppress(OSError, IndexError):
            stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
            user, system = stat.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def peak_memory_mb(self) -> float:
        with suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / _MB
        return 0.0

    def log(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])

    def stop(self, patience_s: float) -> Stopped:
        start, killed = time.monotonic(), False
        self._process.terminate()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            killed = True
            self._process.kill()
            self._process.wait()
        seconds = time.monotonic() - start
        self._scratch.cleanup()
        return Stopped(seconds, killed, self._process.returncode)


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Let processes that this thread starts run on that many cores; Linux alone knows how."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Container:
    """A container of an image: limits on CPU and memory, a read-only root, /tmp in memory."""

    image: str
    limits: Limits
    environment: Mapping[str, str]
    port: int
    """Inside; outside, the engine chooses one."""
    options: Sequence[str] = ()
    """More options of `docker create`."""
    address: str = field(init=False)

    def __post_init__(self) -> None:
        memory = f"{self.limits.memory_mb}m"
        variables = {**self.environment, "PORT": str(self.port)}
        self._name = docker(
            "create",
            f"--cpus={self.limits.cpus:g}",
            f"--memory={memory}",
            f"--memory-swap={memory}",
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            f"--publish=127.0.0.1::{self.port}",
            *(f"--env={name}={value}" for name, value in variables.items()),
            *self.options,
            self.image,
            timeout_s=PULL_S,
        )
        try:
            docker("start", self._name)
            self.address = f"http://{docker('port', self._name, str(self.port)).splitlines()[0]}"
        except BaseException:
            self._remove()
            raise

    @property
    def running(self) -> bool:
        return self._state("Running") == "true"

    @property
    def started_at(self) -> float:
        text = self._state("StartedAt")  # 2026-11-30T04:00:00.123456789Z
        return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()

    def cpu_s(self) -> float:
        text = self._first_of(_CPU)
        if text.startswith("usage_usec"):
            return int(text.split()[1]) / 1e6
        return int(text or 0) / 1e9

    def peak_memory_mb(self) -> float:
        return int(self._first_of(_MEMORY) or 0) / _MB

    def log(self) -> str:
        done = _run("logs", "--tail", str(_LOG_LINES), self._name)
        return (done.stdout + done.stderr).strip()

    def stop(self, patience_s: float) -> Stopped:
        start = time.monotonic()
        try:
            docker("stop", f"--time={patience_s:g}", self._name, timeout_s=patience_s + ANSWER_S)
            seconds = time.monotonic() - start
            status = int(self._state("ExitCode"))
            return Stopped(seconds, status == _KILLED, status, self._state("OOMKilled") == "true")
        finally:
            self._remove()

    def _remove(self) -> None:
        _run("rm", "--force", "--volumes", self._name)

    def _state(self, key: str) -> str:
        return docker("inspect", "--format", f"{{{{.State.{key}}}}}", self._name)

    def _first_of(self, paths: Sequence[str]) -> str:
        """What the first of these files of the container holds that is there; may be empty."""
        return _run("exec", self._name, "cat", *paths).stdout.strip()


_KILLED = 128 + 9


def docker(*arguments: str, timeout_s: float | None = None) -> str:
    """Run the Docker client, for at most `timeout_s`; returns what it writes.

    Raises:
        ProgramError: it is not installed, no engine answers in time, or the engine refuses.
    """
    done = _run(*arguments, timeout_s=timeout_s)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise ProgramError(
            f"`docker {arguments[0]}`: {reason}. Start the engine and name an image that it has; "
            "without --image, a process is emulated."
        )
    return done.stdout.strip()


def _run(*arguments: str, timeout_s: float | None = None) -> "subprocess.CompletedProcess[str]":
    timeout_s = timeout_s or ANSWER_S
    try:
        return subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(
            f"`docker {arguments[0]}`: expected an answer within {timeout_s:g} s, found none. "
            "Restart the engine; without --image, a process is emulated."
        ) from None
    except FileNotFoundError:
        raise ProgramError(
            "docker: expected the Docker client on PATH, found none. Install it; without --image, "
            "a process is emulated."
        ) from None
