"""Photos and annotations as sources of gestures: how fast, which hand, and what no depth costs."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as Line
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bench import page
from mien.mediapipe.hand_landmarks import Hand
from mien.model import cpus
from mien.tasks.gesture import anatomy, csv_text, depth, photos, table
from mien.tasks.gesture.landmarks import Convention, normalize, to_common_frame
from mien.tasks.gesture.params import HAGRID_LABELS
from mien.tasks.gesture.photos import Photo, PhotoHands
from mien.tasks.gesture.sample import landmark_rows

Floats = NDArray[np.float64]
Labelled = tuple[Floats, list[str]]
TABLES: dict[str, Convention] = {"iti": "wrist_relative", "photos": "pixels", "crops12": "pixels"}
TIMED = 48
ROUNDS = 3
HANDS = 20_000
"""Of the file of annotations whose memory is measured."""
MEMORY = """
import json, re, sys
from pathlib import Path
from mien.tasks.gesture import hagrid
path = Path(sys.argv[1])
def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = highest()
table = hagrid.read_annotations({path: path.name}, {path: ""})
print(json.dumps([len(table.rows), (highest() - before) * 1024]))
"""


def main() -> None:
    """Measure everything on the real data and write the page."""
    folder = page.real_data() / "gesture"
    read = {name: _read(folder / f"landmarks_{name}.csv", way) for name, way in TABLES.items()}
    svm = SVC(C=10).fit(normalize(read["iti"][0]), read["iti"][1])
    all_photos = photos.find_photos(folder / "photos", HAGRID_LABELS)
    labelled = [photo for photo in all_photos if photo.label in HAGRID_LABELS]
    with TemporaryDirectory() as cache_folder:
        speed = _speed(labelled[:: len(labelled) // TIMED][:TIMED])
        detected = photos.detect_hands(labelled, Path(cache_folder))
    parts = [
        "## Photos a second",
        f"The same {TIMED} photos in turn by one thread and by two, and once more from the cache; "
        f"medians of {ROUNDS} rounds in one process.",
        page.table(speed),
        "## Which of two hands",
        "Whether the SVM of `landmarks_iti.csv` predicts the photo's gesture for the hand that a "
        "rule selects.",
        page.table(_rules(labelled, detected, svm)),
        "## The same photos in the table and through the source",
        page.table(_compare_sources(folder, labelled, detected, svm)),
        "## The cost of missing depth",
        "Trained on `landmarks_iti.csv` with the depth that the row states, tested on hands with "
        "their own depth, as in serving.",
        page.table(_depths(read)),
        "## The cost of one aspect ratio for all pictures",
        "An SVM trained on `landmarks_photos.csv`, tested on `landmarks_crops12.csv`.",
        page.table(_aspect_ratios(folder, read["crops12"])),
        "## The margin between real and impossible hands",
        page.table(_limits(read)),
        "## Memory of annotations",
        page.table([_memory()]),
    ]
    page.write("photosource", "Photos and annotations as sources", parts)


def _read(path: Path, convention: Convention) -> Labelled:
    rows = table.read_landmarks(path, (), Counter())
    return to_common_frame(rows.landmarks, convention, None, None), list(rows.labels)


def _speed(sample: Sequence[Photo]) -> list[dict[str, object]]:
    seconds_by_way: dict[str, list[float]] = {
        "one thread": [],
        "two threads": [],
        "from the cache": [],
    }
    available_cpus = cpus.available_cpus
    for _ in range(ROUNDS):
        for way, threads in (("one thread", 1), ("two threads", 2)):
            cpus.available_cpus = lambda threads=threads: threads  # type: ignore[misc]
            with TemporaryDirectory() as cache:
                seconds_by_way[way].append(_seconds(sample, Path(cache)))
                if threads == 2:
                    seconds_by_way["from the cache"].append(_seconds(sample, Path(cache)))
    cpus.available_cpus = available_cpus  # type: ignore[misc]
    alone = float(np.median(seconds_by_way["one thread"]))
    return [
        {
            "way": way,
            "photos a second": f"{len(sample) / np.median(seconds):.1f}",
            "times one thread": f"{alone / np.median(seconds):.2f}",
        }
        for way, seconds in seconds_by_way.items()
    ]


def _seconds(sample: Sequence[Photo], cache: Path) -> float:
    start = perf_counter()
    photos.detect_hands(sample, cache)
    return perf_counter() - start


def _rules(
    labelled: Sequence[Photo], detected: Sequence[PhotoHands | str], svm: SVC
) -> list[dict[str, object]]:
    labels = [photo.label for photo in labelled]
    rules: dict[str, Sequence[Hand | None]] = {
        "nearest to the label's single hands (the product)": photos.select_gesture_hands(
            labels, detected
        ),
        "the larger one": [_pick(each, _area) for each in detected],
        "the first detected": [_pick(each, lambda _: 0.0) for each in detected],
    }
    two = [
        n
        for n, each in enumerate(detected)
        if isinstance(each, PhotoHands) and len(each.hands) == 2
    ]
    found = [n for n, each in enumerate(detected) if _hands(each)]
    rows = []
    for rule, hands in rules.items():
        right = {n: _predict(svm, hands[n]) == labels[n] for n in found}
        rows.append(
            {
                "hand": rule,
                "photos with two hands": len(two),
                "correct": sum(right[n] for n in two),
                "photos with a hand": f"{len(found)} of {len(labelled)}",
                "accuracy on them": float(np.mean(list(right.values()))),
            }
        )
    return rows


def _pick(detected: PhotoHands | str, key: Callable[[Hand], float]) -> Hand | None:
    return max(_hands(detected), key=key, default=None)


def _hands(detected: PhotoHands | str) -> Sequence[Hand]:
    return detected.hands if isinstance(detected, PhotoHands) else ()


def _area(hand: Hand) -> float:
    return float(np.ptp(hand.landmarks[:, :2], axis=0).prod())


def _predict(svm: SVC, hand: Hand | None) -> str:
    return "" if hand is None else str(svm.predict(normalize(hand.landmarks[None]))[0])


def _compare_sources(
    folder: Path, labelled: Sequence[Photo], detected: Sequence[PhotoHands | str], svm: SVC
) -> list[dict[str, object]]:
    """Photos that stand in `landmarks_photos.csv` too, by the image's name."""
    path = folder / "landmarks_photos.csv"
    at = csv_text.read_header(path).index("image")
    images = [cells[at] for _, cells in csv_text.read_records(path)]
    table_rows = dict(zip(images, table.read_source_table(path).rows, strict=True))
    hands = photos.select_gesture_hands([photo.label for photo in labelled], detected)
    pairs = [
        (table_rows[photo.name].landmarks, hand.landmarks, photo.label)
        for photo, hand in zip(labelled, hands, strict=True)
        if photo.name in table_rows and hand is not None
    ]
    if not pairs:
        return [{"rows": "no photo stands in both"}]
    labels = [label for _, _, label in pairs]
    own = np.stack([points for _, points, _ in pairs])
    theirs = np.stack([points for points, _, _ in pairs if points is not None])
    gap = np.linalg.norm((own - theirs)[:, :, :2], axis=2).mean(axis=1)
    size = np.linalg.norm(np.ptp(theirs[:, :, :2], axis=1), axis=1)
    return [
        {
            "photos in both": len(pairs),
            "accuracy of the table's rows": svm.score(normalize(theirs), labels),
            "accuracy of the source's rows": svm.score(normalize(own), labels),
            "distance of points in sizes of the hand, median": f"{np.median(gap / size):.2%}",
        }
    ]


def _depths(read: Mapping[str, Labelled]) -> list[dict[str, object]]:
    hands, labels = read["iti"]
    flat = hands * [1, 1, 0]
    ways = {
        "its own": hands,
        "0": flat,
        "imputed from a drawn hand (the product)": depth.impute_depth(flat),
        "estimated from x and y": _estimate_depth(flat),
    }
    makers: dict[str, Callable[[], Any]] = {
        "SVM": lambda: SVC(C=10),
        "forest": lambda: RandomForestClassifier(100, random_state=0),
        "logistic regression": lambda: make_pipeline(
            StandardScaler(), LogisticRegression(C=10, max_iter=2000)
        ),
    }
    rows: list[dict[str, object]] = []
    for way, points in ways.items():
        row: dict[str, object] = {"depth in training": way}
        for name, make in makers.items():
            model = make().fit(normalize(points), labels)
            for other in ("photos", "crops12"):
                row[f"{name} on {other}"] = float(
                    model.score(normalize(read[other][0]), read[other][1])
                )
        rows.append(row)
    return rows


def _estimate_depth(flat: Floats) -> Floats:
    """By a line through the drawn hands."""
    drawn, _ = landmark_rows(150, 5)
    features = normalize(drawn).reshape(-1, 21, 3)
    model = Line(1.0).fit(features[:, :, :2].reshape(len(features), -1), features[:, :, 2])
    target = normalize(flat).reshape(-1, 21, 3).astype(np.float64)
    target[:, :, 2] = model.predict(target[:, :, :2].reshape(len(target), -1))
    return target


def _aspect_ratios(folder: Path, target: Labelled) -> list[dict[str, object]]:
    rows = table.read_landmarks(folder / "landmarks_photos.csv", (), Counter())
    assert rows.image_sizes is not None
    shares = rows.landmarks.copy()
    shares[:, :, :2] /= rows.image_sizes[:, None, :]
    aspects = rows.image_sizes[:, 0] / rows.image_sizes[:, 1]
    ways = {
        "each picture's own": to_common_frame(shares, "normalized", rows.image_sizes, None),
        **{
            f"{name} ({aspect:.2f})": to_common_frame(shares, "normalized", None, aspect)
            for name, aspect in (("the median of all", float(np.median(aspects))), ("square", 1.0))
        },
    }
    return [
        {
            "width / height": way,
            "accuracy": float(
                SVC(C=10).fit(normalize(points), rows.labels).score(normalize(target[0]), target[1])
            ),
        }
        for way, points in ways.items()
    ]


def _limits(read: Mapping[str, Labelled]) -> list[dict[str, object]]:
    points = read["photos"][0]
    fingers = [list(range(start, start + 4)) for start in (1, 5, 9, 13, 17)]
    tips_first = [0, *(joint for finger in fingers for joint in finger[::-1])]
    by_joint = [0, *(finger[place] for place in range(4) for finger in fingers)]
    orders = {
        **{name: hands for name, (hands, _) in read.items()},
        "photos, tips before knuckles": points[:, tips_first],
        "photos, joint by joint": points[:, by_joint],
        "photos, all x before all y": points.transpose(0, 2, 1).reshape(points.shape),
    }
    return [_margin(name, hands) for name, hands in orders.items()]


def _margin(name: str, points: Floats) -> dict[str, object]:
    flat = points[:, :, :2]
    bones = anatomy._lengths(flat, anatomy.BONES)
    palm = anatomy._lengths(flat, anatomy._PALM).max(axis=1)
    fingers = bones[:, [n for n, (start, _) in enumerate(anatomy.BONES) if start]].max(axis=1)
    longest = bones.max(axis=1) / anatomy._diagonal(flat)
    limit = anatomy.MAX_MEDIAN_LONGEST_BONE
    return {
        "table": name,
        "hands": len(points),
        f"longest bone, at most {anatomy.MAX_BONE_LENGTH}": f"{longest.max():.2f}",
        f"finger's bone, at most {anatomy.MAX_PHALANX_LENGTH}": f"{(fingers / palm).max():.2f}",
        f"median of the longest bones, at most {limit}": f"{np.median(longest):.2f}",
        "impossible": int(anatomy.impossible_hands(points).sum()),
    }


def _memory() -> dict[str, object]:
    hands, labels = landmark_rows(HANDS // len(HAGRID_LABELS) + 1, 0)
    document = {
        f"{number:032x}": {
            "bboxes": [[0.1, 0.2, 0.3, 0.4]],
            "labels": [label],
            "hand_landmarks": [(hand[:, :2] / 4000).tolist()],
            "user_id": f"{number:032x}",
        }
        for number, (hand, label) in enumerate(zip(hands, labels, strict=True))
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "like.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        megabytes = path.stat().st_size / 1e6
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path)],
            cwd=page.ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    rows, memory_bytes = json.loads(done.stdout)
    return {
        "hands": rows,
        "file in MB": f"{megabytes:.1f}",
        "memory at its highest, in sizes of the file": f"{memory_bytes / 1e6 / megabytes:.1f}",
    }


if __name__ == "__main__":
    main()
