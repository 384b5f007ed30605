"""What is lost when the disk is full or read-only, when descriptors run out, or memory: real
server processes, whose limits are set while they run, as `prlimit` does.
"""

import io
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image
from waiting import PATIENCE, until

from mien.model.bundle import Bundle
from mien.storage.workspace import Workspace

from .load import POINT, Load, form, get, post
from .server_process import FOLDER, Server, serve

MakeBundle = Callable[..., Bundle]
QUESTION = post("/predict/shape", POINT)
MINE = [] if os.geteuid() == 0 else ["-r"]
"""How `unshare` lets a user mount: as root of a user namespace."""


@contextmanager
def limited(server: Server, kind: int, limit: int) -> Iterator[None]:
    """Give the process less while the block runs."""
    before = resource.prlimit(server.pid, kind)
    resource.prlimit(server.pid, kind, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, kind, before)


def namespace(script: str, folder: Path) -> list[str]:
    """Words before a command that run it with mounts of its own; skips where that is forbidden."""
    before = ["unshare", "-m", *MINE, "sh", "-c", f'{script} && shift && exec "$@"', "sh"]
    try:
        tried = subprocess.run([*before, str(folder), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("NOTHING WAS MOUNTED: there is no `unshare` here")
    if tried.returncode:
        pytest.skip(f"NOTHING WAS MOUNTED: {tried.stderr.decode().strip()}")
    return [*before, str(folder)]


# The disk.


def test_a_disk_that_fills_up_costs_the_record_alone(workspace: Workspace) -> None:
    """Lost: the record of answers that were given while no file could grow, counted; not one
    answer. With room again the record goes on, and the prediction log is whole."""
    with (
        serve(workspace.home, FOLDER) as server,
        Load(server.port, [QUESTION], 4) as load,
    ):
        load.reach(100)
        assert server.metric("mien_prediction_log_dropped_total") == 0
        with limited(server, resource.RLIMIT_FSIZE, 1):
            until(
                lambda: server.metric("mien_prediction_log_dropped_total") > 0,
                "nothing dropped",
            )
            load.reach(200)
            assert server.request(get("/readyz")).status == 200
            full = {each.trace_id for each in load.fine[-50:]}
        load.reach(100)
        until(lambda: judged(server, load.fine[-1].trace_id), "the record does not go on")
        load.stop()
        dropped = server.metric("mien_prediction_log_dropped_total")
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert load.failed == []
    with closing(sqlite3.connect(workspace.prediction_log)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in database.execute("select trace_id from predictions")}
    answered = {each.trace_id for each in load.fine}
    assert len(answered - kept) == dropped
    assert full - kept, "nothing was lost, so the disk was not full"
    assert kept <= answered | {""}


def judged(server: Server, trace_id: str) -> bool:
    body = f'{{"trace_id": "{trace_id}", "label": "star"}}'.encode()
    return server.request(post("/feedback", body)).status == 200


def test_a_small_disk_costs_the_record_alone(workspace: Workspace, tmp_path: Path) -> None:
    """Lost: the record of what does not fit on a disk of 256 kB, which a file system of that size
    refuses; not one answer."""
    disk = tmp_path / "disk"
    disk.mkdir()
    before = namespace('mount -t tmpfs -o size=256k tmpfs "$1"', disk)
    prediction_log = str(disk / "predictions.db")
    with (
        serve(workspace.home, FOLDER, before=before, MIEN_PREDICTION_LOG=prediction_log) as server,
        Load(server.port, [QUESTION], 4) as load,
    ):
        until(lambda: server.metric("mien_prediction_log_dropped_total") > 50, "nothing dropped")
        load.reach(50)
        load.stop()
        assert server.request(get("/health")).status == 200
    assert load.failed == []
    assert server.text().count("predictions are not recorded from now on") <= 5


@pytest.mark.long
def test_a_read_only_disk_costs_the_record_alone(workspace: Workspace, tmp_path: Path) -> None:
    """Lost: the record, counted from the first answer on and logged; not one answer, as
    in a container whose file system is read-only."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    before, log = namespace(script, workspace.home), tmp_path / "log"
    with (
        serve(
            workspace.home, FOLDER, before=before, log=log, MIEN_RELOAD_INTERVAL_S="0.05"
        ) as server,
        Load(server.port, [QUESTION], 4) as load,
    ):
        load.reach(100)
        load.stop()
        dropped = server.metric("mien_prediction_log_dropped_total")
        assert server.request(get("/health")).status == 200
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert load.failed == []
    assert dropped == len(load.records)
    assert "predictions are not recorded" in server.text()


# Descriptors.


def test_more_clients_than_descriptors(workspace: Workspace) -> None:
    """Lost: connections beyond what 64 descriptors allow, answered 503 or closed. Those that were
    there before are answered, the prediction log and the probes go on, and so do new ones once
    there is room."""
    before = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    with (
        serve(workspace.home, FOLDER, before=before) as server,
        Load(server.port, [QUESTION], 2) as load,
    ):
        load.reach(20)
        crowd = [server.connect() for _ in range(100)]
        load.reach(10)
        for each in crowd:
            each.close()
        until(lambda: answered(server), "there is room, and nobody is answered")
        load.stop()
        assert server.metric("mien_prediction_log_dropped_total") == 0
        assert server.process.poll() is None
    assert load.failed == []


@pytest.mark.long
def test_descriptors_that_run_out_come_back(workspace: Workspace, make_bundle: MakeBundle) -> None:
    """Lost: new connections while the process may open nothing. Those that are there are answered;
    afterwards new ones are, and a champion that was promoted meanwhile is taken."""
    make_bundle(workspace.version("shape", 4))
    with (
        serve(workspace.home, FOLDER, MIEN_RELOAD_INTERVAL_S="0.05") as server,
        Load(server.port, [QUESTION], 2) as load,
    ):
        load.reach(20)
        with limited(server, resource.RLIMIT_NOFILE, server.descriptors()):
            workspace.write_aliases("shape", {"champion": 4})
            crowd = [server.connect() for _ in range(20)]
            load.reach(10)
        for each in crowd:
            each.close()
        until(lambda: answered(server), "there is room, and nobody is answered")
        until(lambda: load.records[-1].version == "4", "the new champion is not taken")
        load.stop()
    assert load.failed == []


def answered(server: Server) -> bool:
    try:
        return server.request(QUESTION, timeout=PATIENCE).status == 200
    except (TimeoutError, ConnectionError):
        return False


# Memory.


def test_a_picture_for_which_there_is_no_memory(workspace: Workspace) -> None:
    """Lost: the answer to a picture that does not fit, answered as a fault of the server. The
    process lives, smaller questions are answered meanwhile, and so is the same picture
    once there is room."""
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000), (20, 40, 200)).save(file, "PNG", compress_level=1)
    large = form("/predict/colour", file.getvalue())
    with (
        serve(workspace.home, FOLDER) as server,
        Load(server.port, [QUESTION], 2) as load,
    ):
        load.reach(20)
        room = server.status("VmSize") * 1024 + 100_000_000
        with limited(server, resource.RLIMIT_AS, room):
            refused = server.request(large, timeout=PATIENCE)
            load.reach(50)
        fitting = server.request(large, timeout=PATIENCE)
        load.stop()
        server.settle()
    assert refused.status in (413, 500, 503), refused.body
    assert refused.headers["content-type"] == "application/problem+json"
    assert b"Traceback" not in refused.body
    assert fitting.status == 200
    assert load.failed == []


@pytest.mark.parametrize(
    "left", [b"\0" * 400 + b"\n", b"[1, 2\n", b"{}\n"], ids=["zeros", "half", "other"]
)
def test_a_damaged_spool_costs_its_own_lines_alone(workspace: Workspace, left: bytes) -> None:
    """Lost: the lines that cannot be read. A power cut may leave zeros or half lines beside the
    prediction_log: the server starts, answers, and records what it answers."""
    workspace.prediction_log.with_name("predictions.db-spool").write_bytes(left)
    with (
        serve(workspace.home, FOLDER) as server,
        Load(server.port, [QUESTION], 2) as load,
    ):
        load.reach(150)
        load.stop()
        assert judged(server, load.fine[-1].trace_id)
        assert server.metric("mien_prediction_log_dropped_total") == 0
        assert server.metric("mien_prediction_log_rows") == len(load.records)
    assert load.failed == []
