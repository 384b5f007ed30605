"""Whether questions that wait are better answered together: docs/source/measured/together.md.

    python3 tasks.py bench together

Asks every evaluated candidate of the workspace for its task's own examples, one by one and several
at once, with what a server does at its start. Takes half a minute.
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
        "Questions answered together",
        [
            "The time of so many predictions made together, as a share of their time one by one, "
            "by the function that decides at a server's start: below "
            f"{batching.GAIN:g} at {SIZES[-1]}, waiting questions of that kind are answered "
            f"together. What takes longer than {1000 * batching.TOO_LONG:g} ms alone is not tried "
            "and stands as 1. Decoding is not in it.",
            table(rows),
        ],
    )


def _rows(task: Task[Any], model: Model) -> list[Row]:
    return [
        {
            "task": task.name,
            "candidate": model.bundle.manifest.candidate,
            "question": kind,
            **{f"{size} at once": f"{share:.2f}" for size, share in shares.items()},
            "together": "yes" if shares[SIZES[-1]] < batching.GAIN else "no",
        }
        for kind, request in _examples(task).items()
        for shares in [{size: batching.share(task, model, request, size) for size in SIZES}]
    ]


def _examples(task: Task[Any]) -> dict[str, Request]:
    found = {"picture": Request(image=np.asarray(task.inference.sample_picture().convert("RGB")))}
    if task.inference.Body is not None:
        example = task.inference.Body.model_json_schema()["examples"][0]
        found["json"] = Request(body=task.inference.Body.model_validate(example))
    return found


if __name__ == "__main__":
    main()
