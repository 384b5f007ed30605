"""Test traffic of a world that has changed since the training: one class is shown in another way,
or all pictures are darker and askew."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mien.errors import StackError
from mien.stages.monitor import traffic
from mien.stages.monitor.traffic import LabelledRequest

BRIGHTNESS, DEGREES = 0.5, 20.0
"""Pictures of the changed world."""
TILT = (1.5, 0.4)
"""Points of the changed class: wider and shorter, as of a hand that is tilted away."""
MAX_KNOWN = 0.5
"""Share of the changed requests that a model may answer right and still has to learn."""
_PROBES = 8
_SEED = 1000
"""Of the drawings: another one than those of trainings."""


@dataclass(frozen=True)
class ChangedWorld:
    """Requests of the changed world, in three parts that have none in common."""

    description: str
    review: Sequence[LabelledRequest]
    shadow: Sequence[LabelledRequest]
    test: Sequence[LabelledRequest]


def make(task: str, is_right: Callable[[LabelledRequest], bool]) -> ChangedWorld:
    """Draw requests and change them.

    Args:
        task: its name.
        is_right: whether the server answers a request right; asked to choose the class.

    Raises:
        StackError: the server knows the changed world already.
    """
    drawn = traffic.draw_requests(task, ["train", "test"], _SEED)
    parts = [drawn["train"][::2], drawn["train"][1::2], drawn["test"]]
    if all(each.is_image for each in parts[0]):
        description = (
            f"pictures with {BRIGHTNESS:.0%} of their brightness, {DEGREES:g} degrees askew"
        )
        changed = [[_askew(each) for each in part] for part in parts]
        probes = changed[0]
    else:
        label = _least_known(parts[0], is_right)
        description = f"{label!r} is tilted away, and is every second request"
        changed = [_with_tilted(part, label) for part in parts]
        probes = [each for each in changed[0] if each.label == label]
    if np.mean([*map(is_right, probes[:_PROBES])]) > MAX_KNOWN:
        raise StackError(
            f"loop: expected a model that does not know the changed world ({description}), found "
            f"more than {MAX_KNOWN:.0%} right. Has the drill run here before? Use another "
            "workspace."
        )
    return ChangedWorld(description, *changed)


def tilted(request: LabelledRequest) -> LabelledRequest:
    """The same points, wider and shorter as seen from the first one."""
    document = json.loads(request.body)
    name = next(key for key, value in document.items() if isinstance(value, list))
    points = np.array(document[name], np.float64)
    points[:, :2] = points[:1, :2] + (points[:, :2] - points[:1, :2]) * TILT
    return replace(request, body=json.dumps({**document, name: points.tolist()}).encode())


def _least_known(
    requests: Sequence[LabelledRequest], is_right: Callable[[LabelledRequest], bool]
) -> str:
    """The class that the server knows least when it is tilted."""
    accuracy = {}
    for label in sorted({each.label for each in requests if each.label}):
        own = [each for each in requests if each.label == label][:_PROBES]
        accuracy[label] = np.mean([is_right(tilted(each)) for each in own])
    return min(accuracy, key=lambda label: accuracy[label])


def _with_tilted(requests: Sequence[LabelledRequest], label: str) -> list[LabelledRequest]:
    """The requests of a class, tilted, and as many of others, in a random order."""
    rng = random.Random(_SEED)
    own = [tilted(each) for each in requests if each.label == label]
    others = [each for each in requests if each.label != label]
    mixed = [*own, *rng.sample(others, min(len(own), len(others)))]
    rng.shuffle(mixed)
    return mixed


def _askew(request: LabelledRequest) -> LabelledRequest:
    return traffic.rotated(traffic.darkened(request, BRIGHTNESS), DEGREES)
