"""What a prediction log in PostgreSQL costs an answer: docs/source/measured/postgresql.md.

    python3 tasks.py bench postgresql

Takes about eight minutes, on Linux, and needs no workspace. Two processes, one for each log, record
answers at the same moments and at the same rate; each counts its own CPU time, with the thread
that moves records. PostgreSQL itself is another process. A loop of the lowest priority on each core
keeps it from sleeping, because the CPU time of a record also depends on how long its core slept.
`--quick` takes a few seconds, to see that it works, and writes no page.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from bench import cores
from bench.page import ROOT, table, write
from mien.observability.prediction_log import writer
from mien.observability.prediction_log.location import PostgresLocation, PredictionLogLocation
from mien.observability.prediction_log.schema import PredictionRecord
from mien.observability.prediction_log.writer import PredictionLog
from mien.stages.serve.trace_id import new_trace_id

sys.path.insert(0, str(ROOT / "tests"))  # the tests have the server to measure against
import postgresql

GOAL_US = 20.0
TURNS = 5
ANSWERS = {4: 256, 16: 256, 100: 1024, 400: 2048}
"""Of one turn, by answers in a second: SQLite moves 256 together."""
QUICK_ANSWERS = {100: 256, 400: 512}


def main() -> None:
    """Measure, and write the page."""
    quick = "--quick" in sys.argv
    answers, turns = (QUICK_ANSWERS, 1) if quick else (ANSWERS, TURNS)
    with ExitStack() as stack:
        server = stack.enter_context(postgresql.running())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shared = PostgresLocation(server.address, scratch / "spool")
        workers = [_worker(location) for location in (scratch / "predictions.db", shared)]
        cores.keep_awake(os.sched_getaffinity(0))
        used: dict[int, list[list[float]]] = {rate: [] for rate in answers}
        for _ in range(turns):
            for rate, count in answers.items():
                for worker in workers:
                    worker.send((rate, count))
                used[rate].append([worker.recv() for worker in workers])
        for worker in workers:
            worker.send(None)
            worker.recv()
        assert server.count() == turns * sum(answers.values())
    parts = list(_parts(used, turns))
    if quick:
        print("\n\n".join(parts))
    else:
        write("postgresql", "What a prediction log in PostgreSQL costs", parts)


def _parts(used: dict[int, list[list[float]]], turns: int) -> Iterator[str]:
    yield (
        "CPU time of a process for each answer that it records, its thread that moves records and "
        f"the loop that waits for the next answer included; median of {turns} turns. A loop of the "
        "lowest priority keeps each core awake. A process "
        "with a log in SQLite and one with a log in PostgreSQL record at the same moments. SQLite "
        f"gets {writer.FLUSH_ROWS} records together; PostgreSQL as many at most, after "
        f"{writer.FLUSH_INTERVAL_S:g} seconds at the latest, and at once where another server asks."
    )
    rows = []
    for rate, turn in used.items():
        sqlite, shared = zip(*turn, strict=True)
        more = median(two - one for one, two in turn)
        rows.append(
            {
                "answers a second": rate,
                "SQLite, µs": _range(sqlite),
                "PostgreSQL, µs": _range(shared),
                "more than SQLite, µs": f"{more:+.0f}",
                f"at most {GOAL_US:g} µs more": "yes" if more <= GOAL_US else "NO",
            }
        )
    yield table(rows)


def _range(values: tuple[float, ...]) -> str:
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _worker(location: PredictionLogLocation) -> Connection:
    """A process with a log; sent a rate and a count, it answers with microseconds of CPU time."""
    own, other = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=_record_all, args=(location, other), daemon=True).start()
    other.close()
    return own


def _record_all(location: PredictionLogLocation, pipe: Connection) -> None:
    with closing(PredictionLog(location)) as log:
        while asked := pipe.recv():
            rate, count = asked
            records = [_record() for _ in range(count)]
            log._try_drain()
            start_s, before = time.monotonic(), _cpu_s()
            for number, record in enumerate(records):
                time.sleep(max(0.0, start_s + number / rate - time.monotonic()))
                log.add(record)
            log._try_drain()
            pipe.send((_cpu_s() - before) / count * 1e6)
    pipe.send(None)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _record() -> PredictionRecord:
    stats = {"brightness": 0.5123456, "contrast": 0.2123, "hands": 1.0, "width": 640.0}
    return PredictionRecord(
        *(new_trace_id(), time.time(), "gesture", "3", "c" * 64, "ok", "like", 0.98765432),
        *(stats, 0.0387654),
    )


if __name__ == "__main__":
    main()
