"""A package as npm fetches it, with a small random network in face-api's file format."""

import io
import json
import tarfile
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.mediapipe.pretrained_weights import PretrainedWeights
from mien.tasks.emotion.starter import face_api

CHANNELS = (4, 5, 6, 7)
"""Of the four blocks."""


@dataclass(frozen=True)
class Package:
    """The two files, and the tensors that a reader must get from them."""

    manifest: bytes
    shard: bytes
    tensors: dict[str, NDArray[np.float32]]

    @property
    def files(self) -> dict[str, bytes]:
        return {face_api.MANIFEST: self.manifest, face_api.SHARD: self.shard}

    @property
    def weights(self) -> PretrainedWeights:
        """face-api's description with the hashes of these files."""
        hashes = {name: sha256(content).hexdigest() for name, content in self.files.items()}
        return replace(face_api.WEIGHTS, sha256=hashes)

    def write_tarball(self, path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in self.files.items():
                entry = tarfile.TarInfo(f"package/model/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def draw(seed: int = 0) -> Package:
    """A network with few channels; filters as uint8 with scale and minimum, biases as float32."""
    random = np.random.default_rng(seed)
    entries, parts, tensors = [], [], {}
    for name, shape in _shapes().items():
        entry: dict[str, object] = {"name": name, "shape": shape, "dtype": "float32"}
        if name.endswith("bias"):
            values = random.normal(0, 0.3, shape).astype("<f4")
            parts.append(values.tobytes())
        else:
            stored = random.integers(0, 256, shape, dtype=np.uint8)
            scale = 2.0 / 255 / np.sqrt(np.prod(shape[:-1]))
            least = -127 * scale
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": least}
            values = stored.astype(np.float32) * np.float32(scale) + np.float32(least)
            parts.append(stored.tobytes())
        entries.append(entry)
        tensors[name] = values.astype(np.float32)
    manifest = [{"weights": entries, "paths": [face_api.SHARD]}]
    return Package(json.dumps(manifest).encode(), b"".join(parts), tensors)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for block, channels in enumerate(CHANNELS):
        for index in range(face_api.CONVOLUTIONS):
            name = f"dense{block}/conv{index}"
            if block == index == 0:
                shapes[f"{name}/filters"] = (3, 3, before, channels)
            else:
                shapes[f"{name}/depthwise_filter"] = (3, 3, before, 1)
                shapes[f"{name}/pointwise_filter"] = (1, 1, before, channels)
            shapes[f"{name}/bias"] = (channels,)
            before = channels
    shapes["fc/weights"] = (before, len(face_api.LABELS))
    shapes["fc/bias"] = (len(face_api.LABELS),)
    return shapes
