"""A detector on the public expression network: each cell of its features proposes one face.

A cell predicts the distances to the four edges of its face, as FCOS does (Tian et al., 2019), and
whether it shows one. The emotion of a face is the mean of the cells inside its box: for a face that
fills the image this is the pooling with which the network was trained, so nothing is forgotten.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..starter.face_api import Weights
from .network import STRIDE, ExpressionBlocks

_EDGE_PX = STRIDE / 4
"""Softness of a box's edges: a cell counts half where its centre is on the edge."""
_START_DISTANCE = 3.0
"""Distances before training, in cells: a face that fills most of a small image."""
_CENTRAL = 0.5
"""Share of a box's width and height in which cells learn to propose it; all others learn not to."""

RawOutputs = tuple[Tensor, Tensor, Tensor]


class DetectorHead(nn.Module):
    """Two 1 x 1 convolutions; both start at zero."""

    def __init__(self, channels: int, label_count: int) -> None:
        super().__init__()
        self.export = False
        self.emotions = nn.Conv2d(channels, label_count, 1)
        self.faces = nn.Conv2d(channels, 5, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            assert self.faces.bias is not None
            self.faces.bias[:4] = _START_DISTANCE


class ExpressionDetector(nn.Module):
    """The blocks of the public network with a new head."""

    def __init__(self, weights: Weights, label_count: int, frozen_blocks: int = 0) -> None:
        super().__init__()
        self.backbone = ExpressionBlocks(weights, frozen_blocks)
        self.head = DetectorHead(self.backbone.channels, label_count)

    def forward(self, pixels: Tensor) -> Tensor:
        """Rows in the format "yolox" of `decode.decode_output`: (n, cells, 5 + labels)."""
        logits, boxes, objectness = self.raw_outputs(pixels)
        pooled = pool(logits, boxes, _centres(pixels.shape[-1], pixels.device))
        low, high = boxes[..., :2], boxes[..., 2:]
        scores = [objectness.sigmoid()[..., None], pooled.softmax(2)]
        return torch.cat([(low + high) / 2, high - low, *scores], 2)

    @torch.no_grad()
    def face_features(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """The mean (n, boxes, channels) of the features in boxes (n, boxes, 4)."""
        cells = self.backbone(pixels).flatten(2).transpose(1, 2)
        return pool(cells, boxes, _centres(pixels.shape[-1], pixels.device))

    @torch.no_grad()
    def start_from(self, layer: Weights) -> None:
        """Name emotions by a linear layer on `face_features`, as `classifier.fit_layer` fits it."""
        kernel, bias = (torch.from_numpy(layer[name]) for name in ("fc/weights", "fc/bias"))
        self.head.emotions.weight.copy_(kernel.T[:, :, None, None])
        assert self.head.emotions.bias is not None
        self.head.emotions.bias.copy_(bias)

    def raw_outputs(self, pixels: Tensor) -> RawOutputs:
        """Of each cell: emotion logits (n, cells, labels), box x1 y1 x2 y2 in pixels (n, cells, 4)
        and the logit of its objectness (n, cells)."""
        features = self.backbone(pixels)
        logits = self.head.emotions(features).flatten(2).transpose(1, 2)
        faces = self.head.faces(features).flatten(2).transpose(1, 2)
        distances = functional.softplus(faces[..., :4]) * STRIDE
        centres = _centres(pixels.shape[-1], pixels.device)
        boxes = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], 2)
        return logits, boxes, faces[..., 4]


def pool(logits: Tensor, boxes: Tensor, centres: Tensor) -> Tensor:
    """The mean (n, boxes, labels) of cells' logits (n, cells, labels) in boxes (n, boxes, 4)."""
    from_low = (centres[None, None] - boxes[:, :, None, :2]) / _EDGE_PX
    to_high = (boxes[:, :, None, 2:] - centres[None, None]) / _EDGE_PX
    weights = (from_low.sigmoid() * to_high.sigmoid()).prod(3)
    return (weights @ logits) / weights.sum(2, keepdim=True).clamp(min=1e-6)


def losses(raw: RawOutputs, boxes: Tensor, target: Tensor, side: int) -> dict[str, Tensor]:
    """The losses of boxes, objectness and emotions: keys "box", "objectness" and "class".

    Args:
        raw: of the network for images of `side` pixels.
        boxes: (n, max boxes, 5) label, x1, y1, x2, y2 in pixels; label -1 where empty.
        target: (n, max boxes, labels) probabilities.
    """
    logits, predicted, objectness = raw
    centres = _centres(side, boxes.device)
    labelled, corners = boxes[..., 0] >= 0, boxes[..., 1:]
    emotion = functional.cross_entropy(
        pool(logits, corners, centres).flatten(0, 1), target.flatten(0, 1), reduction="none"
    )
    proposing = _assign(corners, labelled, centres)
    overlap = _iou(predicted[:, None], corners[:, :, None])
    return {
        "box": ((1 - overlap) * proposing).sum() / proposing.sum().clamp(min=1),
        "objectness": functional.binary_cross_entropy_with_logits(
            objectness, proposing.any(1).float()
        ),
        "class": (emotion * labelled.flatten()).sum() / labelled.sum().clamp(min=1),
    }


def _assign(corners: Tensor, labelled: Tensor, centres: Tensor) -> Tensor:
    """Which cells learn to propose a box: (n, boxes, cells).

    Those in its central part, each for the smallest such box; every box has at least one.
    """
    middle, size = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
    offset = (centres[None, None] - middle[:, :, None]).abs()
    central = (offset <= size[:, :, None] * _CENTRAL / 2).all(3) & labelled[..., None]
    area = size.prod(2)[..., None].expand_as(central).where(central, torch.inf)
    smallest = central & (area <= area.amin(1, keepdim=True))
    nearest = functional.one_hot(offset.square().sum(3).argmin(2), len(centres)).bool()
    return smallest | (nearest & labelled[..., None])


def _iou(one: Tensor, other: Tensor) -> Tensor:
    low, high = (
        torch.maximum(one[..., :2], other[..., :2]),
        torch.minimum(one[..., 2:], other[..., 2:]),
    )
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).clamp(min=0).prod(-1) for each in (one, other)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


def _centres(side: int, device: torch.device) -> Tensor:
    """Centres (cells, 2) x, y of the cells, in pixels of the input, row by row."""
    steps = (torch.arange(side // STRIDE, device=device) + 0.5) * STRIDE
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)
