"""mien's own server, with the raw limit measured inside of it: the same sessions, the same memory.

    python -m bench.host WORKLOADS

The app is the one that `mien serve` runs (`app.running`), unchanged. The first line of standard
output is its port. Each line of standard input, `{"workload": NAME, "seconds": S}`, is answered by
a line with what one thread does without HTTP in that time: bytes to request, request to answer.
With `"pause": P` the thread rests P seconds before each call, as a server does for a single client.
WORKLOADS is the folder of `bench.workloads.write`. A second argument `parts` puts clocks around the
parts of a request (`bench.parts`), and `{"parts": true}` is answered by their CPU seconds until
now.
"""

import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, sleep, thread_time
from typing import Any

from bench import workloads
from bench.parts import PartClock
from bench.workloads import Workload
from mien import config, tasks
from mien.model import runtime
from mien.model.runtime import Model
from mien.stages.serve import app as serve
from mien.storage.workspace import Workspace
from mien.task import Request, Task


def main() -> None:
    """Serve until standard input ends."""
    # As `mien serve` has it: freed memory is kept, and there is one line for each request, into a
    # file as in a container.
    runtime.tune_malloc()
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asked = {each.name: each for each in workloads.read(Path(sys.argv[1]))}
    parts = PartClock()
    if "parts" in sys.argv[2:]:
        parts.install()
    settings, opened = config.settings(), _opened()
    with (
        serve.running(Workspace(settings.home), [], [], settings) as address,
        ThreadPoolExecutor(1, thread_name_prefix="raw") as pool,
    ):
        _tell(int(address.rpartition(":")[2]))
        for line in sys.stdin:
            wanted = json.loads(line)
            if "parts" in wanted:
                _tell(parts.spent_s)
                continue
            workload = asked[wanted["workload"]]
            model = opened[workload.task]
            rest = wanted.get("pause", 0.0)
            _tell(pool.submit(_loop, workload, model, wanted["seconds"], rest).result())


def _opened() -> dict[str, Model]:
    """The models that the server opens, by their task, as soon as it has opened them."""
    found: dict[str, Model] = {}
    load = runtime.load

    def remembering(folder: Path) -> Model:
        model = load(folder)
        found[model.bundle.manifest.task] = model
        return model

    runtime.load = remembering
    return found


def _loop(workload: Workload, model: Model, seconds: float, pause: float) -> dict[str, Any]:
    """Whole rounds of the workload's questions, one after the other."""
    task, times = tasks.load(workload.task), []
    ask = _of_json(task) if workload.is_json else task.inference.read
    # What a thread keeps for itself is made on first use, and what was stopped has left the caches.
    task.inference.predict(ask(workload.questions[0].content), model)
    start, cpu_start = perf_counter(), thread_time()
    while perf_counter() - start < seconds:
        for question in workload.questions:
            if pause:
                sleep(pause)
            began = perf_counter()
            task.inference.predict(ask(question.content), model)
            times.append(perf_counter() - began)
    cpu_s = thread_time() - cpu_start
    return {"seconds": perf_counter() - start, "latencies": times, "cpu_s": cpu_s}


def _of_json(task: Task[Any]) -> Callable[[bytes], Request]:
    schema = task.inference.Body
    assert schema is not None
    return lambda body: Request(body=schema.model_validate_json(body))


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
