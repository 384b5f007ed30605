"""Accuracy without labels against the truth, on real test sets that are darkened, blurred, remixed.

Gestures are trained here. The emotion model is one of `bench emotion`, whose workspace is kept
below build/; without one, it is trained first, which takes ten minutes of CPU time.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bench import emotion, page
from mien import config, pipeline, tasks
from mien.images import Pixels
from mien.model import runtime
from mien.model.runtime import Model
from mien.observability import drift
from mien.observability.drift import DriftRow
from mien.observability.estimate import AccuracyEstimate, estimate, mean_confidence
from mien.reporting import console
from mien.storage.workspace import Workspace
from mien.task import Request
from mien.tasks.emotion.dataset.class_names import label_of

CANDIDATE = "face-api"
"""Of `bench emotion`."""
WINDOWS, WINDOW_ROWS = 300, 200
"""Random windows of each test set, and their answers."""
DARKER, BLURRED = (0.7, 0.4, 0.2), (1.0, 2.0, 3.0)
"""Factors on the light; radii of the blur in hundredths of the shorter side."""
SHARE = 0.5
"""Of the label that a mix of classes has most."""
Change = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Answered:
    """One answer to a picture whose label is known."""

    truth: str
    row: DriftRow


def main() -> None:
    """Answer both test sets under every change, and write what was estimated and what was true."""
    source = page.real_data()
    parts = [
        "The estimate is the mean calibrated confidence of the answers that name a label; *right* "
        "is the true share among the same answers. *Shown* is what a server does: it withholds "
        "the estimate where any quantity drifts beyond its threshold; its error is given all the "
        "same. A mix of classes repeats answers of the label that it has most. "
        f"*Inside* is the share of {WINDOWS} random windows of {WINDOW_ROWS} answers whose true "
        "accuracy lies in the interval of the estimate, withheld or not; 95 % are aimed at. "
        "*Shown in* is the share of these windows with an estimate. Windows without an answer that "
        "counts have no accuracy: they are in neither share, and *empty windows* counts them.",
        *_emotion(source / emotion.SET),
        *_gesture(source / "gesture"),
    ]
    page.write("estimate", "Accuracy without labels", parts)


def _emotion(source: Path) -> list[str]:
    bundle_folder, pictures = emotion.train(CANDIDATE).folder, list(_faces(source))
    words = f"{CANDIDATE} of `bench emotion`, the test split as shipped"
    return ["## emotion", *_measured("emotion", bundle_folder, pictures, words)]


def _faces(source: Path) -> Iterator[tuple[str, bytes]]:
    """Label and file of each picture of the test split."""
    with ZipFile(source) as archive:
        names = [name for name in archive.namelist() if "/test/images/" in name]
        folder = names[0].partition("/test/")[0]
        classes = _class_names(archive.read(f"{folder}/data.yaml").decode())
        for name in sorted(each for each in names if not each.endswith("/")):
            path = Path(name.replace("/images/", "/labels/")).with_suffix(".txt")
            lines = archive.read(path.as_posix()).decode().split()
            if lines and (label := label_of(classes[int(lines[0])])):
                yield label, archive.read(name)


def _class_names(text: str) -> list[str]:
    names = config.parse_yaml(text)["names"]
    return list(names.values()) if isinstance(names, dict) else list(names)


def _gesture(folder: Path) -> list[str]:
    photos = [
        (path.parent.name, path.read_bytes())
        for path in sorted((folder / "photos").rglob("*.jpg"))
        if path.parent.name != "no_gesture"
    ]
    with tempfile.TemporaryDirectory() as name:
        champion = gesture_champion(folder, Workspace(Path(name)))
        words = "an SVM trained on `landmarks_iti.csv`, photos of people"
        measured = _measured("gesture", champion, photos, words)
    note = (
        "It was trained on landmarks, so its reference knows no brightness and no sharpness: the "
        "drift score sees a dark or blurred photo only by what it does to landmarks and answers."
    )
    return ["## gesture", *measured, note]


def gesture_champion(folder: Path, home: Workspace) -> Path:
    """Train an SVM on the landmarks of a folder; its bundle."""
    run = tasks.run_config("gesture")
    update = {"source": str(folder / "landmarks_iti.csv"), "params": {"candidates": ["svm"]}}
    pipeline.run(run.model_copy(update=update), home, "bench")
    return home.version("gesture", home.aliases("gesture")["champion"])


def _measured(
    task: str, folder: Path, pictures: Sequence[tuple[str, bytes]], words: str
) -> list[str]:
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    rows = []
    with runtime.load(folder) as model:
        clean = _answers(task, model, pictures, lambda pixels: pixels)
        sets = {"none": clean}
        for factor in DARKER:
            sets[f"light x {factor}"] = _answers(task, model, pictures, _darker(factor))
        for radius in BLURRED:
            sets[f"blur, radius {radius:g} %"] = _answers(task, model, pictures, _blurred(radius))
        sets |= _mixes(clean)
        for name, answers in sets.items():
            rows.append({"change": name, **_row(answers, model, reference)})
            console.info(f"{task}: {rows[-1]}")
    return [f"{len(pictures)} pictures; {words}.", page.table(rows), _summary(rows)]


def _answers(
    task: str, model: Model, pictures: Sequence[tuple[str, bytes]], change: Change
) -> list[Answered]:
    predictor = tasks.load(task).inference
    result = []
    for truth, content in pictures:
        request = predictor.read(content)
        assert request.image is not None
        prediction = predictor.predict(Request(image=change(request.image)), model)
        best = prediction.best
        row = DriftRow(
            best.label if best else None,
            best.confidence if best else 0.0,
            prediction.input_stats,
            prediction.outcome,
        )
        result.append(Answered(truth, row))
    return result


def _darker(factor: float) -> Change:
    return lambda pixels: (pixels * factor).astype(np.uint8)


def _blurred(percent: float) -> Change:
    def change(pixels: Pixels) -> Pixels:
        radius = min(pixels.shape[:2]) * percent / 100
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))

    return change


def _mixes(clean: Sequence[Answered]) -> dict[str, list[Answered]]:
    """The same answers with half of them of one label: of that most and least often right."""
    right: dict[str, list[bool]] = {}
    for each in clean:
        right.setdefault(each.truth, []).append(each.row.label == each.truth)
    order = sorted(right, key=lambda label: float(np.mean(right[label])))
    result = {}
    for label in (order[-1], order[0]):
        own = [each for each in clean if each.truth == label]
        others = [each for each in clean if each.truth != label]
        chance = np.random.default_rng(0)
        count = round(len(clean) * SHARE)
        picked = [own[n] for n in chance.integers(len(own), size=count)]
        picked += [others[n] for n in chance.permutation(len(others))[: len(clean) - count]]
        result[f"class mix: half {label}"] = picked
    return result


def _row(
    answers: Sequence[Answered], model: Model, reference: Mapping[str, object]
) -> dict[str, object]:
    whole = _window(answers, model, reference)
    if whole is None:
        columns = ("right", "estimate", "interval", "error", "largest drift, of its threshold")
        windows = {"inside": "", "shown in": "", "empty windows": WINDOWS}
        return {"answers": 0, **dict.fromkeys(columns, ""), "shown": "no", **windows}
    right, guess, shown = whole
    scores = drift.compare([each.row for each in answers], reference)
    ratios = {name: each.score / each.limit for name, each in scores.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    windows = _windows(answers, model, reference)
    return {
        "answers": shown.answers,
        "right": right,
        "estimate": guess[0],
        "interval": f"{guess[1]:.3f} to {guess[2]:.3f}",
        "error": f"{guess[0] - right:+.4f}",
        "largest drift, of its threshold": f"{worst} {ratios[worst]:.1f}",
        "shown": "no" if shown.accuracy is None else "yes",
        **windows,
    }


def _window(
    answers: Sequence[Answered], model: Model, reference: Mapping[str, object]
) -> tuple[float, tuple[float, float, float], AccuracyEstimate] | None:
    """The true accuracy of the answers that count, what is estimated, and what is shown; None
    without such an answer."""
    decision = model.decision
    assert decision is not None, "an evaluated bundle"
    rows = [each.row for each in answers]
    counted = [
        each
        for each in answers
        if each.row.label is not None
        and (each.row.outcome != "unsure" or each.row.confidence < decision.min_confidence)
    ]
    if not counted:
        return None
    right = float(np.mean([each.row.label == each.truth for each in counted]))
    guess = mean_confidence([each.row.confidence for each in counted], decision.examples)
    return right, guess, estimate(rows, decision, drift.compare(rows, reference))


def _windows(
    answers: Sequence[Answered], model: Model, reference: Mapping[str, object]
) -> dict[str, object]:
    """Of random windows, the share whose truth is in the interval, the share with an estimate,
    and how many have no answer that counts."""
    chance = np.random.default_rng(1)
    inside: list[bool] = []
    shown_in: list[bool] = []
    for _ in range(WINDOWS):
        order: NDArray[np.int64] = chance.permutation(len(answers))[:WINDOW_ROWS]
        window = _window([answers[index] for index in order], model, reference)
        if window is not None:
            right, (_, lower, upper), shown = window
            inside.append(lower <= right <= upper)
            shown_in.append(shown.accuracy is not None)
    return {
        "inside": f"{np.mean(inside):.0%}" if inside else "",
        "shown in": f"{np.mean(shown_in):.0%}" if shown_in else "",
        "empty windows": WINDOWS - len(inside),
    }


def _summary(rows: Sequence[Mapping[str, object]]) -> str:
    """Mean size of the errors that are shown, and of those that are withheld."""
    parts = []
    for shown, words in (("yes", "shown"), ("no", "withheld")):
        errors = [
            abs(float(str(row["error"]))) for row in rows if row["shown"] == shown and row["error"]
        ]
        mean = f"{np.mean(errors):.3f}, at most {max(errors):.3f}" if errors else "none"
        parts.append(f"{words}: {len(errors)} of {len(rows)}, mean absolute error {mean}")
    return f"Estimates {'; '.join(parts)}."


if __name__ == "__main__":
    main()
