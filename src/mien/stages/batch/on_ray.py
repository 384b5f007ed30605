"""Scores parts on Ray: numbers of parts go there, records of parts come back, pixels never travel.

The only importer of ray. Every node needs mien, and the source, the bundle and the output at the
same paths. A part whose worker or node ends is given to another one.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mien import tasks
from mien.errors import ConfigError, DataError, MienError
from mien.model import golden
from mien.storage.buckets import location

from . import local, tables
from .local import Progress
from .parts import PartRecord
from .plan import Plan, PlannedItems
from .scoring import Scorer

MAX_RETRIES = 3
"""Workers that a part may end before the batch does: a picture may crash its decoder."""
PARTS_PER_CPU = 2
"""Parts that are given to the cluster at a time, for each of its processors."""
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def score_parts(
    scorer: Scorer, items: PlannedItems, numbers: Iterable[int], progress: Progress
) -> Iterator[PartRecord]:
    """Score parts on the cluster of RAY_ADDRESS, or on one of this machine that ends with them.

    Raises:
        ConfigError: ray is not installed, or the cluster is on the network and asks for no token.
        DataError: a part ended its worker several times.
    """
    paths = (items.folder, items.source, scorer.model.bundle.folder)
    arguments = [*(str(path.resolve()) for path in paths), items.plan.digest]
    with connected(scorer.threads) as ray:
        score_part = ray.remote(_score_part).options(num_cpus=1, max_retries=MAX_RETRIES)
        waiting, running = deque(numbers), dict[Any, int]()
        while waiting or running:
            cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))  # 0: none has joined yet
            room = PARTS_PER_CPU * cpus - len(running)
            for _ in range(min(room, len(waiting))):
                number = waiting.popleft()
                running[score_part.remote(*arguments, number)] = number
            (ready, *_), _ = ray.wait(list(running))
            document = result(ray, ready, f"Part {running.pop(ready)}")
            record = PartRecord.model_validate(document)
            progress(record.rows, record.failed)
            yield record


def require_login(address: str) -> None:
    """Refuse a cluster on the network without a token: it runs the code of anybody who reaches it.

    Raises:
        ConfigError: RAY_AUTH_MODE is not token.
    """
    host = urlsplit(address if "://" in address else f"//{address}").hostname
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # it listens on all interfaces
    elif host not in _LOOPBACK and os.environ.get("RAY_AUTH_MODE") != "token":
        raise ConfigError(
            f"RAY_ADDRESS={address}: expected a cluster with token authentication, found "
            f"RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', '')}. Set it to token on every node "
            "and here."
        )


def result(ray: Any, reference: Any, name: str) -> Any:
    """What a task returned.

    Raises:
        MienError: what it raised, or that its worker ended several times.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, MienError):
            raise cause from None
        raise DataError(f"{name} cannot be done on Ray: {error}") from None


def _score_part(folder: str, source: str, bundle: str, digest: str, number: int) -> dict[str, Any]:
    """Score one part; runs in a worker, which keeps the model for the next one."""
    scorer, items = _opened(folder, source, bundle, digest)
    (record,) = local.score_parts(scorer, items, [number], lambda rows, failed: None)
    return record.model_dump()


@lru_cache(maxsize=1)
def _opened(folder: str, source: str, bundle: str, digest: str) -> tuple[Scorer, PlannedItems]:
    folders = location(folder), location(source)
    plan, model = Plan.read(folders[0]), golden.load(Path(bundle))
    if plan is None or plan.digest != digest or plan.identity.digest != model.bundle.digest:
        raise ConfigError(
            f"{folder} and {bundle}: expected the plan and the bundle of the driver, found others "
            "on this node. Let all nodes see the same folders."
        )
    task = tasks.load(plan.identity.task)
    write_table = tables.writer_for(Path(f"part{plan.suffix}"))
    scorer = Scorer(task, model, 1, write_table)
    return scorer, PlannedItems(plan, *folders, task)


@contextmanager
def connected(cpus: int) -> Iterator[Any]:
    """The module `ray`, connected to the cluster of RAY_ADDRESS, or to one of this machine.

    Raises:
        ConfigError: ray is not installed, or the cluster is on the network and asks for no token.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    require_login(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "--engine ray: expected ray, found no such package. Run `pip install 'mien[ray]'`."
        ) from None
    if ray.is_initialized():
        yield ray
        return
    more = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level="error", **more)
    try:
        yield ray
    finally:
        ray.shutdown()
