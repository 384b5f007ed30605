"""`mien batch --engine ray`: a real Ray whose nodes and driver are killed; the bytes of `local`."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray_program
from ray_program import RayProgram
from waiting import TRAINING_PATIENCE, until

from mien.errors import ConfigError
from mien.stages.batch import on_ray

from .drawn import draw, score


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """97 items in 13 parts; decoding one part takes a fraction of a second."""
    draw(tmp_path / "large.png", shade=0, side=2500)
    for number in range(96):
        link = tmp_path / f"in/{number:02}.png"
        link.parent.mkdir(exist_ok=True)
        os.link(tmp_path / "large.png", link)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    return tmp_path / "in"


@pytest.mark.parametrize("address", ["10.0.0.7:6379", "ray://cluster:10001", "auto"])
def test_a_cluster_without_login_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Anybody who reaches it could run code on it; one on this machine gets a token by itself."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ConfigError, match=r"expected a cluster with token authentication, found"):
        on_ray.require_login(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    on_ray.require_login(address)
    monkeypatch.delenv("RAY_AUTH_MODE")
    on_ray.require_login("local")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_without_ray_the_message_names_the_extra(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is there by then, and another engine may go on; Ray would report nothing."""
    draw(tmp_path / "in/a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with pytest.raises(ConfigError, match=r"pip install 'mien\[ray\]'"):
        score(tmp_path / "in", tmp_path / "out", bundle, engine="ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert score(tmp_path / "in", tmp_path / "out", bundle).rows == 1


PROGRAM = """
import os, sys, threading, time
from pathlib import Path
import ray
from mien.stages import batch
from mien.stages.batch import plan
from mien.storage.workspace import Workspace

source, out, bundle, nodes = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
plan.PART_ROWS = 8
args = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
failures = []

def say(text):
    # In one piece: Ray's threads write to the same log.
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()

def score():
    try:
        result = batch.batch(source, out, Workspace(Path()), bundle=bundle, threads=2, engine="ray")
        say(f"rows {result.rows} {result.failed}")
    except BaseException as error:
        failures.append(error)

if nodes == "one":
    score()
else:
    from ray.cluster_utils import Cluster
    cluster = Cluster(initialize_head=True, head_node_args={**args, "include_dashboard": False})
    second = cluster.add_node(**args)
    ray.init(cluster.address, log_to_driver=False)
    thread = threading.Thread(target=score)
    thread.start()
    while len(list(out.glob("part-*"))) < 3 and not failures:
        time.sleep(0.01)
    say(f"node killed {len(list(out.glob('part-*')))}")
    cluster.remove_node(second, allow_graceful=False)
    cluster.add_node(**args)
    thread.join()
    ray.shutdown()
    cluster.shutdown()
if failures:
    raise failures[0]
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[RayProgram]:
    with ray_program.running(tmp_path, PROGRAM) as program:
        yield program


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*") if path.is_file()}


@pytest.mark.long
def test_a_node_that_is_killed_loses_nothing(
    pictures: Path, tmp_path: Path, bundle: Path, program: RayProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One of two nodes is replaced in the middle; the folder has the bytes of a local run."""
    monkeypatch.setattr("mien.stages.batch.plan.PART_ROWS", 8)
    running = program.start(pictures, tmp_path / "out", bundle, "two")
    assert running.wait(TRAINING_PATIENCE) == 0, program.log
    assert "rows 97 1" in program.log
    at = int(program.log.partition("node killed ")[2].split()[0])
    assert 3 <= at < 13
    score(pictures, tmp_path / "local", bundle)
    assert parts(tmp_path / "out") == parts(tmp_path / "local")


@pytest.mark.long
def test_a_killed_driver_leaves_parts_to_another_engine(
    pictures: Path, tmp_path: Path, bundle: Path, program: RayProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What began on Ray ends locally: no part is scored twice, no temporary one is believed."""
    monkeypatch.setattr("mien.stages.batch.plan.PART_ROWS", 8)
    out = tmp_path / "out"
    running = program.start(pictures, out, bundle, "one")
    try:
        until(
            lambda: running.poll() is not None or len(list(out.glob("part-*"))) >= 3,
            lambda: program.log,
            TRAINING_PATIENCE,
        )
    finally:
        running.kill()
        running.wait(TRAINING_PATIENCE)
        program.end()
    first = {path: path.stat().st_ino for path in out.glob("part-*")}
    assert 3 <= len(first) < 13, program.log
    copy = shutil.copytree(out, tmp_path / "copy")
    assert score(pictures, out, bundle).resumed_rows == sum(
        1 if path.name.startswith("part-000012") else 8 for path in first
    )
    assert {path: path.stat().st_ino for path in first} == first
    score(pictures, copy, bundle, force=True)
    assert parts(copy) == parts(out)
