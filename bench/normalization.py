"""Ways to normalize landmarks, by the accuracy of an RBF SVC on tables it was not trained on."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from bench import page
from mien.tasks.gesture import table as tables
from mien.tasks.gesture.landmarks import DEPTH_WEIGHT, infer_convention, normalize, to_common_frame

Floats = NDArray[np.float64]
Size = Callable[[Floats], Floats]

MIDDLE_KNUCKLE, MIDDLE_TIP = 9, 12

SIZES: dict[str, Size] = {
    "wrist to middle fingertip": lambda plane: np.linalg.norm(plane[:, MIDDLE_TIP], axis=1),
    "wrist to middle knuckle": lambda plane: np.linalg.norm(plane[:, MIDDLE_KNUCKLE], axis=1),
    "largest distance": lambda plane: np.linalg.norm(plane, axis=2).max(axis=1),
    "root mean square": lambda plane: np.sqrt((plane**2).sum(axis=2).mean(axis=1)),
}
DEPTHS = {"own RMS": 1.0, "own RMS x 0.5": DEPTH_WEIGHT, "left out": 0.0}


def main() -> None:
    """Fit on one table, score on two others, for every combination."""
    data = page.real_data() / "gesture"
    names = ("landmarks_iti.csv", "landmarks_photos.csv", "landmarks_crops12.csv")
    (hands, labels), *others = (_read(data / name) for name in names)
    rows: list[dict[str, object]] = []
    for size, measure in SIZES.items():
        for depth, weight in DEPTHS.items():
            model = SVC(C=10).fit(_features(hands, measure, weight), labels)
            scores = [model.score(_features(other, measure, weight), y) for other, y in others]
            every = [hands, *(other for other, _ in others)]
            largest = max(np.abs(_features(each, measure, 0)).max() for each in every)
            rows.append(
                {
                    "x, y divided by": size,
                    "z": depth,
                    "accuracy on photos": scores[0],
                    "accuracy on crops12": scores[1],
                    "largest feature": f"{largest:.1f}",
                }
            )
    model = SVC(C=10).fit(normalize(hands), labels)
    chosen: dict[str, object] = {"x, y divided by": "`landmarks.normalize` (the product)"}
    for name, (other, y) in zip(("photos", "crops12"), others, strict=True):
        chosen[f"accuracy on {name}"] = model.score(normalize(other), y)
    page.write("normalization", "Ways to normalize landmarks", [page.table([*rows, chosen])])


def _read(path: Path) -> tuple[Floats, list[str]]:
    rows = tables.read_landmarks(path, (), Counter())
    convention = infer_convention(rows.landmarks).convention
    return to_common_frame(rows.landmarks, convention, rows.image_sizes, 1.0), list(rows.labels)


def _features(hands: Floats, measure: Size, weight: float) -> Floats:
    offset = hands - hands[:, :1]
    plane = offset[:, :, :2] / np.maximum(measure(offset[:, :, :2]), 1e-9)[:, None, None]
    own = np.sqrt((offset[:, :, 2] ** 2).mean(axis=1))
    depth = offset[:, :, 2:] / np.maximum(own, 1e-9)[:, None, None] * weight
    return np.concatenate([plane, depth], axis=2).reshape(len(hands), 63)


if __name__ == "__main__":
    main()
