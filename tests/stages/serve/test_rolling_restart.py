"""Two real servers behind a real nginx, with the project's own configuration: nothing is lost."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import postgresql
import pytest
from project import ROOT, free_port
from waiting import PATIENCE, until

from mien.storage.workspace import Workspace

from .load import POINT, Load, get, post
from .server_process import FOLDER, Server, serve
from .test_faults_reloads import other_version

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("postgresql")]

CONFIG = ROOT / "deploy" / "proxy" / "nginx.conf"


@contextmanager
def proxy(ports: list[int], folder: Path) -> Iterator[int]:
    """nginx in front of some ports, on a port of its own."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("no nginx: install it")
    port = free_port()
    text = CONFIG.read_text().replace("/tmp/", f"{folder}/")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
    for number, each in enumerate(ports, start=1):
        assert f"api_{number}:8000" in text
        text = text.replace(f"api_{number}:8000", f"127.0.0.1:{each}")
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(f"user root;\n{text}")
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: (folder / "nginx.pid").exists(), (folder / "nginx.log").read_text)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_rolling_restart_swap_and_kill_fail_no_request(
    postgresql_server: postgresql.Server, workspace: Workspace, tmp_path: Path
) -> None:
    """Each replica is restarted, the champion is swapped, one replica is killed: every request is
    answered, by one of the two versions, and every answer is in the log once."""
    postgresql_server.clear()
    other_version(workspace, 4)
    ports = [free_port(), free_port()]

    def start(number: int) -> Server:
        return replicas.enter_context(
            serve(
                workspace.home,
                FOLDER,
                "shape",
                log=tmp_path / f"{number}.log",
                PORT=str(ports[number]),
                MIEN_PREDICTION_LOG=postgresql_server.url,
                MIEN_RELOAD_INTERVAL_S="0.05",
                MIEN_GRACE_S="0.5",
            )
        )

    with ExitStack() as replicas:
        running = [start(0), start(1)]
        (tmp_path / "proxy").mkdir()
        with (
            proxy(ports, tmp_path / "proxy") as port,
            Load(port, [post("/predict/shape", POINT)], 4) as load,
        ):
            load.reach(50)
            for number in (0, 1):
                running[number].send_signal(signal.SIGTERM)
                until(lambda of=running[number]: of.process.poll() is not None)
                load.reach(20)
                running[number] = start(number)
                load.reach(50)
            workspace.write_aliases("shape", {"champion": 4})
            for each in running:
                until(lambda of=each: of.metric("mien_model_reloads_total", result="loaded") == 1)
            load.reach(50)
            running[0].send_signal(signal.SIGKILL)
            load.reach(50)
            running[0] = start(0)
            load.reach(50)
            load.stop()
        assert load.failed == []
        assert {each.version for each in load.records} == {"3", "4"}
        answered = {each.trace_id for each in load.records}
        until(lambda: postgresql_server.count() >= len(answered))
        stored = {row[0] for row in postgresql_server.sql("select trace_id from mien.predictions")}
        assert answered <= stored
        assert len(stored - answered) <= 4, "of the killed one: recorded, and answered by the other"
        assert running[1].request(get("/health")).status == 200
