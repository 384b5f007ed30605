"""From prepared pictures to a detector as one ONNX file. Thin: `detector.py` does the work.

torch is imported when a training starts and never before, so that serving needs none.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from mien.errors import ConfigError
from mien.task import Fit, Recorder

from .params import LABELS, Params
from .predict import PREPROCESSING
from .recipe import Recipe


def candidates(params: Params) -> tuple[str, ...]:
    """Return the detector sizes to try.

    Raises:
        ConfigError: an unknown size, or none.
    """
    from .networks import family

    if not params.candidates:
        raise ConfigError("params.candidates is empty; name at least one detector size.")
    return tuple(family(size).size for size in params.candidates)


def outside(params: Params) -> dict[str, str | None]:
    """Hashes of the pretrained weights of each candidate: other weights make another training."""
    from .networks import weights_digest

    return {size: weights_digest(size, params.pretrained) for size in candidates(params)}


def fit(candidate: str, ready: Path, out: Path, params: Params, seed: int, record: Recorder) -> Fit:
    """Train one detector size; see `detector.train` for what it promises and raises."""
    from .detector import train

    recipe = Recipe(**{name: getattr(params, name) for name in Recipe.model_fields})
    total = recipe.primer_epochs + recipe.epochs

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        record(epoch, total, metrics)

    done = train(candidate, _describe(ready, out), out, recipe, LABELS, seed, on_epoch)
    facts = {
        **done.facts,
        "preprocessing": PREPROCESSING,
        "min_confidence": params.min_confidence,
    }
    lineage = {
        "started_from": done.started_from,
        "resumed": done.resumed,
        "best_epoch": done.best_epoch,
        "recipe": recipe.as_dict(),
        # What a second training of the same record is held to: some kernels of a GPU add up in
        # the order in which their threads end.
        "repeats": "bytes" if recipe.device == "cpu" else "scores",
    }
    return Fit(facts=facts, history=tuple(done.history), lineage=lineage)


def _describe(ready: Path, out: Path) -> Path:
    """Write the data.yaml that the trainer reads; it lies in the work folder and nowhere else."""
    path = out / "data.yaml"
    splits = {split: f"{split}/images" for split in ("train", "val", "test")}
    document = {"path": str(ready.resolve()), **splits, "names": list(LABELS)}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path
