"""How long a batch takes on many nodes: an estimate on paper, from figures of one machine.

Files per second of a core come from the page of `bench batch`; what each shard pays once, and what
one process does alone, are measured here in CPU time, on which other load has little effect. No
cluster has run it. `python -m bench.scale --pictures 10000000 --nodes 32 --cores 2` prints it for
other numbers.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import page
from bench.batch import _champion, _faces, _linked
from mien import config
from mien.stages import batch as stage
from mien.stages.batch import inputs, parts
from mien.stages.batch.plan import PART_ROWS, Plan
from mien.storage.workspace import Workspace

FILES = 20_000
SCORED = 2048
STARTS = 5
PAGE = page.ROOT / "docs" / "source" / "measured" / "batch.md"


@dataclass(frozen=True)
class Measured:
    """Figures of one machine."""

    files_per_core_s: float
    start_s: float
    """CPU time of a shard beside its pictures."""
    listing_s: float
    """CPU time of the plan for each picture, in the shard that makes it."""
    check_s: float
    """CPU time of the commit for each part, in the shard that ends last."""


def main() -> None:
    """Measure, and write the page."""
    arguments = _arguments()
    measured = _measured(Workspace(config.settings().home))
    steps = estimate(measured, arguments.pictures, arguments.nodes, arguments.cores)
    total = sum(steps.values())
    slowest = max(steps, key=lambda step: steps[step])
    page.write("scale", "A batch on many nodes, on paper", [
        "No cluster has run this: it is arithmetic on figures of one machine. Pictures are those "
        "of [the page on batches](batch.md), 96-pixel faces, on a disk as fast as there; a bucket "
        "adds the waiting for its answers.",
        page.table([{
            "files/s of a core": f"{measured.files_per_core_s:.0f}",
            "start of a shard, CPU s": f"{measured.start_s:.1f}",
            "plan, CPU us a picture": f"{measured.listing_s * 1e6:.1f}",
            "commit, CPU ms a part": f"{measured.check_s * 1e3:.1f}",
        }]),
        f"## {arguments.pictures:,} pictures on {arguments.nodes} nodes of {arguments.cores} cores",
        page.table([
            {"step": step, "s": f"{seconds:.0f}", "share": f"{seconds / total:.0%}"}
            for step, seconds in steps.items()
        ]),
        f"In all {total / 60:.0f} minutes. The bottleneck: {slowest}.",
    ])  # fmt: skip


def estimate(measured: Measured, pictures: int, nodes: int, cores: int) -> dict[str, float]:
    """Seconds of each step; each shard uses one core."""
    shards = nodes * cores
    return {
        "start, all shards at the same time": measured.start_s,
        "plan, one process": pictures * measured.listing_s,
        "scoring, all cores": pictures / (shards * measured.files_per_core_s),
        "commit, one process": -(-pictures // PART_ROWS) * measured.check_s,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("pictures", 10_000_000), ("nodes", 32), ("cores", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def _measured(home: Workspace) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        faces, many, out = (Path(scratch, name) for name in ("faces", "many", "out"))
        _faces(faces)
        _linked(faces, many, FILES)
        some, one = Path(scratch, "some"), Path(scratch, "one")
        _linked(faces, some, SCORED)
        _linked(faces, one, 1)
        with _champion("emotion", home) as (task, model):
            bundle = model.bundle.folder
            stage.batch(some, out, home, bundle=bundle)
        plan = Plan.read(out)
        assert plan is not None
        numbers = range(len(plan.parts))
        start = time.process_time()
        parts.commit(out, plan)
        check_s = (time.process_time() - start) / len(numbers)
        start = time.process_time()
        listed = inputs.list_items(many, task, Path(scratch, "plan"), False)
        Plan.make(Path(scratch, "plan"), listed, many, identity=plan.identity, suffix=plan.suffix)
        listing_s = (time.process_time() - start) / FILES
        return Measured(_files_per_core(), _start(one, bundle, out.parent), listing_s, check_s)


def _start(folder: Path, bundle: Path, scratch: Path) -> float:
    """CPU seconds of a process that scores one picture; the median of several."""
    spent = []
    for turn in range(STARTS):
        command = [sys.executable, "-m", "mien.cli", "batch", str(folder), "--bundle", str(bundle)]
        command += ["--out", str(scratch / f"start{turn}"), "--shard", "0/1", "--threads", "1"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=page.ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return sorted(spent)[STARTS // 2]


def _files_per_core() -> float:
    """Of shards, from the page of `bench batch`."""
    text = PAGE.read_text(encoding="utf-8")
    cores = re.search(r"bench batch` on (\d+) cores", text)
    rate = re.search(r"^\| shards, processes \| \d+ \| ([\d.]+) \|", text, re.MULTILINE)
    if not cores or not rate:
        sys.exit(f"{PAGE.name} has no rate of shards: run `python3 tasks.py bench batch` first.")
    return float(rate[1]) / int(cores[1])


if __name__ == "__main__":
    main()
