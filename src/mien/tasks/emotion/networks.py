"""The detector networks: the only file that imports LibreYOLO.

Knows how LibreYOLO builds, feeds, scores and exports its YOLOX and YOLOv9 networks, and states
in `Family.facts` what numpy must know to use the exported file. Knows no data set, no epochs,
no product. torch and LibreYOLO are imported inside the functions, so that importing this file
costs nothing.

Only these two families are used: the wheel bundles others under other licences.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

PRETRAINED_DIR = "MIEN_PRETRAINED_DIR"
"""Environment variable: a folder with `<size>.pt` files, looked into by `pretrained: auto`."""
OPSET = 17
Network = Any
"""A torch.nn.Module of LibreYOLO, whose parts torch's types do not know."""


@dataclass(frozen=True)
class Family:
    """One network size. `channels` and `scale` are what its published weights were trained on."""

    size: str
    layout: str
    width: str
    """LibreYOLO's own letter for the size."""
    channels: str
    scale: float
    weights_name: str

    def facts(self, side: int) -> dict[str, Any]:
        """Return the contract of the exported file, as JSON values.

        `pad_value` and `nms_iou` follow LibreYOLO; `score_floor` is low because a picture with
        one face has hundreds of candidates and the product applies its own threshold later.
        """
        return {
            "family": self.size,
            "layout": self.layout,
            "input_size": side,
            "channels": self.channels,
            "scale": self.scale,
            "letterbox": "center",
            "pad_value": 114,
            "strides": [8, 16, 32],
            "nms_iou": 0.45,
            "vote_iou": 0.6,
            "score_floor": 0.02,
            "max_faces": 50,
            "input_name": "images",
            "output_name": "output",
        }


FAMILIES = {
    family.size: family
    for family in (
        Family("yolox-nano", "yolox", "n", "bgr", 1.0, "LibreYOLOXn.pt"),
        Family("yolox-tiny", "yolox", "t", "bgr", 1.0, "LibreYOLOXt.pt"),
        Family("yolov9-t", "yolo9", "t", "rgb", 1 / 255, "LibreYOLO9t.pt"),
    )
}


def family(size: str) -> Family:
    """Return the family of a size name.

    Raises:
        ConfigError: no such size.
    """
    if size not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"Unknown detector {size!r}.{nearest(size, FAMILIES)} Known: {known}.")
    return FAMILIES[size]


def build(
    size: str, labels: Sequence[str], seed: int, pretrained: str | None
) -> tuple[Network, str]:
    """Build a network and say what it started from.

    Args:
        pretrained: path of a LibreYOLO .pt file; None for scratch; "auto" for the file
            `<size>.pt` in $MIEN_PRETRAINED_DIR, else scratch. LibreYOLO's own download is not
            used: it comes without a hash.

    Returns:
        The network, and "scratch" or "file <name> sha256 <digest>".

    Raises:
        ConfigError: the path does not exist or is no weights file of this size.
    """
    chosen = family(size)
    path = _find_weights(chosen, pretrained)
    network = _new(chosen, labels, seed)
    if path is None:
        return network, "scratch"
    _load_weights(network, chosen, path)
    return network, f"file {path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def weights_digest(size: str, pretrained: str | None) -> str | None:
    """SHA-256 of the weights that a training of this size would start from; None for scratch.

    Raises:
        ConfigError: `pretrained` is a path that is not there.
    """
    path = _find_weights(family(size), pretrained)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else None


def raw_outputs(network: Network, layout: str, inputs: Tensor) -> Any:
    """Run the training branch up to the loss; the result goes to `losses` and `candidates`."""
    if layout == "yolox":
        return network.head.forward_train_maps(network.backbone(inputs))
    return network(inputs)


def candidates(raw: Any, layout: str, label_count: int) -> tuple[Tensor, Tensor]:
    """Return what the anchors say out of `raw_outputs`.

    Returns:
        class logits (batch, anchors, labels), and the confidence of each anchor
        (batch, anchors) in 0..1 as `decode.detect` will see it.
    """
    import torch

    if layout == "yolox":
        logits = raw[0][:, :, 5:]
        best = logits.sigmoid().amax(2) * raw[0][:, :, 4].sigmoid()
        return logits, best
    logits = torch.cat([level.flatten(2)[:, -label_count:] for level in raw], 2).transpose(1, 2)
    return logits, logits.sigmoid().amax(2)


def losses(
    network: Network, layout: str, raw: Any, inputs: Tensor, boxes: Tensor
) -> dict[str, Tensor]:
    """Return LibreYOLO's own detection loss: keys "loss", "box" and "class".

    Args:
        boxes: (batch, most boxes, 5) label, x1, y1, x2, y2 in pixels; label -1 where empty.
    """
    head: Any = network.head
    if layout == "yolox":
        outputs, xs, ys, strides, origin = raw
        named = head.get_losses(
            inputs, xs, ys, strides, _centred(boxes), outputs, origin, dtype=outputs.dtype
        )
        return {"loss": named["total_loss"], "box": named["iou_loss"], "class": named["cls_loss"]}
    side = inputs.shape[-1]
    criterion = head._get_loss_fn(inputs.device)
    criterion.update_anchors([side, side])
    named = criterion(raw, _normalised(boxes, side))
    return {"loss": named["total_loss"], "box": named["box_loss"], "class": named["cls_loss"]}


def predict(network: Network, layout: str, inputs: Tensor) -> Tensor:
    """Return what the exported file returns; see `decode.decode` for the layouts."""
    network.eval()
    network.head.export = True
    try:
        output: Tensor = network(inputs)
    finally:
        network.head.export = False
    return output


def backbone(network: Network, layout: str) -> Network:
    """Return the part that turns a picture into features, without the neck."""
    return network.backbone.backbone if layout == "yolox" else network.backbone


def backbone_features(network: Network, layout: str, inputs: Tensor) -> list[Tensor]:
    """Return the backbone's features at strides 8, 16 and 32, each (batch, channels, h, w)."""
    levels = backbone(network, layout)(inputs)
    return list(levels.values() if layout == "yolox" else levels)


def export(network: Network, size: str, side: int, path: Path) -> None:
    """Write the fused network as one ONNX file with a free batch size and a fixed side.

    The file holds no path, date or producer version of its own, so that the same weights give
    the same bytes. Non-maximum suppression stays outside.
    """
    import io
    import warnings

    import onnx
    import torch

    fused = _fused(network, family(size))
    fused.head.export = True
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The TorchScript exporter is deprecated, and it alone traces these heads.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fused,
            (torch.zeros(1, 3, side, side),),
            buffer,  # type: ignore[arg-type]  # the types forget that a file object is taken
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["output"],
            dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    _strip(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:
    model.producer_name, model.producer_version, model.doc_string = "mien", "", ""
    model.graph.name, model.graph.doc_string = "detector", ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _find_weights(chosen: Family, pretrained: str | None) -> Path | None:
    if pretrained is None:
        return None
    if pretrained != "auto":
        path = Path(pretrained)
        if not path.is_file():
            raise ConfigError(
                f"There are no pretrained weights at {path}. Give the path of a LibreYOLO .pt "
                "file, or 'auto', or leave `pretrained` empty to train from scratch."
            )
        return path
    folder = os.environ.get(PRETRAINED_DIR)
    if folder and (Path(folder) / f"{chosen.size}.pt").is_file():
        return Path(folder) / f"{chosen.size}.pt"
    log.warning(
        "No pretrained weights for %s: $%s holds no %s.pt. Training from scratch.",
        *(chosen.size, PRETRAINED_DIR, chosen.size),
    )
    return None


def _new(chosen: Family, labels: Sequence[str], seed: int) -> Network:
    import torch
    from libreyolo.models.yolo9.nn import LibreYOLO9Model
    from libreyolo.models.yolox.nn import LibreYOLOXModel

    torch.manual_seed(seed)
    if chosen.layout == "yolox":
        network = LibreYOLOXModel(chosen.width, len(labels))
        network.init_weights()
        return network
    return LibreYOLO9Model(chosen.width, nb_classes=len(labels))


def _load_weights(network: Network, chosen: Family, path: Path) -> None:
    """Copy every tensor whose name and shape agree; the class layers of other labels stay new."""
    import pickle

    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError):
        # torch's own message advises to load the file unsafely.
        raise ConfigError(
            f"{path} is no weights file that torch can read safely (tensors only); "
            "give a LibreYOLO .pt file."
        ) from None
    weights = stored.get("model", stored) if isinstance(stored, dict) else {}
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and getattr(value, "shape", None) == own[name].shape
    }
    if len(fitting) < 0.8 * len(own):
        raise ConfigError(
            f"{path} fits only {len(fitting)} of {len(own)} tensors of {chosen.size}; "
            "it belongs to another network. Give the file of this size."
        )
    network.load_state_dict(fitting, strict=False)


def _fused(network: Network, chosen: Family) -> Network:
    """Return a copy with batch normalisation folded into the convolutions."""
    import copy

    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    # LibreYOLO folds weights in the default memory layout only.
    fused: Network = copy.deepcopy(network).to(memory_format=torch.contiguous_format).eval()
    if chosen.layout == "yolo9":
        fused.fuse()
        return fused
    for module in fused.modules():
        if isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    return fused


def _centred(boxes: Tensor) -> Tensor:
    """YOLOX reads label, cx, cy, w, h in pixels, and zeros where there is no box."""
    import torch

    label, low, high = boxes[..., :1], boxes[..., 1:3], boxes[..., 3:5]
    rows = torch.cat([label, (low + high) / 2, high - low], -1)
    return torch.where(label >= 0, rows, torch.zeros_like(rows))


def _normalised(boxes: Tensor, side: int) -> Tensor:
    """YOLOv9 reads label, x1, y1, x2, y2 in 0..1, and -1 with zeros where there is no box."""
    import torch

    scaled = torch.cat([boxes[..., :1], boxes[..., 1:] / side], -1)
    empty = boxes.new_tensor([-1.0, 0, 0, 0, 0])
    return torch.where(boxes[..., :1] >= 0, scaled, empty)
