"""What is tried on the stack: confinement, traffic, metrics, drills."""

import io
import json
import os
import shlex
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from stack import ROOT, PromiseError, say
from stack.bases import images
from stack.compose import Stack, get
from stack.processes import end

REAL = ROOT.parent / "shared" / "data"
PICTURES = 60
"""Different photos of each task."""
ANSWERS = 240
"""Requests for each task: drift has no score under 200."""
PATIENCE = 60.0
"""Seconds until Prometheus knows what was asked; it reads every 15 s."""


@contextmanager
def workspace(home: Path | None, scratch: Path) -> Iterator[Callable[[], Path]]:
    """Train the sample beside whatever else is done; gives a call that waits for the workspace."""
    if home:
        yield lambda: home
        return
    made = scratch / "workspace"
    made.mkdir(parents=True, exist_ok=True)
    log = scratch / "demo.log"
    say(f"Training the sample in {made}, in the background ...")
    with log.open("w") as out, _demo(made, out) as process:

        def trained() -> Path:
            if process.wait():
                raise PromiseError(f"`mien demo --exit` ended with {process.returncode}; see {log}")
            # A user who trains as root may have a stricter umask than the service's user can bear.
            subprocess.run(["chmod", "-R", "a+rX", str(made)], check=True)
            return made

        yield trained


@contextmanager
def _demo(home: Path, out: IO[str]) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "MIEN_HOME": str(home), "PORT": "0"}
    command = [sys.executable, "-m", "mien.cli", "demo", "--exit", "--no-pull"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        end(process)


def watch(stack: Stack) -> None:
    """Ask a fresh stack, and see that all of it is watched.

    Raises:
        PromiseError: it does not keep a promise.
    """
    _confined(stack)
    sent = _traffic(stack)
    _counted(stack, sent)
    _targets(stack)
    _verified(stack)


def drill(fault: str, stack: Stack) -> None:
    """Break a fresh stack on purpose; it raises the alert that belongs to the fault, and no other.

    Raises:
        PromiseError: another alert fires, or none in time.
    """
    where = [f"--{name}={stack.address(name)}" for name in ("api", "prometheus")]
    kill, start = (f"{shlex.join(stack.compose)} {verb} api" for verb in ("kill", "start"))
    _mien(stack, "drill", fault, *where, f"--kill={kill}", f"--start={start}", "--hold=15")


TRIALS: tuple[Callable[[Stack], None], ...] = (
    watch,
    partial(drill, "corrupt"),
    partial(drill, "killed"),
)


def _confined(stack: Stack) -> None:
    """The workspace and the image cannot be written to, the prediction log can, and root is out."""
    refused = ("touch /workspace/x", "touch /opt/x", "test $(id -u) = 0")
    if wrong := [script for script in refused if stack.inside("api", script)]:
        raise PromiseError(f"this should not be possible inside the service's container: {wrong}")
    if not stack.inside("api", "touch /prediction_log/x && rm /prediction_log/x && touch /tmp/x"):
        raise PromiseError("the service can write neither its prediction log nor a temporary file")
    say("The service's container can write to /prediction_log and /tmp, and to nothing else.")


def _traffic(stack: Stack) -> int:
    """Ask about pictures and agree with each answer, so that every panel has something to show.

    Returns how many answers were given; whether they were right is not tried here.
    """
    start, real = time.monotonic(), REAL.is_dir()
    for task in ("gesture", "emotion"):
        pictures = _photos(task) if real else _drawn(task)
        for number in range(ANSWERS):
            picture = pictures[number % len(pictures)]
            answer = get(f"{stack.address('api')}/predict/{task}", *_form(picture))
            feedback = json.dumps({"trace_id": answer["trace_id"], "label": answer[task]}).encode()
            get(f"{stack.address('api')}/feedback", feedback, "application/json")
    kind = "real photos" if real else "drawn pictures, for want of real ones"
    say(f"{2 * ANSWERS} answers to {kind} in {time.monotonic() - start:.0f} s.")
    return 2 * ANSWERS


def _photos(task: str) -> list[bytes]:
    if task == "gesture":
        files = sorted((REAL / "gesture" / "photos").rglob("*.jpg"))
        return [path.read_bytes() for path in files[:: max(1, len(files) // PICTURES)]]
    with zipfile.ZipFile(REAL / "emotion" / "affectnet_yolo.zip") as archive:
        names = (name for name in archive.namelist() if name.endswith(".jpg"))
        return [archive.read(name) for name in islice(names, PICTURES)]


def _drawn(task: str) -> list[bytes]:
    from mien import tasks

    buffer = io.BytesIO()
    tasks.load(task).inference.sample_picture().convert("RGB").save(buffer, "JPEG")
    return [buffer.getvalue()]


def _form(picture: bytes) -> tuple[bytes, str]:
    """A picture as a browser sends it, and the content type."""
    edge = "-" * 8 + "mien"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="picture.jpg"\r\n'
    body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture
    return body + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def _counted(stack: Stack, sent: int) -> None:
    """Prometheus counts each answer that was given."""
    query = f"{stack.address('prometheus')}/api/v1/query?query=sum(mien_predictions_total)"
    deadline, counted = time.monotonic() + PATIENCE, 0.0
    while counted < sent:
        if time.monotonic() > deadline:
            raise PromiseError(f"Prometheus knows of {counted:.0f} answers; {sent} were given")
        time.sleep(0.5)
        result = get(query)["data"]["result"]
        counted = float(result[0]["value"][1]) if result else 0.0
    say(f"Prometheus counts {counted:.0f} answers.")


def _targets(stack: Stack) -> None:
    """Prometheus reads every service that was started, and speaks to Alertmanager."""
    address = stack.address("prometheus")
    targets = get(f"{address}/api/v1/targets?state=active")["data"]["activeTargets"]
    states = {each["labels"]["instance"].partition(":")[0]: each["health"] for each in targets}
    if wrong := {name: states.get(name) for name in stack.services if states.get(name) != "up"}:
        raise PromiseError(f"Prometheus cannot read {wrong}")
    if not get(f"{address}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]:
        raise PromiseError("Prometheus knows no Alertmanager")
    say(f"Prometheus reads {', '.join(stack.services)} and has an Alertmanager to tell.")


def _verified(stack: Stack) -> None:
    """`mien verify` finds every rule and every panel filled."""
    where = [f"--{name}={stack.address(name)}" for name in stack.services]
    left_out = [f"--without={name}" for name in images() if name not in stack.services]
    _mien(stack, "verify", *where, *left_out, f"--out={stack.variables['MIEN_HOME']}/reports")


def _mien(stack: Stack, *arguments: str) -> None:
    stack.docker.run(sys.executable, "-m", "mien.cli", *arguments, **stack.variables)
