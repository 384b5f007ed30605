"""Hand detection with LiteRT and with MediaPipe: the same hands, and at what cost.

Both ways run the same two networks in one process, photo by photo in turn; what a process costs
that does nothing else is measured in processes of their own. Times are CPU seconds of one thread.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from bench import page
from bench.reference import Reference
from mien.images import Pixels
from mien.mediapipe import palm_detector, weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.model.runtime import Session
from mien.tasks.gesture import data
from mien.tasks.gesture.params import HAGRID_LABELS, Params
from mien.tasks.gesture.predict import class_scores
from mien.tasks.gesture.train import fit

NO_GESTURE = "no_gesture"
OWN, THEIRS = "LiteRT (the product)", "MediaPipe"
Detect = Callable[[Pixels], list[Hand]]
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
opened.close()
"""


def main() -> None:
    """Compare on all photos, then each way alone."""
    source = page.real_data() / "gesture"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hand_landmarker.task"
        weights.write_hand_landmarker(path)
        classify = _fit_classifier(source / "landmarks_iti.csv", Path(folder))
        photos = sorted((source / "photos").rglob("*.*"))
        own, theirs = HandLandmarker(weights.read_hand_landmarker(path)), Reference(path)
        parts = [
            "278 photos of people, 268 of which show a gesture; pictures without a detected hand "
            "are searched in tiles too, both ways. Gestures are predicted by the product's SVM, "
            "trained on landmarks_iti.csv; of several hands the one with the best score counts.",
            *_compare(photos, {OWN: own.detect, THEIRS: theirs.detect}, classify),
            "## Upright regions",
            "MediaPipe rotates the regions of hands by 27 degrees "
            "(`palm_detector.TARGET_ANGLE`). The product with upright regions:",
            _upright(photos, own.detect, classify),
            "## A process that only detects hands",
            "CPU seconds to import the library and to open the two networks; MB resident after 20 "
            "photos and, of these, before the import (Python, numpy and Pillow); MB that the "
            "library and what it alone requires take on disk.",
            page.table([_process_cost(way, path, photos[:20]) for way in (OWN, THEIRS)]),
        ]
        own.close()
        theirs.close()
    page.write("hands", "Hand detection", parts)


def _compare(
    photos: Sequence[Path], detectors: Mapping[str, Detect], classify: Callable[[list[Hand]], str]
) -> list[str]:
    detected: dict[str, list[list[Hand]]] = {way: [] for way in detectors}
    seconds: dict[str, list[float]] = {way: [] for way in detectors}
    for path in photos:
        pixels: Pixels = np.asarray(Image.open(path).convert("RGB"))
        for way, detect in detectors.items():
            start = time.process_time()
            detected[way].append(detect(pixels))
            seconds[way].append(time.process_time() - start)
    rows = [
        {
            "hands detected by": way,
            **_accuracy(photos, detected[way], classify),
            "CPU ms a photo, median": f"{np.median(seconds[way]) * 1000:.1f}",
            "mean": f"{np.mean(seconds[way]) * 1000:.1f}",
        }
        for way in detectors
    ]
    return [page.table(rows), page.table([_agreement(detected[OWN], detected[THEIRS], classify)])]


def _accuracy(
    photos: Sequence[Path], detected: Sequence[list[Hand]], classify: Callable[[list[Hand]], str]
) -> dict[str, object]:
    shown = [
        (path.parent.name, hands)
        for path, hands in zip(photos, detected, strict=True)
        if path.parent.name != NO_GESTURE
    ]
    right = sum(bool(hands) and classify(hands) == truth for truth, hands in shown)
    return {
        "photos that show a gesture": len(shown),
        "hand detected": sum(bool(hands) for _, hands in shown),
        "correct gesture": f"{right} ({right / len(shown):.1%})",
    }


def _agreement(
    own: Sequence[list[Hand]], theirs: Sequence[list[Hand]], classify: Callable[[list[Hand]], str]
) -> dict[str, object]:
    """How far LiteRT's hands are from MediaPipe's; sizes are diagonals of a hand's box."""
    both = list(zip(own, theirs, strict=True))
    pairs = [
        each for one, two in both if len(one) == len(two) for each in zip(one, two, strict=True)
    ]
    far = [
        np.linalg.norm((one.landmarks - two.landmarks)[:, :2], axis=1).mean()
        / np.linalg.norm(np.ptp(two.landmarks[:, :2], axis=0))
        for one, two in pairs
    ]
    same = [
        bool(one) == bool(two) and (not one or classify(one) == classify(two)) for one, two in both
    ]
    same_side = [one.handedness == two.handedness for one, two in pairs]
    return {
        "photos": len(both),
        "as many hands": f"{np.mean([len(one) == len(two) for one, two in both]):.1%}",
        "same prediction": f"{np.mean(same):.1%}",
        "hands": len(pairs),
        "same handedness": f"{np.mean(same_side):.1%}",
        "distance of landmarks in sizes of the hand, median": f"{np.median(far):.2%}",
        "95th percentile": f"{np.percentile(far, 95):.2%}",
    }


def _upright(photos: Sequence[Path], detect: Detect, classify: Callable[[list[Hand]], str]) -> str:
    default, palm_detector.TARGET_ANGLE = palm_detector.TARGET_ANGLE, np.pi / 2
    detected = [detect(np.asarray(Image.open(path).convert("RGB"))) for path in photos]
    palm_detector.TARGET_ANGLE = default
    return page.table([_accuracy(photos, detected, classify)])


def _fit_classifier(table: Path, folder: Path) -> Callable[[list[Hand]], str]:
    """The gesture of the surest hand, as the product's SVM names it."""
    raw, ready, out = (folder / name for name in ("raw", "ready", "out"))
    for each in (raw, ready, out):
        each.mkdir()
    (raw / table.name).write_bytes(table.read_bytes())
    params = Params(accept_images=False)
    data.prepare(raw, ready, params, folder / "cache")
    fit("svm", ready, out, params, 0, lambda *_: None)
    session = Session(out / "model.onnx")

    def classify(hands: list[Hand]) -> str:
        scores = class_scores(session.run, np.stack([hand.landmarks for hand in hands]))
        return HAGRID_LABELS[int(scores[scores.max(axis=1).argmax()].argmax())]

    return classify


def _process_cost(way: str, path: Path, photos: Sequence[Path]) -> dict[str, object]:
    library, modules, made, package = {
        OWN: (
            "from ai_edge_litert.interpreter import Interpreter",
            "from mien.mediapipe import hand_landmarker as h, weights as w",
            "h.HandLandmarker(w.read_hand_landmarker(Path(sys.argv[1])))",
            "ai-edge-litert",
        ),
        THEIRS: (
            "import mediapipe",
            "from bench import reference",
            "reference.Reference(Path(sys.argv[1]))",
            "mediapipe",
        ),
    }[way]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ALONE.format(library=library, modules=modules, opened=made),
            *map(str, (path, *photos)),
        ],
        cwd=page.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported, opened, before, after = json.loads(done.stdout)
    return {
        "hands detected by": f"{way.partition(' ')[0]} {metadata.version(package)}",
        "import s": f"{imported:.2f}",
        "open s": f"{opened:.2f}",
        "MB resident": f"{after:.0f}",
        "before the import": f"{before:.0f}",
        "MB on disk": f"{sum(map(_size, _REQUIRED[way])):.0f}",
    }


_REQUIRED = {
    OWN: ("ai-edge-litert", "backports-strenum", "ml-dtypes", "tqdm"),
    THEIRS: (
        *("mediapipe", "absl-py", "sounddevice", "cffi", "pycparser", "opencv-contrib-python"),
        *("matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing"),
        *("python-dateutil", "certifi"),
    ),
}
"""What `mien[serve]` holds for one way and would not hold for the other."""


def _size(package: str) -> float:
    """MB that an installed package's own files take."""
    files = metadata.files(package) or []
    return (
        sum(found.stat().st_size for file in files if (found := Path(str(file.locate()))).exists())
        / 1e6
    )


if __name__ == "__main__":
    main()
