"""Replicas of the server behind a plain proxy: docs/source/measured/replicas.md.

    python3 tasks.py bench replicas

Takes about five minutes, on Linux with nginx; MIEN_BENCH_SMOKE=1 runs it briefly, to see that it
works, and writes no page. The model is the champion of the task `gesture` in the workspace, of
which a copy is served. Servers, nginx, PostgreSQL and the clients share the cores.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import load
from bench.page import ROOT, table, write
from bench.servers import free_port
from bench.serving import SMOKE
from mien import config, tasks
from mien.model import bundle, cpus
from mien.reporting import console
from mien.storage.workspace import CHAMPION, Workspace

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the database to serve with
import postgresql

TASK = "gesture"
COUNTS = (1, 2, 4)
CLIENTS, PATIENCE_S = 8, 120.0
CONFIG = ROOT / "deploy" / "proxy" / "nginx.conf"


@dataclass
class Replica:
    """A process of `mien serve`."""

    port: int
    log: Path
    start: "Callable[[int, Path], subprocess.Popen[bytes]]"
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.process = self.start(self.port, self.log)

    def ready(self) -> bool:
        if self.process.poll() is not None:
            sys.exit(f"A replica has ended:\n{self.log.read_text(encoding='utf-8')[-2000:]}")
        return self._get("/readyz")[0] == 200

    def swapped(self) -> bool:
        return any(
            line.startswith("mien_model_reloads_total{")
            and 'result="loaded"' in line
            and f'task="{TASK}"' in line
            and float(line.rpartition(" ")[2]) > 0
            for line in self._get("/metrics")[1].splitlines()
        )

    def restart(self) -> None:
        """Let it end by itself, and wait until it is ready again."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        self.process = self.start(self.port, self.log)
        _until(self.ready)

    def _get(self, path: str) -> tuple[int, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        except OSError:  # it does not listen yet
            return 0, ""
        finally:
            line.close()


def main() -> None:
    """Measure, and write the page."""
    smoke = bool(os.environ.get(SMOKE))
    seconds, rounds = (2.0, 1) if smoke else (6.0, 3)
    wires = _wires()
    rates: list[dict[str, object]] = []
    changes: list[dict[str, object]] = []
    for count in COUNTS[:2] if smoke else COUNTS:
        console.info(f"replicas: {count}")
        with ExitStack() as stack:
            home, replicas, port = _behind_proxy(stack, count)
            for kind, wire in wires.items():
                slices = [load.send(port, [wire], CLIENTS, seconds) for _ in range(rounds)]
                rates.append({"replicas": count, "request": kind, **_figures(slices)})
            if count > 1:
                work: dict[str, Callable[[], None]] = {
                    "each is restarted": lambda each=replicas: _restart_all(each),  # type: ignore[misc]
                    "the champion is swapped": lambda of=home, each=replicas: _swap(of, each),  # type: ignore[misc]
                }
                for name, change in work.items():
                    console.info(name)
                    slices, took_s = _during(change, port, list(wires.values()))
                    row = {"replicas": count, "meanwhile": name, "s": f"{took_s:.1f}"}
                    changes.append({**row, **_figures(slices)})
    parts = [
        f"{CLIENTS} clients, each sending its next request after an answer, through nginx with "
        f"`deploy/proxy/nginx.conf` to replicas with one prediction log in PostgreSQL; {rounds} "
        f"rounds of {seconds:g} seconds. All of them share the {cpus.available_cpus()} cores. A "
        "replica has its share of the cores as threads, at least one.",
        table(rates),
        "## While something changes",
        "The same clients, with requests of both kinds in turn, for as long as it takes. Failed is "
        "every answer but 200, and every connection that broke.",
        table(changes),
    ]
    if smoke:
        print("\n\n".join(parts))
    else:
        write("replicas", "Replicas behind a proxy", parts)
    if failed := [row for row in [*rates, *changes] if row["failed"]]:
        sys.exit(f"{len(failed)} rows have failed requests.")


def _figures(slices: Sequence[load.Slice]) -> dict[str, object]:
    latencies = sorted(each for part in slices for each in part.latencies)
    faults = sum((part.faults for part in slices), Counter[str]())
    return {
        "answers": sum(part.answers for part in slices),
        "answers/s": f"{median(part.rate for part in slices):.1f}",
        "p50, ms": f"{1000 * median(latencies):.1f}",
        "p99, ms": f"{1000 * latencies[int(0.99 * len(latencies))]:.1f}",
        "failed": sum(faults.values()),
    }


def _wires() -> dict[str, bytes]:
    """One request of each kind: the sample picture, and the example of the landmarks."""
    inference = tasks.load(TASK).inference
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        inference.sample_picture().save(file, "PNG")
        picture = Path(file.name).read_bytes()
    assert inference.Body is not None
    example = json.dumps(inference.Body.model_json_schema()["examples"][0]).encode()
    return {
        "landmarks": load.request(f"/predict/{TASK}", example, "application/json"),
        "picture": load.form(f"/predict/{TASK}", "file", picture, "image/png"),
    }


def _behind_proxy(stack: ExitStack, count: int) -> tuple[Workspace, list[Replica], int]:
    """The served workspace, replicas that are ready, and the port of their proxy."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    home = _workspace(scratch / "home")
    database = stack.enter_context(postgresql.running())
    settings = {
        "HOST": "127.0.0.1",
        "MIEN_HOME": str(home.home),
        "MIEN_THREADS": str(max(1, cpus.available_cpus() // count)),
        "MIEN_PREDICTION_LOG": database.url,
        "MIEN_RELOAD_INTERVAL_S": "0.5",
    }

    def start(port: int, log: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "mien.cli", "serve", TASK]
        environment = os.environ | settings | {"PORT": str(port)}
        with log.open("ab") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        stack.callback(_end, process)
        return process

    replicas = [Replica(free_port(), scratch / f"{number}.log", start) for number in range(count)]
    for each in replicas:
        _until(each.ready)
    (scratch / "proxy").mkdir()
    port = stack.enter_context(_proxy([each.port for each in replicas], scratch / "proxy"))
    return home, replicas, port


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(PATIENCE_S)


def _workspace(folder: Path) -> Workspace:
    """A workspace with the champion as version 1, and as version 2 with another digest."""
    source, home = Workspace(config.settings().home), Workspace(folder)
    number = source.aliases(TASK).get(CHAMPION)
    if number is None:
        sys.exit(f"This bench needs a champion of {TASK} in {source.home}: run `mien demo` there.")
    for other in (1, 2):
        shutil.copytree(source.version(TASK, number), home.version(TASK, other))
    manifest = bundle.read(home.version(TASK, 2)).manifest
    lineage = manifest.lineage.model_copy(update={"seed": -1})
    bundle.write(home.version(TASK, 2), manifest.model_copy(update={"lineage": lineage}))
    home.write_aliases(TASK, {CHAMPION: 1})
    return home


@contextmanager
def _proxy(ports: Sequence[int], folder: Path) -> Iterator[int]:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        sys.exit("This bench needs nginx: install Debian's package `nginx-light`.")
    port = free_port()
    text = CONFIG.read_text(encoding="utf-8").replace("/tmp/", f"{folder}/")
    lines = text.replace("listen 8080", f"listen 127.0.0.1:{port}").splitlines()
    at = next(number for number, line in enumerate(lines) if "server api_1:8000" in line)
    assert "server api_2:8000" in lines[at + 1]
    options = lines[at].partition("api_1:8000")[2]
    lines[at : at + 2] = [f"    server 127.0.0.1:{each}{options}" for each in ports]
    file = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    file.write_text(user + "\n".join(lines), encoding="utf-8")
    command = [program, "-p", str(folder), "-c", str(file), "-g", "daemon off;"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _until((folder / "nginx.pid").exists)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _during(
    change: Callable[[], None], port: int, wires: Sequence[bytes]
) -> tuple[list[load.Slice], float]:
    """Requests until a change is done, and the seconds that it took."""
    start = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(change)
        slices = [load.send(port, wires, CLIENTS, 1.0)]
        while not done.done():
            slices.append(load.send(port, wires, CLIENTS, 1.0))
        done.result()
    return slices, time.monotonic() - start


def _restart_all(replicas: Sequence[Replica]) -> None:
    for each in replicas:
        each.restart()


def _swap(home: Workspace, replicas: Sequence[Replica]) -> None:
    home.write_aliases(TASK, {CHAMPION: 2})
    for each in replicas:
        _until(each.swapped)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            sys.exit("A replica or nginx did not get ready in two minutes.")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
