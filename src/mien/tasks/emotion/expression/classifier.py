"""A classifier of faces on the frozen features of the public network: trained in minutes.

The bundle is that of the starter, a face detector and the network, with another last layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mien import boxes, images
from mien.boxes import Box
from mien.errors import DataError
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.mediapipe.pretrained_weights import DOWNLOAD_TIMEOUT_S
from mien.task import Fit, Recorder

from .. import yolo
from ..detector_training import deterministic_torch
from ..params import LABELS, MIN_SIDE, Params
from ..starter import face_api
from ..starter.crops import CropSpec, crop_input
from ..starter.files import face_detector_origin
from .linear import Layer, fit_layer
from .network import ExpressionBlocks

STRENGTHS = (0.001, 0.003, 0.01, 0.03)
"""Values of C that are compared by cross-validation."""
FOLDS = 4
_BATCH = 32
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FaceFeatures:
    """The labelled faces of a split."""

    values: Floats
    """(faces, 2, channels): of each face and of its mirror image."""
    labels: NDArray[np.int64]
    undetected: int
    """Faces that were cut out by the box of their label."""


def train_classifier(prepared: Path, out: Path, params: Params, seed: int, record: Recorder) -> Fit:
    """Fit a logistic regression; leave the network and the face detector in `out`.

    Raises:
        WeightsError: the public networks cannot be fetched, or have other bytes.
        DataError: a split has no labelled face, or cannot be read.
    """
    start = process_time()
    weights = face_api.load()
    origin = face_detector_origin(out, DOWNLOAD_TIMEOUT_S)
    spec = face_api.SPEC
    detector = FaceDetector()
    with deterministic_torch(params.threads, seed):
        blocks = ExpressionBlocks(weights).eval()
        train, val = (
            read_features(prepared / split, blocks, detector, spec) for split in ("train", "val")
        )
    history = [_cross_validate(train, strength, seed) for strength in STRENGTHS]
    for step, metrics in enumerate(history, start=1):
        record(step, len(history), metrics)
    strength = max(history, key=lambda each: each["cv_accuracy"])["C"]
    layer = fit_layer(train.values, train.labels, strength)
    (out / spec.network).write_bytes(face_api.to_onnx({**weights, **layer}))
    return Fit(
        preprocessing=spec.as_dict(),
        history=tuple(history),
        lineage={
            "started_from": face_api.origin(),
            "face_detector": origin,
            "hyperparameters": {"C": strength},
            "val_accuracy": _accuracy(layer, val.values[:, 0], val.labels),
            "undetected_faces": {"train": train.undetected, "val": val.undetected},
            "cpu_s": round(process_time() - start, 1),
            "repeats": "bytes",
        },
    )


def read_features(
    folder: Path, blocks: ExpressionBlocks, detector: FaceDetector, spec: CropSpec
) -> FaceFeatures:
    """The features of every labelled face of a prepared split.

    A face that the detector does not find is cut out by the box of its label.
    """
    inputs: list[Floats] = []
    rows: list[Floats] = []
    labels, undetected = [], 0
    for pixels, label, labelled, face in _labelled_faces(folder, detector):
        undetected += face is None
        labels.append(label)
        inputs.append(crop_input(pixels, face or labelled, spec))
        if len(inputs) == _BATCH:
            rows.append(_pooled(blocks, inputs))
            inputs = []
    rows += [_pooled(blocks, inputs)] if inputs else []
    if not rows:
        raise DataError(f"{folder}: expected labelled faces, found none. Prepare the data again.")
    return FaceFeatures(np.concatenate(rows), np.array(labels), undetected)


def _cross_validate(train: FaceFeatures, strength: float, seed: int) -> dict[str, float]:
    """Accuracy over folds of the training split; a face and its mirror image stay together."""
    order = np.random.default_rng(seed).permutation(len(train.labels))
    shares = []
    for fold in np.array_split(order, FOLDS):
        rest = np.setdiff1d(order, fold)
        layer = fit_layer(train.values[rest], train.labels[rest], strength)
        shares.append(_accuracy(layer, train.values[fold, 0], train.labels[fold]))
    return {"C": strength, "cv_accuracy": float(np.mean(shares))}


def _accuracy(layer: Layer, values: Floats, labels: NDArray[np.int64]) -> float:
    logits = values @ layer["fc/weights"] + layer["fc/bias"]
    return float((logits.argmax(1) == labels).mean())


@torch.no_grad()
def _pooled(blocks: ExpressionBlocks, inputs: Sequence[Floats]) -> Floats:
    """Features (n, 2, channels) of crops and of their mirror images."""
    batch = torch.from_numpy(np.stack(inputs).transpose(0, 3, 1, 2).copy())
    pooled = [blocks.features(each).mean((2, 3)) for each in (batch, batch.flip(3))]
    return cast(Floats, torch.stack(pooled, 1).numpy())


def _labelled_faces(
    folder: Path, detector: FaceDetector
) -> Iterator[tuple[images.Pixels, int, Box, Box | None]]:
    """Image, label, its box, and the face that the detector finds there, of each labelled face."""
    for file in sorted((folder / "images").iterdir()):
        pixels = images.read(file.read_bytes(), min_side=MIN_SIDE).pixels
        detected = [face.head_box for face in detector.detect(pixels, PADDING_SCALES)]
        height, width = pixels.shape[:2]
        for label, box in yolo.read_prepared_labels(file, len(LABELS)):
            labelled = yolo.corners(box, width, height)
            yield pixels, label, labelled, _face_of(labelled, detected)


def _face_of(labelled: Box, detected: Sequence[Box]) -> Box | None:
    """The detected face whose centre is in a labelled box, the one that covers most of it."""
    x1, y1, x2, y2 = labelled
    inside = [
        each
        for each in detected
        if x1 <= (each[0] + each[2]) / 2 <= x2 and y1 <= (each[1] + each[3]) / 2 <= y2
    ]
    if not inside:
        return None
    ious: Any = boxes.iou(np.array(labelled), np.array(inside))
    return inside[int(ious.argmax())]
