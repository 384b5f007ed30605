"""The shortest training that still does everything: two epochs of the detector, one before it."""

from dataclasses import dataclass
from pathlib import Path

from mien.task import Fit
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.train import fit

SHORT = Params(epochs=2, primer_epochs=1, image_size=64, batch=8, threads=1)


@dataclass(frozen=True)
class Training:
    """What a short training left."""

    out: Path
    fit: Fit
    steps: tuple[int, ...]
    """The numbers of the epochs that were reported."""


def train(size: str, ready: Path, out: Path, params: Params = SHORT, seed: int = 0) -> Training:
    out.mkdir(parents=True, exist_ok=True)
    steps: list[int] = []
    done = fit(size, ready, out, params, seed, lambda step, _total, _metrics: steps.append(step))
    return Training(out, done, tuple(steps))
