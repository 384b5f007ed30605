"""Hands in photos: the product against MediaPipe, what each way misses, and at what cost.

Both ways run in one process, photo by photo in turn. Times are CPU seconds of one thread.
MIEN_BENCH_BEFORE names another checkout of the project, whose code is then measured too.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from bench import page
from bench.reference import Reference
from mien.images import Pixels
from mien.mediapipe import networks, palm_detector, weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.pretrained_weights import PretrainedWeights
from mien.model import runtime
from mien.model.runtime import Model
from mien.tasks.gesture import TASK
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tasks.gesture.predict import class_scores

NO_GESTURE = "no_gesture"
LONGER_SIDE = 640
OWN, THEIRS = "mien", "MediaPipe"
BEFORE = "MIEN_BENCH_BEFORE"
ROUNDS = 3
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
PREDICT = """
import json, sys, time
from pathlib import Path
from mien.model import bundle, runtime
from mien.tasks.gesture import TASK, data
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.train import fit

table, home, *photos = map(Path, sys.argv[1:])
out = home / "bundle"
if not out.exists():
    folders = [home / name for name in ("raw", "ready", "bundle", "cache")]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[0] / table.name).write_bytes(table.read_bytes())
    data.prepare(folders[0], folders[1], Params(), folders[3])
    done = fit("svm", folders[1], out, Params(), 0, lambda *_: None)
    bundle.write(out, bundle.describe("gesture", HAGRID_LABELS, "svm", done.preprocessing))
answers = []
with runtime.load(out) as model:
    for path in photos[:5] + photos:
        content, start = path.read_bytes(), time.process_time()
        best = TASK.inference.predict(TASK.inference.read(content), model).best
        answers.append([best.label if best else "", time.process_time() - start])
print(json.dumps(answers[len(photos[:5]):]))
"""
"""Trains a bundle once, then predicts photos: with any checkout of the project."""
ALONE = """
import json, sys, time
from pathlib import Path
import numpy
from PIL import Image

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))

before, start = resident(), time.process_time()
{library}
loaded = time.process_time()
{modules}
opened = {opened}
ready = time.process_time()
for path in sys.argv[2:]:
    opened.detect(numpy.asarray(Image.open(path).convert("RGB")))
print(json.dumps([loaded - start, ready - loaded, before, resident()]))
"""
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


def main() -> None:
    """Compare on all photos, then each way alone."""
    source = page.real_data() / "gesture"
    photos = list(_photos(source))
    with tempfile.TemporaryDirectory() as name, _mediapipe() as theirs:
        folder = Path(name)
        paths = [folder / f"{number:03}.jpg" for number in range(len(photos))]
        for path, photo in zip(paths, photos, strict=True):
            path.write_bytes(photo.content)
        table = source / "landmarks_iti.csv"
        _predict(page.ROOT, table, folder, paths[:1])
        with runtime.load(folder / page.ROOT.name / "bundle") as model:
            parts = [_INTRODUCTION, *_through_predict(photos, model, theirs)]
            parts += _before(photos, paths, table, folder)
            parts += ["## Which hands are missed", *_ways(photos, theirs, _classifier(model))]
        parts += ["## A process that only detects hands", _PROCESS]
        parts += [page.table([_process_cost(way, folder, photos[:20]) for way in (OWN, THEIRS)])]
    page.write("hands", "Hand detection", parts)


def _through_predict(photos: Sequence[Photo], model: Model, theirs: Reference) -> list[str]:
    """From a file's bytes to a gesture, both ways in turn."""
    classify = _classifier(model)

    def own(photo: Photo) -> Answer:
        start = time.process_time()
        best = TASK.inference.predict(TASK.inference.read(photo.content), model).best
        return Answer(best.label if best else "", time.process_time() - start)

    def other(photo: Photo) -> Answer:
        start = time.process_time()
        hands = theirs.detect(np.asarray(Image.open(io.BytesIO(photo.content)).convert("RGB")))
        return Answer(classify(hands), time.process_time() - start)

    for photo in photos[:5]:
        own(photo), other(photo)
    pairs = [(own(photo), other(photo)) for photo in photos]
    mine, others = [one for one, _ in pairs], [two for _, two in pairs]
    same = [one.label == two.label for one, two in pairs if one.label and two.label]
    ratio = sum(each.seconds for each in others) / sum(each.seconds for each in mine)
    return [
        page.table([_row(OWN, photos, mine), _row(THEIRS, photos, others)]),
        f"mien predicts **{ratio:.2f} x** as many photos per second of CPU time as MediaPipe with "
        f"the same classifier. Of the {len(same)} photos in which both find a hand, both name the "
        f"same gesture in {np.mean(same):.1%}.",
    ]


def _before(photos: Sequence[Photo], paths: Sequence[Path], table: Path, folder: Path) -> list[str]:
    """The same with the code of another checkout, in turns."""
    if BEFORE not in os.environ:
        return []
    code = {"this code": page.ROOT, "the code before": Path(os.environ[BEFORE]).resolve()}
    rounds: dict[str, list[list[Answer]]] = {name: [] for name in code}
    for _ in range(ROUNDS):
        for name, root in code.items():
            rounds[name].append(_predict(root, table, folder, paths))
    rows, totals = [], []
    for name, answers in rounds.items():
        seconds = [median(each.seconds for each in same) for same in zip(*answers, strict=True)]
        both = zip(answers[0], seconds, strict=True)
        rows.append(_row(name, photos, [Answer(one.label, spent) for one, spent in both]))
        totals.append(sum(seconds))
    return [
        "## Compared with the code before",
        page.table(rows),
        f"CPU time of this code: **{totals[0] / totals[1]:.2f} x** that of the code before "
        f"(median of {ROUNDS} rounds in turn).",
    ]


def _predict(root: Path, table: Path, folder: Path, paths: Sequence[Path]) -> list[Answer]:
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(table), str(folder / root.name), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Answer(label, seconds) for label, seconds in json.loads(done.stdout)]


def _ways(photos: Sequence[Photo], theirs: Reference, classify: Classify) -> list[str]:
    """Networks, searches and regions that were compared, on the photos in their own size."""
    full = HandLandmarker.from_tflite(weights.read_hand_networks())
    lite = LITE.download()
    lite_palms = networks.from_tflite(lite["palms"])
    lite_landmarks = networks.from_tflite(lite["landmarks"])
    product = full.detect
    ways: dict[str, Detect] = {
        THEIRS: theirs.detect,
        OWN: product,
        "without a second search": full.detect_once,
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
            for key, value in _accuracy(photos[half::2], answers[half::2]).items()
        }
    pairs = [
        (one, two) for one, two in zip(answers, theirs, strict=True) if one.hands and two.hands
    ]
    row["same gesture as MediaPipe"] = f"{np.mean([a.label == b.label for a, b in pairs]):.1%}"
    row["CPU ms, mean"] = f"{np.mean([each.seconds for each in answers]) * 1000:.1f}"
    return row


def _accuracy(photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, str]:
    shown = [pair for pair in zip(photos, answers, strict=True) if pair[0].label != NO_GESTURE]
    missed = sum(not answer.label for _, answer in shown)
    right = sum(answer.label == photo.label for photo, answer in shown)
    return {"missed": f"{missed} of {len(shown)}", "correct": f"{right / len(shown):.1%}"}


def _row(way: str, photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, object]:
    seconds = [each.seconds for each in answers]
    return {
        "way": way,
        **_accuracy(photos, answers),
        "CPU ms a photo, mean": f"{np.mean(seconds) * 1000:.1f}",
        "median": f"{np.median(seconds) * 1000:.1f}",
    }


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


def _photos(source: Path) -> Iterator[Photo]:
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


def _classifier(model: Model) -> Classify:
    """The gesture of the hand with the best score, by the model's classifier."""

    def classify(hands: list[Hand]) -> str:
        if not hands:
            return ""
        scores = class_scores(model.run, np.stack([hand.landmarks for hand in hands]))
        return HAGRID_LABELS[int(scores[scores.max(axis=1).argmax()].argmax())]

    return classify


@contextmanager
def _mediapipe() -> Iterator[Reference]:
    opened = Reference()
    try:
        yield opened
    finally:
        opened.close()


def _process_cost(way: str, folder: Path, photos: Sequence[Photo]) -> dict[str, object]:
    library, modules, opened, package = {
        OWN: (
            "import onnxruntime",
            "from mien.mediapipe.hand_landmarker import HandLandmarker as H\n"
            "from mien.model import runtime",
            "H.of_bundle(runtime.load(Path(sys.argv[1])))",
            "onnxruntime",
        ),
        THEIRS: ("import mediapipe", "from bench import reference", "reference.Reference()", ""),
    }[way]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ALONE.format(library=library, modules=modules, opened=opened),
            str(folder / page.ROOT.name / "bundle"),
            *[str(photo.path) for photo in photos],
        ],
        cwd=page.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported, ready, before, after = json.loads(done.stdout)
    package = package or "mediapipe"
    return {
        "way": f"{way}, {package} {metadata.version(package)}",
        "import s": f"{imported:.2f}",
        "open s": f"{ready:.2f}",
        "MB resident": f"{after:.0f}",
        "before the import": f"{before:.0f}",
    }


_INTRODUCTION = (
    "278 photos of people, 268 of which show a gesture, as JPEG of 640 pixels on the longer side. "
    "From the file's bytes to the gesture: decoding, detection, classification; mien through "
    "`predict`, MediaPipe 1.2's HandLandmarker (two hands, one search) with Pillow's decoder and "
    "the same classifier, the product's SVM trained on landmarks_iti.csv. Of several hands the one "
    "with the best score counts."
)
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
_PROCESS = (
    "CPU seconds to import the library and to open the networks; MB resident after 20 photos and, "
    "of these, before the import (Python, numpy and Pillow)."
)


if __name__ == "__main__":
    main()
