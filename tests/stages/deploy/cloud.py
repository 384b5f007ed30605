"""A small Cloud Run on loopback: the stand-in for gcloud, real mien servers, a weighted proxy."""

import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from forked import Forked
from waiting import PATIENCE, until

SERVICE, REGION, PROJECT = "mien", "europe-west1", "demo-project"
STAND_IN = Path(__file__).with_name("gcloud_stand_in.py")
DIGESTS = {
    name: f"sha256:{number:064x}"
    for number, name in enumerate(("old", "good", "slow", "wrong", "late", "broken"), 10)
}
"""Images by what is wrong with them; the container of `broken` fails its startup probe."""
READY = [
    "billing",
    "api run.googleapis.com",
    "iam service-accounts mien-run",
    f"projects {PROJECT}",
]
"""What is there when the project is set up."""
POINT = b'{"point": {"values": [1, 2, 3]}}'
MIEN = """
import sys
from mien import cli, tasks
tasks.__path__ = [sys.argv[1]]
sys.argv = ["mien", *sys.argv[2:]]
cli.main()
"""
_FAULTS = """

import os as _os, time as _time
from dataclasses import replace as _replace
from itertools import count as _count

_fault, _calls = _os.environ["FAULT"], _count()


def _detect(requests, model):
    predictions = detect_many(requests, model)
    if _fault == "slow" or (_fault == "late" and next(_calls) > 14):
        _time.sleep(0.4)
    if _fault == "wrong":
        predictions = [
            _replace(each, detections=[_replace(one, label="round") for one in each.detections])
            for each in predictions
        ]
    return predictions


TASK = _replace(TASK, inference=_replace(TASK.inference, detect_many=_detect))
"""


def image(name: str) -> str:
    """An image by digest, as it is given to `mien deploy`."""
    return f"{REGION}-docker.pkg.dev/{PROJECT}/mien/mien@{DIGESTS[name]}"


@dataclass
class Cloud:
    """The project, and how to use it from outside."""

    folder: Path
    tasks: Path
    home: Path
    backends: dict[str, str] = field(default_factory=dict)
    front: str = ""

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that put the stand-in on the PATH."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        loopback = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        return {
            "PATH": path,
            "GCLOUD_STATE": str(self.state),
            "MIEN_HOME": str(self.home),
        } | loopback

    def begin(self, resources: list[str]) -> None:
        """Start over with a project that has these resources and no service."""
        self.write(
            log=[],
            history=[],
            fail={},
            conflicts=0,
            services={},
            project=PROJECT,
            resources=[*resources],
            front=self.front,
            backends={DIGESTS[name]: address for name, address in self.backends.items()},
        )

    def read(self) -> dict[str, Any]:
        with self.state.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            state: dict[str, Any] = json.load(file)
        return state

    def write(self, **changes: Any) -> None:
        before = self.read() if self.state.exists() else {}
        self.state.write_text(json.dumps(before | changes), encoding="utf-8")

    def gcloud(self, *arguments: str) -> str:
        """Run a command as a person would."""
        done = subprocess.run(
            ["gcloud", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def shares(self) -> list[dict[str, int]]:
        """Percent of the traffic by image, after each change."""
        names = {digest: name for name, digest in DIGESTS.items()}
        return [{names[d]: n for d, n in each.items()} for each in self.read()["history"]]

    @property
    def tags(self) -> list[str]:
        """Tags of the service that are left."""
        return [
            each["tag"] for each in self.read()["services"][SERVICE]["traffic"] if "tag" in each
        ]

    def start(self, *arguments: str) -> Forked:
        """Start `mien` in a process of its own, with the made-up tasks."""
        number, log = tempfile.mkstemp(suffix=".log", dir=self.folder)
        os.close(number)
        environment = {**os.environ, **self.environment, "COLUMNS": "1000", "FAULT": ""}
        return Forked(MIEN, [str(self.tasks), *arguments], environment, Path(log))


def write_gcloud(folder: Path) -> None:
    """Put a `gcloud` into `folder/bin`."""
    program = folder / "bin" / "gcloud"
    program.parent.mkdir(parents=True)
    # Imported, because Python keeps the bytecode of modules alone. Without `site`, which takes as
    # long as the command; yaml is the only library that it needs.
    places = [str(STAND_IN.parent), str(Path(yaml.__file__).parents[1])]
    code = f"import sys; sys.path += {places}; import {STAND_IN.stem}; "
    code += f"sys.exit({STAND_IN.stem}.main())"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S -c "{code}" "$@"\n')
    program.chmod(0o755)


def write_tasks(source: Path, out: Path) -> None:
    """Copy the made-up task `shape` to a folder, with faults that the environment names."""
    (out / "shape").mkdir(parents=True)
    code = (source / "shape" / "__init__.py").read_text(encoding="utf-8")
    (out / "shape" / "__init__.py").write_text(code + _FAULTS, encoding="utf-8")


@contextmanager
def revision(cloud: Cloud, home: Path, fault: str) -> Iterator[str]:
    """A real mien server as a container of an image; yields its address."""
    log = cloud.folder / f"{fault or home.name}.log"
    settings = {"FAULT": fault, "MIEN_HOME": str(home), "PORT": "0", "MIEN_THREADS": "1"}
    settings["MIEN_PREDICTION_LOG"] = str(log.with_suffix(".db"))
    environment = {**os.environ, **settings, "COLUMNS": "1000"}
    log.write_text("")
    process = Forked(MIEN, [str(cloud.tasks), "serve"], environment, log)
    try:
        pattern = re.compile(r" on (http://\S+)")
        until(lambda: pattern.search(log.read_text()) or process.poll() is not None)
        (address,) = pattern.findall(log.read_text()) or [log.read_text()]
        assert address.startswith("http"), address
        yield address
    finally:
        process.kill()
        process.wait()


class _Front(ThreadingHTTPServer):
    """Sends each request to a revision, by the shares of the traffic now."""

    daemon_threads = True

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.cloud, self.lock = cloud, threading.Lock()
        self.credits: Counter[str] = Counter()

    def choose(self) -> str:
        """The address of the next revision: over 100 requests each gets its share exactly."""
        state = self.cloud.read()
        shares = state["history"][-1]
        with self.lock:
            for digest in self.credits.keys() - shares.keys():
                del self.credits[digest]
            self.credits.update(shares)
            digest = max(shares, key=lambda each: self.credits[each])
            self.credits[digest] -= 100
        return str(state["backends"][digest])


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        server = self.server
        assert isinstance(server, _Front)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = HTTPConnection(server.choose().removeprefix("http://"), timeout=PATIENCE)
        headers = {"Content-Type": self.headers.get("Content-Type", "")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _forward  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def front(cloud: Cloud) -> Iterator[str]:
    """The public address: a proxy that follows the traffic of the service."""
    with _Front(cloud) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Visitors:
    """A client that sends predictions to the public address all the time."""

    address: str
    statuses: list[int] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Visitors":
        self.thread = threading.Thread(target=self._visit)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _visit(self) -> None:
        while not self.stop.wait(0.05):
            connection = HTTPConnection(self.address.removeprefix("http://"), timeout=PATIENCE)
            try:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/predict/shape", POINT, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
            except OSError:
                self.statuses.append(0)
            finally:
                connection.close()
