"""Name the gesture of a hand with the bundle beside this file: numpy and onnxruntime, no mien.

    python predict.py hand.json     # {"landmarks": [[x, y, z], ... 21 points]}

The points are those of MediaPipe's hand landmarker, x and y in one unit such as pixels.
"""

import json
import os
import sys
from math import exp, log
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported
import numpy as np
import onnxruntime
from hand_shape import shape_features  # type: ignore[import-not-found]

BUNDLE = Path(__file__).resolve().parent / "bundle"
MANIFEST = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))
NETWORK = onnxruntime.InferenceSession(BUNDLE / "model.onnx", providers=["CPUExecutionProvider"])


def normalize(points: Any) -> Any:
    """The wrist is the origin; plane and depth are each divided by their root mean square."""
    offset = np.asarray(points, dtype=np.float64).reshape(21, 3)
    offset = (offset - offset[0]) / (np.abs(offset - offset[0]).max() or 1)
    sizes = [np.sqrt((each**2).sum(axis=1).mean()) or 1 for each in (offset[:, :2], offset[:, 2:])]
    features = offset / [sizes[0], sizes[0], 2 * sizes[1]]
    return np.round(features.reshape(1, 63) * 2**16).astype(np.float32) / np.float32(2**16)


def novelty(features: Any) -> float:
    """The logarithm of the odds that the hand shows none of the gestures."""
    model = MANIFEST["preprocessing"]["rejection"]
    shape = (shape_features(features) - model["mean"]) / np.array(model["scale"])
    hidden = np.clip(shape, -6, 6) @ np.array(model["weights"][0]) + model["biases"][0]
    *gestures, none = (np.maximum(hidden, 0) @ np.array(model["weights"][1]) + model["biases"][1])[
        0
    ]
    return float(none - np.log(np.exp(gestures).sum()))


def predict(points: Any) -> dict[str, Any]:
    """The gesture of 21 points [x, y, z], its calibrated confidence, and `ok` or `unsure`."""
    features, decision = normalize(points), MANIFEST["decision"]
    (scores,) = np.round(NETWORK.run(None, {"landmarks": features})[0].astype(np.float64), 5)
    score = min(max(float(scores.max()), 1e-6), 1 - 1e-6)
    beta = decision["calibration"]
    logit = beta["a"] * log(score) - beta["b"] * log(1 - score) + beta["c"]
    confidence, limit = 1 / (1 + exp(-logit)), decision["max_novelty"]
    unlike = limit is not None and round(novelty(features), 4) > limit
    outcome = "unsure" if unlike or confidence < decision["min_confidence"] else "ok"
    label = MANIFEST["labels"][int(scores.argmax())]
    return {"gesture": label, "confidence": round(confidence, 6), "outcome": outcome}


if __name__ == "__main__":
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps(predict(document["landmarks"])) + "\n")
