"""What one writes first: FastAPI with `UploadFile`, the detector in PyTorch by LibreYOLO's own
`predict`; for hands MediaPipe's HandLandmarker, built for each request, and a pickled scikit-learn
model. The functions are `async` and block, one request after the other: on one core that is up to
ten times as fast as plain `def`, for which FastAPI has 40 threads that hold 40 large pictures.

    python -m bench.rivals.obvious FOLDER    # as bench.originals wrote it; the port is $PORT
"""

import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from libreyolo import LibreYOLO9, LibreYOLOX
from PIL import Image
from pydantic import BaseModel

from bench.originals import CLASSIFIER, SETTINGS, WEIGHTS
from mien.mediapipe import weights
from mien.tasks.gesture.landmarks import normalize

KINDS = {"yolov9-t": (LibreYOLO9, "t"), "yolox-nano": (LibreYOLOX, "n")}
HOME = Path(sys.argv[1])
settings = json.loads((HOME / SETTINGS).read_text(encoding="utf-8"))
kind, size = KINDS[settings["size"]]
torch.set_num_threads(1)
detector = kind(str(HOME / WEIGHTS), size=size, nb_classes=len(settings["emotions"]), device="cpu")
classifier, present = pickle.loads((HOME / CLASSIFIER).read_bytes())
vision = mediapipe.tasks.vision
options = vision.HandLandmarkerOptions(
    base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(weights.task_file()[0])),
    num_hands=2,
)
app = FastAPI()


class Body(BaseModel):
    """The landmarks of one hand."""

    landmarks: list[list[float]]


@app.post("/predict/emotion")
async def emotion(file: UploadFile) -> dict[str, Any]:
    picture = Image.open(io.BytesIO(await file.read())).convert("RGB")
    found = detector.predict(picture, imgsz=settings["side"], conf=settings["floor"]).boxes
    faces = [
        {"label": settings["emotions"][int(label)], "confidence": float(sure), "box": box.tolist()}
        for box, sure, label in zip(found.xyxy, found.conf, found.cls, strict=True)
    ]
    faces.sort(key=lambda face: -face["confidence"])
    best = faces[0] if faces else {"label": None, "confidence": 0.0}
    return {"emotion": best["label"], "confidence": best["confidence"], "detections": faces}


@app.post("/predict/gesture")
async def gesture(file: UploadFile) -> dict[str, Any]:
    pixels = np.asarray(Image.open(io.BytesIO(await file.read())).convert("RGB"))
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    with vision.HandLandmarker.create_from_options(options) as landmarker:
        hands = landmarker.detect(image).hand_landmarks
    width, height = image.width, image.height
    scale = (width, height, width)
    return named([np.array([[p.x, p.y, p.z] for p in hand]) * scale for hand in hands])


@app.post("/predict/gesture/landmarks")
async def landmarks(body: Body) -> dict[str, Any]:
    return named([np.array(body.landmarks)])


def named(hands: list[np.ndarray]) -> dict[str, Any]:
    if not hands:
        return {"gesture": None, "confidence": 0.0, "detections": []}
    found = []
    for scores in classifier.predict_proba(normalize(np.stack(hands))):
        best = int(scores.argmax())
        label = settings["gestures"][present[best]]
        found.append({"label": label, "confidence": float(scores[best]), "scores": scores.tolist()})
    found.sort(key=lambda hand: -hand["confidence"])
    return {
        "gesture": found[0]["label"],
        "confidence": found[0]["confidence"],
        "detections": found,
    }


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
