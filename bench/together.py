"""Whether batching of waiting requests is faster: docs/source/measured/together.md.

    python3 tasks.py bench together

Predicts the examples of the task with every evaluated candidate of the workspace, one by one and in
batches, as a server does when it starts. Takes half a minute.
"""

from typing import Any

import numpy as np

from bench.page import table, write
from mien import config, tasks
from mien.model import runtime
from mien.model.runtime import Model
from mien.stages.serve import batching
from mien.storage.workspace import Workspace
from mien.task import Request, Task

SIZES = (2, 4, 8)
Row = dict[str, object]


def main() -> None:
    """Measure and write the page."""
    home = Workspace(config.settings().home)
    rows: list[Row] = []
    for name in tasks.names():
        for path in sorted(home.evaluated(name).glob("*/*/bundle.json")):
            with runtime.load(path.parent) as model:
                rows += _rows(tasks.load(name), model)
    write(
        "together",
        "Batching of waiting requests",
        [
            "The time of that many predictions in one batch, relative to their time one by one, "
            "measured by the function that decides when a server starts: below "
            f"{batching.MAX_TIME_RATIO:g} at {SIZES[-1]}, waiting requests of that kind are "
            f"batched. A prediction that takes longer than {1000 * batching.MAX_CALL_S:g} ms alone "
            f"is not tried and has the value 1. Decoding is not included.",
            table(rows),
        ],
    )


def _rows(task: Task[Any], model: Model) -> list[Row]:
    return [
        {
            "task": task.name,
            "candidate": model.bundle.manifest.candidate,
            "request": kind,
            **{f"batch of {size}": f"{share:.2f}" for size, share in shares.items()},
            "batched": "yes" if shares[SIZES[-1]] < batching.MAX_TIME_RATIO else "no",
        }
        for kind, request in _examples(task).items()
        for shares in [
            {size: batching.batch_time_ratio(task, model, request, size) for size in SIZES}
        ]
    ]


def _examples(task: Task[Any]) -> dict[str, Request]:
    found = {"picture": Request(image=np.asarray(task.inference.sample_picture().convert("RGB")))}
    if task.inference.Body is not None:
        example = task.inference.Body.model_json_schema()["examples"][0]
        found["json"] = Request(body=task.inference.Body.model_validate(example))
    return found


if __name__ == "__main__":
    main()
