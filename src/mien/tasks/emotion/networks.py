"""The detector networks: the only file that imports LibreYOLO.

Builds, runs and exports the YOLOX and YOLOv9 networks of LibreYOLO and the detector on a public
expression network (`expression/detector.py`), and says in `DetectorFamily.spec` how to use the
exported file. Knows no data set, no epochs, no product.
torch and LibreYOLO are imported inside the functions, so that importing this file costs nothing.

Only these two families are used: the wheel contains others under other licences.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import ConfigError, nearest

from .detector_spec import DetectorSpec
from .expression import DETECTOR

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

PRETRAINED_DIR = "MIEN_PRETRAINED_DIR"
"""Environment variable: a folder with `<size>.pt` files for `pretrained_weights: auto`."""
OPSET = 17
MIN_LOADED = 0.8
"""Smallest fraction of a network's tensors that a weights file must provide."""
Network = Any
"""A torch.nn.Module of LibreYOLO, whose attributes are unknown to torch's type stubs."""


@dataclass(frozen=True)
class DetectorFamily:
    """One network size, with the input format of its published weights."""

    size: str
    output_format: Literal["yolox", "yolo9", "face-api"]
    libreyolo_size: str
    channel_order: Literal["rgb", "bgr"]
    pixel_scale: float

    def spec(self, side: int) -> DetectorSpec:
        """Describe the exported file of this network for inputs of `side` x `side` pixels."""
        return DetectorSpec(
            family=self.size,
            output_format=self.output_format,
            input_size=side,
            channel_order=self.channel_order,
            pixel_scale=self.pixel_scale,
        )


FAMILIES = {
    family.size: family
    for family in (
        DetectorFamily("yolox-nano", "yolox", "n", "bgr", 1.0),
        DetectorFamily("yolox-tiny", "yolox", "t", "bgr", 1.0),
        DetectorFamily("yolov9-t", "yolo9", "t", "rgb", 1 / 255),
        DetectorFamily(DETECTOR, "face-api", "", "rgb", 1.0),
    )
}


def family(size: str) -> DetectorFamily:
    """Return the family of a size name.

    Raises:
        ConfigError: no such size.
    """
    if size not in FAMILIES:
        sizes = ", ".join(FAMILIES)
        raise ConfigError(
            f"detector size: expected one of {sizes}, found {size!r}.{nearest(size, FAMILIES)}"
        )
    return FAMILIES[size]


def build(
    size: str, labels: Sequence[str], seed: int, pretrained: str | None
) -> tuple[Network, str]:
    """Build a network.

    Args:
        pretrained: path of a LibreYOLO .pt file; None for scratch; "auto" for the file
            `<size>.pt` in $MIEN_PRETRAINED_DIR, else scratch. LibreYOLO's own download is not
            used: it has no checksum.

    Returns:
        The network, and where its weights come from: "scratch" or "file <name> sha256 <digest>".

    Raises:
        ConfigError: the path does not exist or is not a weights file of this size.
    """
    if size == DETECTOR:
        return _build_expression_detector(len(labels), seed)
    detector = family(size)
    path = _find_weights(detector, pretrained)
    network = _build_untrained(detector, labels, seed)
    if path is None:
        return network, "scratch"
    _load_weights(network, detector, path)
    return network, f"file {path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def weights_digest(size: str, pretrained: str | None) -> str | None:
    """SHA-256 of the weights that a training of this size would start from; None for scratch.

    Raises:
        ConfigError: `pretrained` is a path that does not exist.
    """
    path = _find_weights(family(size), pretrained)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else None


def raw_outputs(network: Network, output_format: str, inputs: Tensor) -> Any:
    """Run the training branch up to the loss; the result goes to `losses` and `anchor_outputs`."""
    if output_format == "yolox":
        return network.head.forward_train_maps(network.backbone(inputs))
    return network(inputs)


def anchor_outputs(raw: Any, output_format: str, label_count: int) -> tuple[Tensor, Tensor]:
    """Extract the class outputs of all anchors from `raw_outputs`.

    Returns:
        class logits (batch, anchors, labels), and the confidence of each anchor
        (batch, anchors) in 0..1 as `decode.detect` computes it.
    """
    import torch

    if output_format == "yolox":
        logits = raw[0][:, :, 5:]
        best = logits.sigmoid().amax(2) * raw[0][:, :, 4].sigmoid()
        return logits, best
    logits = torch.cat([level.flatten(2)[:, -label_count:] for level in raw], 2).transpose(1, 2)
    return logits, logits.sigmoid().amax(2)


def losses(
    network: Network, output_format: str, raw: Any, inputs: Tensor, boxes: Tensor
) -> dict[str, Tensor]:
    """Return LibreYOLO's own detection loss: keys "loss", "box" and "class".

    Args:
        boxes: (batch, max boxes, 5) label, x1, y1, x2, y2 in pixels; label -1 where empty.
    """
    head: Any = network.head
    if output_format == "yolox":
        outputs, xs, ys, strides, origin = raw
        parts = head.get_losses(
            inputs, xs, ys, strides, _to_cxcywh(boxes), outputs, origin, dtype=outputs.dtype
        )
        return {"loss": parts["total_loss"], "box": parts["iou_loss"], "class": parts["cls_loss"]}
    side = inputs.shape[-1]
    criterion = head._get_loss_fn(inputs.device)
    criterion.update_anchors([side, side])
    parts = criterion(raw, _to_relative_xyxy(boxes, side))
    return {"loss": parts["total_loss"], "box": parts["box_loss"], "class": parts["cls_loss"]}


def predict(network: Network, output_format: str, inputs: Tensor) -> Tensor:
    """Return what the exported file returns; see `decode.decode_output` for the formats."""
    network.eval()
    network.head.export = True
    try:
        output: Tensor = network(inputs)
    finally:
        network.head.export = False
    return output


def backbone(network: Network, output_format: str) -> Network:
    """Return the part that turns a picture into features, without the neck."""
    return network.backbone.backbone if output_format == "yolox" else network.backbone


def backbone_features(network: Network, output_format: str, inputs: Tensor) -> list[Tensor]:
    """Return the backbone's features at strides 8, 16 and 32, each (batch, channels, h, w)."""
    levels = backbone(network, output_format)(inputs)
    return list(levels.values() if output_format == "yolox" else levels)


def export(network: Network, size: str, spec: DetectorSpec, path: Path) -> None:
    """Write the fused network as one ONNX file with a dynamic batch size and a fixed side.

    The file contains no path, date or producer version, so that the same weights give the same
    bytes. Non-maximum suppression is not part of it.
    """
    import io
    import warnings

    import onnx
    import torch

    fused = _fuse_batch_norm(network, family(size))
    side, input_name, output_name = spec.input_size, spec.input_name, spec.output_name
    fused.head.export = True
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter is deprecated, but only it can trace these heads.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fused,
            (torch.zeros(1, 3, side, side),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    _strip_metadata(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip_metadata(model: Any) -> None:
    model.producer_name, model.producer_version, model.doc_string = "mien", "", ""
    model.graph.name, model.graph.doc_string = "detector", ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _find_weights(detector: DetectorFamily, pretrained: str | None) -> Path | None:
    if pretrained is None:
        return None
    if pretrained != "auto":
        path = Path(pretrained)
        if not path.is_file():
            raise ConfigError(
                f"params.pretrained_weights: expected a file, found none at {path}. Give the path "
                "of a LibreYOLO .pt file, or 'auto', or null to train from scratch."
            )
        return path
    folder = os.environ.get(PRETRAINED_DIR)
    if folder and (Path(folder) / f"{detector.size}.pt").is_file():
        return Path(folder) / f"{detector.size}.pt"
    log.warning(
        "No pretrained weights for %s: $%s contains no %s.pt. Training from scratch.",
        *(detector.size, PRETRAINED_DIR, detector.size),
    )
    return None


def _build_untrained(detector: DetectorFamily, labels: Sequence[str], seed: int) -> Network:
    import torch
    from libreyolo.models.yolo9.nn import LibreYOLO9Model
    from libreyolo.models.yolox.nn import LibreYOLOXModel

    torch.manual_seed(seed)
    if detector.output_format == "yolox":
        network = LibreYOLOXModel(detector.libreyolo_size, len(labels))
        network.init_weights()
        return network
    return LibreYOLO9Model(detector.libreyolo_size, nb_classes=len(labels))


def _build_expression_detector(label_count: int, seed: int) -> tuple[Network, str]:
    import torch

    from .expression.detector import ExpressionDetector
    from .starter import face_api

    torch.manual_seed(seed)
    network = ExpressionDetector(face_api.load(), label_count)
    return network, f"npm {face_api.PACKAGE} sha256 {face_api.WEIGHTS.sha256[face_api.SHARD]}"


def _load_weights(network: Network, detector: DetectorFamily, path: Path) -> None:
    """Copy every tensor whose name and shape match; class layers of other labels stay new."""
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError):
        # torch's own message recommends to load the file unsafely.
        raise ConfigError(
            f"{path}: expected a weights file of tensors only, found something that torch cannot "
            "read safely. Give a LibreYOLO .pt file."
        ) from None
    weights = content.get("model", content) if isinstance(content, dict) else {}
    own = network.state_dict()
    matching = {
        name: value
        for name, value in weights.items()
        if name in own and getattr(value, "shape", None) == own[name].shape
    }
    if len(matching) < MIN_LOADED * len(own):
        raise ConfigError(
            f"{path}: expected the weights of {detector.size}, found matches for {len(matching)} "
            f"of its {len(own)} tensors. Give the file of this size."
        )
    network.load_state_dict(matching, strict=False)


def _fuse_batch_norm(network: Network, detector: DetectorFamily) -> Network:
    """Return a copy with batch normalisation folded into the convolutions."""
    import copy

    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    # LibreYOLO folds weights in the default memory layout only.
    fused: Network = copy.deepcopy(network).to(memory_format=torch.contiguous_format).eval()
    if detector.output_format == "face-api":
        return fused
    if detector.output_format == "yolo9":
        fused.fuse()
        return fused
    for module in fused.modules():
        if isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    return fused


def _to_cxcywh(boxes: Tensor) -> Tensor:
    """YOLOX expects label, cx, cy, w, h in pixels, and zeros where there is no box."""
    import torch

    label, low, high = boxes[..., :1], boxes[..., 1:3], boxes[..., 3:5]
    rows = torch.cat([label, (low + high) / 2, high - low], -1)
    return torch.where(label >= 0, rows, torch.zeros_like(rows))


def _to_relative_xyxy(boxes: Tensor, side: int) -> Tensor:
    """YOLOv9 expects label, x1, y1, x2, y2 in 0..1, and -1 with zeros where there is no box."""
    import torch

    scaled = torch.cat([boxes[..., :1], boxes[..., 1:] / side], -1)
    empty = boxes.new_tensor([-1.0, 0, 0, 0, 0])
    return torch.where(boxes[..., :1] >= 0, scaled, empty)
