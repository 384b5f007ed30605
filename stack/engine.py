"""A Docker engine: the one that answers, or one of our own that leaves nothing behind but layers.

Knows nothing of images. An engine of our own is started as root from Debian's docker.io, with its
own folders and socket and without a bridge; at the end it is stopped and its packet rules go.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import ROOT, AbsentError, PromiseError, say
from stack.processes import end, finish, undisturbed

PACKAGES = "apt-get install docker.io docker-compose debootstrap"
PATIENCE = 60.0
"""Seconds for an engine to answer."""
NETWORK = "mien-stack-test"
OURS = re.compile(r"DOCKER|\bbr-[0-9a-f]{12}\b")
"""Chains of an engine, and the bridges of its networks."""
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Engine:
    """How to speak to an engine, and whether it is our own: one that may hold stand-ins."""

    own: bool
    environment: Mapping[str, str]

    def run(self, *command: str, **more: str) -> None:
        """Run a command and show what it writes.

        Raises:
            PromiseError: it ended with an error.
        """
        done = finish(command, ROOT, {**self.environment, **more}, output=None)
        if done.returncode:
            raise PromiseError(f"`{' '.join(command)}` ended with {done.returncode}")

    def ask(self, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command and keep what it writes; its status is for the caller to judge."""
        return finish(command, ROOT, {**self.environment, **more})

    @contextmanager
    def network(self) -> Iterator[str]:
        """A network for single containers, which an engine of our own does not have."""
        self.run("docker", "network", "create", NETWORK)
        try:
            yield NETWORK
        finally:
            with undisturbed():
                self.ask("docker", "network", "rm", NETWORK)


@contextmanager
def running(scratch: Path) -> Iterator[Engine]:
    """Give an engine for the time of the block; layers of our own one stay in the scratch folder.

    Raises:
        AbsentError: none answers, and none can be started.
    """
    present = Engine(own=False, environment=dict(os.environ))
    if shutil.which("docker") and present.ask("docker", "version").returncode == 0:
        yield present
        return
    if os.geteuid() != 0:
        raise AbsentError("no Docker engine answers, and only root can start one")
    if lacking := [name for name in ("docker", "dockerd") if not shutil.which(name)]:
        raise AbsentError(f"no Docker engine answers and {lacking} is not installed: {PACKAGES}")
    with _alone(scratch), _packet_rules_restored(), _started(scratch) as socket:
        # The classic builder: Debian's engine brings no other, and it takes imported images.
        said = {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(scratch)}
        yield Engine(own=True, environment={**os.environ, **said})


@contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AbsentError(f"another stack-test is using {scratch}") from None
        yield


@contextmanager
def _started(scratch: Path) -> Iterator[str]:
    """The socket of our own engine, which Ctrl-C does not reach: it is stopped last, by us."""
    folder = Path(tempfile.mkdtemp(prefix="mien-stack-"))  # a socket's path must be short
    socket, log = f"unix://{folder}/socket", scratch / "engine.log"
    command = ["dockerd", "--bridge=none", f"--data-root={scratch / 'engine'}", f"--host={socket}"]
    command += [f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}"]
    say(f"No Docker engine answers: starting one of our own, with its layers in {scratch}.")
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        _await(process, socket, log)
        yield socket
    finally:
        with undisturbed():
            end(process)
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which the engine has mounted name spaces."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", mount], check=False)
    shutil.rmtree(folder)


def _await(process: "subprocess.Popen[bytes]", socket: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    asked = ["docker", "--host", socket, "version"]
    while subprocess.run(asked, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
            raise AbsentError(f"an engine of our own does not start: {' '.join(last)}")
        time.sleep(0.1)


@contextmanager
def _packet_rules_restored() -> Iterator[None]:
    """Take the engine's chains away again; it also forbids forwarding, or allows it."""
    before, forwarding = _rules(), FORWARDING.read_text(encoding="ascii")
    try:
        yield
    finally:
        with undisturbed():
            FORWARDING.write_text(forwarding, encoding="ascii")
            for (tool, table), lines in _rules().items():
                for undo in undone(before.get((tool, table), []), lines):
                    subprocess.run([tool, "-t", table, *undo], capture_output=True, check=False)


def undone(before: list[str], after: list[str]) -> list[list[str]]:
    """The arguments of iptables that lead from one listing (`iptables -S`) back to another.

    Only what names Docker goes, and policies: rules that somebody else made meanwhile stay.
    """
    new = [line.split() for line in after if line not in before]
    rules = [
        ["-D", *words[1:]] for words in new if words[0] == "-A" and OURS.search(" ".join(words))
    ]
    chains = [words[1] for words in new if words[0] == "-N" and OURS.search(words[1])]
    gone = [[flag, chain] for flag in ("-F", "-X") for chain in chains]
    changed = {words[1] for words in new if words[0] == "-P"}
    policies = [line.split() for line in before if line.startswith("-P")]
    return [*rules, *gone, *(words for words in policies if words[1] in changed)]


def _rules() -> dict[tuple[str, str], list[str]]:
    found = {}
    for tool in filter(shutil.which, ("iptables", "ip6tables")):
        for table in ("filter", "nat"):
            listed = subprocess.run(
                [tool, "-t", table, "-S"], capture_output=True, text=True, check=False
            )
            found[tool, table] = listed.stdout.splitlines()
    return found
