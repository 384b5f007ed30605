"""From a prepared data set to a detector as one ONNX file.

`detector_training.py` does the work. It and torch are imported when a training starts and not
before, so that serving needs neither.
"""

from collections.abc import Mapping
from pathlib import Path

from mien.errors import ConfigError
from mien.task import Fit, Recorder

from . import yolo
from .params import LABELS, Params
from .recipe import Recipe


def candidates(params: Params) -> tuple[str, ...]:
    """Return the detector sizes to train.

    Raises:
        ConfigError: an unknown size, or none.
    """
    from .networks import family

    if not params.candidates:
        raise ConfigError("params.candidates: expected at least one detector size, found none.")
    return tuple(family(size).size for size in params.candidates)


def external_weights(params: Params) -> dict[str, str | None]:
    """SHA-256 of the pretrained weights of each candidate: the result depends on them."""
    from .networks import weights_digest

    return {size: weights_digest(size, params.pretrained_weights) for size in candidates(params)}


def fit(
    candidate: str, prepared: Path, out: Path, params: Params, seed: int, record: Recorder
) -> Fit:
    """Train one detector size; guarantees and errors are those of `train_detector`."""
    from .detector_training import train_detector

    recipe = Recipe(**{name: getattr(params, name) for name in Recipe.model_fields})
    total = recipe.pretrain_epochs + recipe.epochs

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        record(epoch, total, metrics)

    data_yaml = out / "data.yaml"
    yolo.write_prepared_yaml(prepared, data_yaml)
    trained = train_detector(candidate, data_yaml, out, recipe, LABELS, seed, on_epoch)
    lineage = {
        "started_from": trained.started_from,
        "resumed": trained.resumed,
        "best_epoch": trained.best_epoch,
        "recipe": recipe.as_dict(),
        # What a second training of the same record must reproduce: some GPU kernels add up in the
        # order in which their threads end.
        "repeats": "bytes" if recipe.device == "cpu" else "scores",
    }
    return Fit(
        preprocessing=trained.spec.as_dict(), history=tuple(trained.history), lineage=lineage
    )
