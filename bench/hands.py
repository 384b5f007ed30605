"""Hands in photos: the product against MediaPipe, what each way misses, and at what cost.

Both ways run in one process, photo by photo in turn. Times are CPU seconds of one thread.
MIEN_BENCH_BEFORE names another checkout of the project, whose code is then measured too.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from bench import page
from bench.hand_photos import (
    OWN,
    THEIRS,
    Answer,
    Photo,
    accuracy,
    classifier,
    compare_ways,
    read_photos,
)
from bench.reference import Reference
from mien.model import runtime
from mien.model.runtime import Model
from mien.tasks.gesture import TASK

BEFORE = "MIEN_BENCH_BEFORE"
ROUNDS = 2
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
runtime.tune_malloc()
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


def main() -> None:
    """Compare on all photos, then each way alone."""
    runtime.tune_malloc()  # as the service and the command line do
    source = page.real_data() / "gesture"
    photos = list(read_photos(source))
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
            parts += [
                "## Which hands are missed",
                *compare_ways(photos, theirs.detect, classifier(model)),
            ]
        parts += ["## A process that only detects hands", _PROCESS]
        parts += [page.table([_process_cost(way, folder, photos[:20]) for way in (OWN, THEIRS)])]
    page.write("hands", "Hand detection", parts)


def _through_predict(photos: Sequence[Photo], model: Model, theirs: Reference) -> list[str]:
    """From a file's bytes to a gesture, both ways in turn."""
    classify = classifier(model)

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


def _row(way: str, photos: Sequence[Photo], answers: Sequence[Answer]) -> dict[str, object]:
    seconds = [each.seconds for each in answers]
    return {
        "way": way,
        **accuracy(photos, answers),
        "CPU ms a photo, mean": f"{np.mean(seconds) * 1000:.1f}",
        "median": f"{np.median(seconds) * 1000:.1f}",
    }


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
_PROCESS = (
    "CPU seconds to import the library and to open the networks; MB resident after 20 photos and, "
    "of these, before the import (Python, numpy and Pillow)."
)


if __name__ == "__main__":
    main()
