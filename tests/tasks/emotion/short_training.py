"""The shortest training that does everything: one pretraining epoch, two of the detector."""

from dataclasses import dataclass
from pathlib import Path

from mien.task import Fit
from mien.tasks.emotion.params import Params
from mien.tasks.emotion.train import fit

SHORT = Params(epochs=2, pretrain_epochs=1, image_size=64, batch_size=8, threads=1)


@dataclass(frozen=True)
class ShortTraining:
    """The result of a short training."""

    out: Path
    fit: Fit
    steps: tuple[int, ...]
    """The numbers of the epochs that were reported."""


def train(
    size: str, prepared: Path, out: Path, params: Params = SHORT, seed: int = 0
) -> ShortTraining:
    out.mkdir(parents=True, exist_ok=True)
    steps: list[int] = []
    result = fit(
        size, prepared, out, params, seed, lambda step, _total, _metrics: steps.append(step)
    )
    return ShortTraining(out, result, tuple(steps))
