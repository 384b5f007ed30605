"""Resident memory of a server with both champions: this code and the code before, in turns.

MIEN_BENCH_BEFORE names another checkout of the project. The champion of emotions is that of the
workspace; that of gestures is fitted by each code, for its own form of bundles.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import load, page, servers, starts, workloads
from bench.rivals.champions import folder
from mien.model.bundle import MANIFEST
from mien.storage.workspace import Workspace

BEFORE = "MIEN_BENCH_BEFORE"
CLIENTS, SECONDS, ROUNDS = 8, 15, 2
FIT = """
import sys
from pathlib import Path
from mien.model import bundle, golden
from mien.storage.workspace import CHAMPION, Workspace
from mien.tasks.gesture import TASK, data
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.train import fit

table, home = Path(sys.argv[1]), Path(sys.argv[2])
folders = [home / name for name in ("raw", "ready", "work", "cache")]
for folder in folders:
    folder.mkdir(parents=True)
(folders[0] / table.name).write_bytes(table.read_bytes())
data.prepare(folders[0], folders[1], Params(), folders[3])
done = fit("svm", folders[1], folders[2], Params(), 0, lambda *_: None)
target = Workspace(home).version("gesture", 1)
target.mkdir(parents=True)
bundle.copy_networks(folders[2], target)
manifest = bundle.describe("gesture", HAGRID_LABELS, "svm", done.preprocessing)
golden.write(target, manifest, TASK.inference.drawn_predictions())
for name in ("gesture", "emotion"):
    Workspace(home).write_aliases(name, {CHAMPION: 1})
print(bundle.FORMAT)
"""


def main() -> None:
    """Measure, and write the page."""
    code = {"this code": page.ROOT}
    if BEFORE in os.environ:
        code["the code before"] = Path(os.environ[BEFORE]).resolve()
    asked = [each for each in workloads.make(6, 6) if "12 MP" not in each.name]
    found: dict[str, list[float]] = {name: [] for name in code}
    with tempfile.TemporaryDirectory() as name:
        homes = {each: _home(Path(name) / each.replace(" ", "-"), code[each]) for each in code}
        for _ in range(ROUNDS):
            for each, root in code.items():
                found[each].append(_resident(root, homes[each], asked))
    rows = [
        {"code": name, "MB resident": ", ".join(f"{mb:.0f}" for mb in values)}
        for name, values in found.items()
    ]
    parts = [_INTRODUCTION, page.table(rows)]
    if len(code) == 2:
        this, before = (min(values) for values in found.values())
        parts.append(f"This code: **{this / before:.2f} x** the code before.")
    page.write("memory", "Memory of a server", parts)


def _home(home: Path, root: Path) -> Path:
    """A workspace with both champions, in the form of bundles that the code reads."""
    table = page.real_data() / "gesture" / "landmarks_iti.csv"
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(table), str(home)],
        env=os.environ | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    target = Workspace(home).version("emotion", 1)
    shutil.copytree(folder("emotion"), target)
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    manifest["format"] = int(done.stdout.split()[-1])
    (target / MANIFEST).write_text(json.dumps(manifest, sort_keys=True), encoding="utf-8")
    return home


def _resident(root: Path, home: Path, asked: list[workloads.Workload]) -> float:
    """MB of the server's process after the work."""
    port = servers.free_port()
    env = {
        "MIEN_HOME": str(home),
        "MIEN_PREDICTION_LOG": str(home / "predictions.db"),
        "MIEN_GRACE_S": "0",
        "PYTHONPATH": str(root / "src"),
    }
    serve = [sys.executable, "-m", "mien.cli", "serve", "--port", str(port)]
    with (home / "log").open("w", encoding="utf-8") as log:
        process = servers.pinned(serve, os.environ | env, log)
        running = servers.Running(
            servers.Server("mien serve", lambda _: serve, servers.mien_wire), process, port
        )
        try:
            for workload in asked:
                starts.until_answered(running, running.wires(workload)[0], home / "log")
                load.send(port, running.wires(workload), CLIENTS, SECONDS)
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        finally:
            running.end()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    return int(resident[1]) * 1024 / 1e6


_INTRODUCTION = (
    f"`mien serve` on one core with a champion of each task, after {SECONDS} seconds of photos of "
    f"640 pixels, faces of 96 pixels and landmarks from {CLIENTS} clients each; `VmRSS` of its "
    f"process, {ROUNDS} starts in turn."
)


if __name__ == "__main__":
    main()
