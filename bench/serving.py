"""The server against what one would take instead: docs/source/performance.md and its plot.

    python3 tasks.py bench serving

Takes about ten minutes, on Linux with two cores; MIEN_BENCH_SMOKE=1 runs it briefly, to see that
all works, and writes nothing to the docs. The models are the champions of both tasks in the
workspace, with the `work/` folder of their training beside them. The rivals are installed with uv
below ~/.cache/mien/bench, as bench/rivals/*.txt pins them; one that cannot be installed or started
is named on the page, and the others go on.
"""

import os
import sys
import tempfile
from pathlib import Path

from bench import cores, originals, report, rounds, servers, starts, workloads
from bench.rivals.champions import folder
from bench.servers import CACHE, NotThereError
from mien import config
from mien.model import bundle
from mien.reporting import console

SMOKE = "MIEN_BENCH_SMOKE"


def main() -> None:
    """Install, measure, and write the page."""
    plan = rounds.SMOKE if os.environ.get(SMOKE) else rounds.FULL
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("This bench needs two cores: one for the servers, one for the load.")
    # Servers run in folders of their own.
    os.environ["MIEN_HOME"] = str(config.settings().home.resolve())
    digests = [bundle.read(folder(task)).digest[:12] for task in ("emotion", "gesture")]
    originally = CACHE / f"originals-{'-'.join(digests)}"
    originals.write(originally)
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        asked = workloads.make(plan.photos, plan.hands)
        (scratch / "asked").mkdir()
        workloads.write(asked, scratch / "asked")
        known = servers.known(scratch / "asked", originally)
        for server in known:
            _install(server)
        crowding = cores.crowding(servers.SERVER_CORE, servers.LOAD_CORE)
        seen = rounds.measure(plan, known, asked, scratch)
        seen.crowding = crowding
        console.info("starts and memory of `mien serve`")
        taken = starts.measure(asked, plan.starts, plan.work, scratch)
    path = report.PAGE if plan is rounds.FULL else _elsewhere()
    print(report.write(path, seen, taken, known, asked, plan))
    console.info(f"written: {path}")


def _install(server: servers.Server) -> None:
    """Before the first session, so that it does not wait; `start` says what is wrong."""
    try:
        servers.installed(server)
    except NotThereError as error:
        console.failure(str(error))


def _elsewhere() -> Path:
    return Path(tempfile.mkdtemp(prefix="mien-bench-")) / report.PAGE.name


if __name__ == "__main__":
    main()
