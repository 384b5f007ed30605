"""What is tried on the stack of docker-compose.scale.yml: a team trains, replicas follow and share.

python3 tasks.py stack-test --only scale
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from stack import PromiseError, say
from stack.bases import SCALE
from stack.compose import PATIENCE, Stack, get, prepared
from stack.engine import Engine

REPLICAS = ("api_1", "api_2")
SERVICES = ("postgresql", "registry", *REPLICAS, "proxy")
CLIENTS = 4
"""Of the load; each sends one request after the other."""
MODEL = "mien-gesture"
NETWORK = "172.30.86"
"""Not that of a stack in use."""
SMALL = ("accept_images=false", "cv_folds=2", "candidates=[logistic_regression]")
"""Params of a training that takes seconds: what is tried is where its model goes."""
_ASK = """
import sys, urllib.request as web
path, body = sys.argv[1:]
header = {"Content-Type": "application/json"}
sent = web.Request("http://127.0.0.1:8000" + path, body.encode() or None, header)
print(web.build_opener(web.ProxyHandler({})).open(sent, timeout=30).read().decode())
"""


def team(docker: Engine, scratch: Path) -> None:
    """Start the stack as its head says, train into its registry, and break parts of it.

    Raises:
        PromiseError: it does not keep a promise.
    """
    variables = {"POSTGRES_PASSWORD": token_hex(24), "MIEN_NETWORK": NETWORK}
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="team-") as home,
        prepared(docker, SCALE, SERVICES, variables) as stack,
    ):
        stack.start("postgresql")  # alone: Compose gives up a registry whose database is slow
        stack.start("registry")
        _train(stack, Path(home), seed=0)
        stack.start(*REPLICAS, "proxy")
        _confined(stack)
        _feedback_elsewhere(stack)
        with _load(stack) as load:
            _killed(stack, load)
            _restarted(stack, load)
            _followed(stack, Path(home), load)
            _alone(stack, load)
            _shared(stack, load)
        load.reach(0)
        _all_logged(stack, load)


@dataclass
class _Load:
    """What clients were answered."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def reach(self, count: int) -> None:
        """Wait until so many more requests were answered, and none failed.

        Raises:
            PromiseError: one failed, or they take too long.
        """
        goal, deadline = len(self.answers) + count, time.monotonic() + PATIENCE
        while len(self.answers) < goal and not self.failures:
            if time.monotonic() > deadline:
                raise PromiseError(f"{len(self.answers)} answers; expected {goal}")
            time.sleep(0.05)
        if self.failures:
            raise PromiseError(f"{len(self.failures)} requests failed: {self.failures[0]}")


@contextmanager
def _load(stack: Stack) -> Iterator[_Load]:
    """Clients of the proxy until the block ends."""
    load, body = _Load(), _hand()

    def client() -> None:
        while not load.stopped.wait(0.05):
            try:
                address = f"{stack.address('proxy')}/predict/gesture"
                load.answers.append(get(address, body, "application/json"))
            except PromiseError as error:
                load.failures.append(str(error))

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    try:
        load.reach(20)
        yield load
    finally:
        load.stopped.set()
        for each in clients:
            each.join()


def _hand() -> bytes:
    from mien.tasks.gesture.params import LIKE

    return json.dumps({"landmarks": [list(point) for point in LIKE]}).encode()


def _ask(stack: Stack, replica: str, path: str, body: bytes = b"") -> Any:
    """Ask one replica, past the proxy."""
    return json.loads(_text(stack, replica, path, body))


def _text(stack: Stack, replica: str, path: str, body: bytes = b"") -> str:
    return stack.output(replica, "python", "-c", _ASK, path, body.decode())


def _train(stack: Stack, home: Path, seed: int) -> None:
    params = [word for each in SMALL for word in ("--set", f"params.{each}")]
    _mien(stack, home, "run", "sample_gesture", "--set", f"seed={seed}", *params)


def _mien(stack: Stack, home: Path, *arguments: str) -> None:
    """A command on the machine of somebody of the team, with uncommitted code perhaps."""
    command = [sys.executable, "-m", "mien.cli", *arguments, "--home", str(home)]
    address = {"MLFLOW_TRACKING_URI": stack.address("registry")}
    stack.docker.run(*command, "--force", "stack test", **address)


def _confined(stack: Stack) -> None:
    """No container is root, writes to its image, or has a capability."""
    without = 'case "$(cat /proc/self/status)" in *CapEff:?0000000000000000*) ;; *) false;; esac'
    bounds = f"test $(id -u) != 0 && ! touch /x && {without}"
    if wrong := [name for name in SERVICES if not stack.inside(name, bounds)]:
        raise PromiseError(f"root, a writable image or capabilities: {wrong}")
    for name in REPLICAS:
        if not stack.inside(name, "touch /workspace/x /prediction_log/x && rm /workspace/x"):
            raise PromiseError(f"{name} can write neither its workspace nor its spool")
    say("No container is root, can write to its image, or has a capability.")


def _feedback_elsewhere(stack: Stack) -> None:
    """What one replica answered, the other one takes feedback for, in both directions."""
    for first, second in (REPLICAS, REPLICAS[::-1]):
        answer = _ask(stack, first, "/predict/gesture", _hand())
        feedback = {"trace_id": answer["trace_id"], "label": answer["gesture"]}
        result = _ask(stack, second, "/feedback", json.dumps(feedback).encode())
        if result["correct"] is not True:
            raise PromiseError(f"feedback to {second} for {first}'s answer: {result}")
    say("Each replica takes feedback for what the other one answered.")


def _killed(stack: Stack, load: _Load) -> None:
    """A replica ends without a word under load, and comes back."""
    before = len(load.answers)
    stack.call("kill", "-s", "SIGKILL", REPLICAS[0])
    load.reach(100)
    stack.call("start", REPLICAS[0])
    stack.wait(REPLICAS[0])
    load.reach(50)
    say(f"{REPLICAS[0]} was killed and started: {len(load.answers) - before} answers, none failed.")


def _restarted(stack: Stack, load: _Load) -> None:
    """One replica after the other, as the file's head says."""
    before = len(load.answers)
    for name in REPLICAS:
        stack.call("restart", name)
        stack.wait(name)
        load.reach(50)
    say(f"Both were restarted in turn: {len(load.answers) - before} answers, none failed.")


def _followed(stack: Stack, home: Path, load: _Load) -> None:
    """A champion that is moved in the registry is served by both replicas, without a restart."""
    _train(stack, home, seed=1)
    other = 3 - _champion(stack)
    _mien(stack, home, "promote", "gesture", str(other))
    deadline, served = time.monotonic() + PATIENCE, set[str]()
    while served != {str(other)}:
        if time.monotonic() > deadline:
            raise PromiseError(f"expected version {other} at both replicas, found {served}")
        time.sleep(0.5)
        health = [_ask(stack, name, "/health") for name in REPLICAS]
        served = {str(each["models"][0]["version"]) for each in health}
    load.reach(50)
    say(f"Both replicas follow the registry to version {other}; no request failed.")


def _champion(stack: Stack) -> int:
    address = f"{stack.address('registry')}/api/2.0/mlflow/registered-models/get?name={MODEL}"
    aliases = get(address)["registered_model"]["aliases"]
    return int(next(each["version"] for each in aliases if each["alias"] == "champion"))


def _alone(stack: Stack, load: _Load) -> None:
    """Answers go on without registry and database, and a replica that starts then serves too."""
    before = len(load.answers)
    stack.call("stop", "registry", "postgresql")
    load.reach(50)
    stack.call("restart", REPLICAS[1])
    stack.wait(REPLICAS[1])
    load.reach(50)
    stack.call("start", "postgresql")
    stack.wait("postgresql")
    stack.call("start", "registry")
    stack.wait("registry")
    say(
        f"Without registry and database, one replica restarted: {len(load.answers) - before} "
        "answers, none failed."
    )


def _shared(stack: Stack, load: _Load) -> None:
    """The proxy asks both replicas, also after all the restarts."""
    before = {name: _predictions(stack, name) for name in REPLICAS}
    load.reach(50)
    count = {name: _predictions(stack, name) - before[name] for name in REPLICAS}
    if not all(count.values()):
        raise PromiseError(f"expected requests at both replicas, found {count}")
    say(f"The proxy asks both replicas: {count}.")


def _predictions(stack: Stack, replica: str) -> int:
    """How many predictions a replica has made since its start."""
    lines = _text(stack, replica, "/metrics").splitlines()
    made = [line.split()[-1] for line in lines if line.startswith("mien_predictions_total{")]
    return round(sum(map(float, made)))


def _all_logged(stack: Stack, load: _Load) -> None:
    """The log has every answer of the load, also those of the killed replica and of the outage."""
    wanted = {each["trace_id"] for each in load.answers}
    deadline, missing = time.monotonic() + PATIENCE, wanted
    while missing:
        if time.monotonic() > deadline:
            raise PromiseError(f"{len(missing)} of {len(wanted)} answers are not in the log")
        time.sleep(0.5)
        query = "SELECT trace_id FROM mien.predictions"
        command = ("psql", "-h", "/var/run/postgresql", "-U", "mien", "-d", "mien", "-Atc", query)
        missing = wanted - set(stack.output("postgresql", *command).split())
    say(f"All {len(wanted)} answers are in the prediction log.")
