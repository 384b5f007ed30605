"""Photos of hands, and which of them each way of detection misses: parts of `bench hands`."""

import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench import page
from mien.images import Pixels
from mien.mediapipe import hand_landmarker, networks, palm_detector, weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.pretrained_weights import PretrainedWeights
from mien.model.runtime import Model
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tasks.gesture.predict import class_scores

NO_GESTURE = "no_gesture"
LONGER_SIDE = 640
OWN, THEIRS = "mien", "MediaPipe"
LITE = PretrainedWeights(
    title="lite hand landmarker",
    wheel_paths={
        "palms": "mediapipe/modules/palm_detection/palm_detection_lite.tflite",
        "landmarks": "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite",
    },
    sha256={
        "palms": "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
        "landmarks": "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
    },
    offline_advice="This bench needs a package registry.",
)
Detect = Callable[[Pixels], list[Hand]]
Classify = Callable[[list[Hand]], str]


@dataclass(frozen=True)
class Photo:
    """A photo of a person."""

    path: Path
    label: str
    content: bytes
    """JPEG with `LONGER_SIDE` pixels on its longer side."""
    pixels: Pixels
    """As it was found."""
    face_height: float
    """As a fraction of the photo's height: how near the person is. 0 where no face was found."""


@dataclass(frozen=True)
class Answer:
    """What one way said to one photo."""

    label: str
    """"" without a hand."""
    seconds: float
    hands: Sequence[Hand] = ()


def compare_ways(photos: Sequence[Photo], theirs: Detect, classify: Classify) -> list[str]:
    """Networks, searches and regions that were compared, on the photos in their own size."""
    full = HandLandmarker.from_tflite(weights.read_hand_networks())
    lite = LITE.download()
    lite_palms = networks.from_tflite(lite["palms"])
    lite_landmarks = networks.from_tflite(lite["landmarks"])
    product = full.detect
    ways: dict[str, Detect] = {
        THEIRS: theirs,
        OWN: product,
        "without a second search": full.detect_once,
        "tiles alone": _tiles_alone(product),
        "upright regions": _upright(product),
        "lite palms": HandLandmarker(lite_palms, full.landmark_network).detect,
        "lite landmarks": HandLandmarker(full.palm_network, lite_landmarks).detect,
    }
    answers: dict[str, list[Answer]] = {way: [] for way in ways}
    for photo in photos:
        for way, detect in ways.items():
            start = time.process_time()
            hands = detect(photo.pixels)
            spent = time.process_time() - start
            answers[way].append(Answer(classify(hands), spent, hands))
    rows = [_way_row(way, photos, answers[way], answers[THEIRS]) for way in ways]
    near = [_near_row(way, photos, answers[way]) for way in (THEIRS, OWN)]
    where = [_place_row(way, photos, answers) for way in (THEIRS, OWN)]
    return [_HALVES, page.table(rows), _NEAR, page.table(near), _PLACES, page.table(where)]


def _tiles_alone(detect: Detect) -> Detect:
    """The same without a search around candidates."""

    def tiles_alone(pixels: Pixels) -> list[Hand]:
        default, hand_landmarker.MAX_CANDIDATES = hand_landmarker.MAX_CANDIDATES, 0
        try:
            return detect(pixels)
        finally:
            hand_landmarker.MAX_CANDIDATES = default

    return tiles_alone


def _upright(detect: Detect) -> Detect:
    """The same without the rotation of MediaPipe's regions (`palm_detector.TARGET_ANGLE`)."""

    def upright(pixels: Pixels) -> list[Hand]:
        default, palm_detector.TARGET_ANGLE = palm_detector.TARGET_ANGLE, np.pi / 2
        try:
            return detect(pixels)
        finally:
            palm_detector.TARGET_ANGLE = default

    return upright


def _way_row(
    way: str, photos: Sequence[Photo], answers: Sequence[Answer], theirs: Sequence[Answer]
) -> dict[str, object]:
    row: dict[str, object] = {"way": way}
    for half, title in enumerate(("tuned on", "kept out")):
        row |= {
            f"{title}: {key}": value
            for key, value in accuracy(photos[half::2], answers[half::2]).items()
        }
    pairs = [
        (one, two) for one, two in zip(answers, theirs, strict=True) if one.hands and two.hands
    ]
    row["same gesture as MediaPipe"] = f"{np.mean([a.label == b.label for a, b in pairs]):.1%}"
    row["CPU ms, mean"] = f"{np.mean([each.seconds for each in answers]) * 1000:.1f}"
    return row


def read_photos(source: Path) -> Iterator[Photo]:
    with (source / "photos.csv").open(encoding="utf-8") as stream:
        faces = {row["image"]: float(row["face_h"] or 0) for row in csv.DictReader(stream)}
    for path in sorted((source / "photos").rglob("*.*")):
        photo = Image.open(path).convert("RGB")
        scale = LONGER_SIDE / max(photo.size)
        content = io.BytesIO()
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.resize(size, Image.Resampling.LANCZOS).save(content, "JPEG", quality=90)
        name = f"{path.parent.name}/{path.name}"
        pixels = np.asarray(photo)
        yield Photo(path, path.parent.name, content.getvalue(), pixels, faces.get(name, 0.0))


def classifier(model: Model) -> Classify:
    """The gesture of the hand with the best score, by the model's classifier."""

    def classify(hands: list[Hand]) -> str:
        if not hands:
            return ""
        scores = class_scores(model.run, np.stack([hand.landmarks for hand in hands]))
        return HAGRID_LABELS[int(scores[scores.max(axis=1).argmax()].argmax())]

    return classify


def accuracy(photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, str]:
    shown = [pair for pair in zip(photos, answers, strict=True) if pair[0].label != NO_GESTURE]
    missed = sum(not answer.label for _, answer in shown)
    right = sum(answer.label == photo.label for photo, answer in shown)
    return {"missed": f"{missed} of {len(shown)}", "correct": f"{right / len(shown):.1%}"}


def _near_row(way: str, photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, object]:
    row: dict[str, object] = {"missed by": way}
    for low, high in ((0, 0.001), (0.001, 0.1), (0.1, 0.15), (0.15, 0.25), (0.25, 1)):
        title = f"{low:.0%} to {high:.0%}" if low else "no face found"
        title = title if low != 0.001 else f"below {high:.0%}"
        row[title] = _missed(
            [
                not answer.label
                for photo, answer in zip(photos, answers, strict=True)
                if photo.label != NO_GESTURE and low <= photo.face_height < high
            ]
        )
    return row


def _place_row(
    way: str, photos: Sequence[Photo], answers: dict[str, list[Answer]]
) -> dict[str, object]:
    """Missed hands by size and place, where any way finds the hand; of the largest hand found."""
    cells: dict[str, list[bool]] = {}
    for index, photo in enumerate(photos):
        found = [hand for each in answers.values() for hand in each[index].hands]
        if photo.label == NO_GESTURE or not found:
            continue
        height, width = photo.pixels.shape[:2]
        corners = [np.ptp(hand.landmarks[:, :2], axis=0).max() for hand in found]
        largest = found[int(np.argmax(corners))].landmarks[:, :2]
        x, y = largest.mean(axis=0) / (width, height)
        size = max(corners) / max(width, height)
        sizes = ((0.1, "smaller than 10 %"), (0.2, "10 to 20 %"), (9.0, "20 % and more"))
        place = "at the border" if min(x, y, 1 - x, 1 - y) < 0.2 else "inside"
        missed = not answers[way][index].label
        for cell in (next(title for limit, title in sizes if size < limit), place):
            cells.setdefault(cell, []).append(missed)
    return {"missed by": way, **{cell: _missed(cells[cell]) for cell in sorted(cells)}}


def _missed(missed: Sequence[bool]) -> str:
    return f"{sum(missed)} of {len(missed)}"


_HALVES = (
    "The photos in their own size (512 pixels on the shorter side), without decoding. Whatever was "
    "chosen was chosen on every second photo; the others were kept out. The way of the product is "
    "changed in one respect in each row."
)
_NEAR = (
    "Missed hands by how near the person is: the height of the face as a fraction of the photo's, "
    "as another detector measured it."
)
_PLACES = (
    "Missed hands by the size of the largest hand that any of these ways finds (longer side of its "
    "landmarks, in longer sides of the photo), and by its place: at the border is nearer than a "
    "fifth of the photo. Hands that no way finds are not in it."
)
