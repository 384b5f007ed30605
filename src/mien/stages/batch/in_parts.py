"""A batch that writes its table in parts, so that any number of processes can work on it.

The parts that are missing are scored here, or by an engine elsewhere; what is there is never
scored again. `mien batch` on a laptop, an Indexed Job and a cluster write the same bytes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from mien.errors import DataError
from mien.reporting import console
from mien.storage.buckets import Location
from mien.task import Task

from . import inputs, local, on_ray, parts
from .parts import PartRecord
from .plan import PLAN, Plan, PlannedItems, base_of, refused
from .result import BatchIdentity, BatchResult
from .scoring import Scorer
from .shard import Shard

Engine = Literal["local", "ray", "shard"]


def score(
    source: Location,
    folder: Location,
    identity: BatchIdentity,
    suffix: str,
    force: bool,
    scorer: Scorer,
    engine: Engine | Shard,
) -> BatchResult:
    """Score the missing parts of a plan, of all or of one shard, and close it if none is left.

    Raises:
        DataError: there is nothing to score, or a part cannot be used.
        ConfigError: the folder has the result of something else.
    """
    shard = engine if isinstance(engine, Shard) else None
    if force and shard:
        raise refused(folder, "may hold parts of other shards, and --force would delete them")
    if force:
        parts.remove(folder)
    parts.require_own(folder)
    plan = _plan(source, folder, identity, suffix, scorer.task, trust=shard is not None)
    if document := parts.committed(folder, plan):
        return BatchResult(
            folder, document.rows, document.failed, True, 0.0, resumed_rows=document.rows
        )
    items = PlannedItems(plan, folder, source, scorer.task)
    score_parts = on_ray.score_parts if engine == "ray" else local.score_parts
    return _score_missing(items, shard, scorer.task.name, partial(score_parts, scorer, items))


def _plan(
    source: Location,
    folder: Location,
    identity: BatchIdentity,
    suffix: str,
    task: Task[Any],
    trust: bool,
) -> Plan:
    """The plan that is there, if it is of this run; otherwise a new one.

    A shard trusts the list of an existing plan: it compares each file as it reads it, and hundreds
    of shards do not list a million files each.
    """
    if plan := Plan.read(folder):
        plan.require(folder, identity, suffix)
        if trust:
            return plan
    batch_input = inputs.announced(source, task, folder, identity)
    if plan is None:
        Plan.make(folder, batch_input, base_of(source), identity=identity, suffix=suffix)
        plan = Plan.read(folder)
        assert plan is not None
        plan.require(folder, identity, suffix)  # another process may have been faster
    if plan.fingerprint != batch_input.fingerprint:
        raise refused(folder, "was made from other files, or from earlier versions of them")
    return plan


def _score_missing(
    items: PlannedItems,
    shard: Shard | None,
    name: str,
    score_parts: Callable[[list[int], local.Progress], Iterator[PartRecord]],
) -> BatchResult:
    stopwatch, plan, folder = console.Stopwatch(), items.plan, items.folder
    count = len(plan.parts)
    own = shard.parts(count) if shard else range(count)
    records = parts.present(folder, plan, own)
    rows = resumed = sum(record.rows for record in records.values())
    failed = sum(record.failed for record in records.values())
    total = sum(plan.parts[number].rows for number in own)
    with console.bar(f"mien-{name}") as advance:

        def progress(new_rows: int, new_failed: int) -> None:
            nonlocal rows, failed
            rows, failed = rows + new_rows, failed + new_failed
            advance(rows, total, f"{failed} failed" if failed else "")

        numbers = [number for number in own if number not in records]
        for _ in score_parts(numbers, progress):
            pass
    lacking = len(parts.missing(folder, plan)) if shard else 0
    if not lacking:
        parts.commit(folder, plan)
    return BatchResult(
        folder, rows, failed, False, stopwatch.seconds, resumed,
        shard=str(shard or ""), missing_parts=lacking,
    )  # fmt: skip


def commit(folder: Location) -> BatchResult:
    """Close a folder whose parts are all there.

    Raises:
        DataError: there is no plan, or parts are missing or damaged.
    """
    plan = Plan.read(folder)
    if plan is None:
        raise DataError(f"{folder}: expected {PLAN}, found none. Run `mien batch` first.")
    document = parts.committed(folder, plan) or parts.commit(folder, plan)
    return BatchResult(folder, document.rows, document.failed, False, 0.0, resumed_rows=0)
