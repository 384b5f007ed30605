"""How good predictions are: accuracy, F1, calibration, mAP. Numbers in, numbers out.

A subject that was not found counts as a wrong answer: it lowers recall of its class and
accuracy, and is reported beside them as its own share.
"""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.boxes import Box
from mien.model.decision import AnswerDecision
from mien.model.evaluation import Latency, MajorityComparison, Scores
from mien.task import Example, Prediction, Request

NO_REQUEST = Request(image=np.zeros((1, 1, 3), np.uint8))
"""In place of a picture that is not needed any more."""
Pair = tuple[str | None, str | None]
"""The true and the predicted label; None for 'no subject'."""


@dataclass(frozen=True)
class ScoredPrediction:
    """One labelled request and its prediction: all that scoring needs of the two."""

    truth: str | None
    predicted: str | None
    confidence: float
    outcome: str
    detections: tuple[tuple[Box, dict[str, float]], ...]
    boxes: tuple[tuple[str, Box], ...] | None
    input_stats: dict[str, float]
    seconds: float
    name: str = ""
    novelty: float | None = None
    """Of the best detection, see `Detection.novelty`."""
    prediction: Prediction | None = None
    """What was scored, for `decided`."""
    attributes: Mapping[str, str | float] = field(default_factory=dict)
    """Of the example, see `slices.attributes`; none where it is of no slice."""


def scored(example: Example, prediction: Prediction, seconds: float) -> ScoredPrediction:
    """Keep of a prediction what scoring needs, so that pictures can be forgotten."""
    best = prediction.best
    boxes = [(each.box, dict(each.scores)) for each in prediction.detections if each.box]
    return ScoredPrediction(
        truth=example.label,
        predicted=best.label if best else None,
        confidence=best.confidence if best else 0.0,
        outcome=prediction.outcome,
        detections=tuple(boxes),
        boxes=example.boxes,
        input_stats=dict(prediction.input_stats),
        seconds=seconds,
        name=example.name,
        novelty=best.novelty if best else None,
        prediction=prediction,
    )


def decided(answer: ScoredPrediction, decision: AnswerDecision) -> ScoredPrediction:
    """The same example with the prediction that a bundle with this decision gives."""
    if answer.prediction is None:
        raise ValueError("expected a scored prediction that holds its prediction, found none")
    example = Example(NO_REQUEST, answer.truth, answer.boxes, answer.name)
    result = scored(example, answer.prediction.decided(decision), answer.seconds)
    return replace(result, attributes=answer.attributes)


def summary(answers: Sequence[ScoredPrediction], labels: Sequence[str]) -> Scores:
    """Return every headline number of one split.

    `accuracy` and `macro_f1` are over the examples that show a subject (`shown`), macro-F1 over the
    classes that occur among them; `miss_rate` is the share of these without a detection;
    `false_positive_rate` the share of examples without a subject that got one. `coverage` is the
    share of the detected subjects that are not `unsure`, `risk` the share of wrong labels of these.
    """
    matrix = confusion([(each.truth, each.predicted) for each in answers], labels)
    shown = [each for each in answers if each.truth is not None]
    empty = [each for each in answers if each.truth is None]
    answered = [each for each in answers if each.outcome == "ok"]
    boxes: dict[str, float] = {}
    if any(each.boxes is not None for each in answers):
        boxes = mean_average_precision(answers, labels)
    return Scores(
        examples=len(answers),
        shown=len(shown),
        accuracy=_share([each.predicted == each.truth for each in shown]),
        macro_f1=macro_f1(matrix),
        miss_rate=_share([each.predicted is None for each in shown]),
        false_positive_rate=_share([each.predicted is not None for each in empty]),
        calibration_error=calibration_error(answers),
        coverage=len(answered) / max(1, sum(each.predicted is not None for each in answers)),
        risk=_share([each.predicted != each.truth for each in answered]),
        **boxes,
    )


def with_unknown_labels(
    labels: Sequence[str], answers: Sequence[ScoredPrediction]
) -> tuple[str, ...]:
    """The labels of a model, and those of the examples that it does not know: all are wrong."""
    unknown = {each.truth for each in answers if each.truth is not None} - set(labels)
    return (*labels, *sorted(unknown))


def confusion(pairs: Sequence[Pair], labels: Sequence[str]) -> NDArray[np.int64]:
    """Counts of shape (labels, labels + 1): rows truth, columns answer, last column nothing."""
    row = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    for truth, predicted in pairs:
        if truth is not None:
            matrix[row[truth], row[predicted] if predicted else len(labels)] += 1
    return matrix


def compare_with_majority(
    answers: Sequence[ScoredPrediction], labels: Sequence[str]
) -> MajorityComparison:
    """Whether predictions say more than the most frequent label does.

    The interval of macro-F1 is that of a mean of shares over classes: Wilson's interval with
    k^2 / sum(1 / n_i) in place of the number of examples, for k classes of n_i examples; rare
    classes widen it.
    """
    shown = [each for each in answers if each.truth is not None]
    matrix = confusion([(each.truth, each.predicted) for each in shown], labels)
    support = matrix.sum(axis=1)
    support = support[support > 0]
    f1, correct = macro_f1(matrix), int(np.diag(matrix).sum())
    effective = float(len(support) ** 2 / (1 / support).sum()) if len(support) else 0.0
    return MajorityComparison(
        examples=len(shown),
        share=float(support.max() / len(shown)) if len(shown) else 1.0,
        macro_f1=f1,
        macro_f1_low=wilson(f1 * effective, effective)[0],
        accuracy=correct / max(len(shown), 1),
        accuracy_low=wilson(correct, len(shown))[0],
    )


def wilson(hits: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Both ends of the interval of a share of which `hits` of `count` were seen; z 1.96 is 95 %.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    centre = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def per_class(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each class from a confusion matrix; 0/0 is 0."""
    square = matrix[:, : len(matrix)]
    hits = np.diag(square).astype(np.float64)
    support = matrix.sum(axis=1)
    precision = hits / np.maximum(square.sum(axis=0), 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(square.sum(axis=0) + support, 1)
    return {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(float)}


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean F1 of the classes that occur in the truth; 0 if none does."""
    classes = per_class(matrix)
    present = classes["support"] > 0
    return float(classes["f1"][present].mean()) if present.any() else 0.0


def reliability(answers: Sequence[ScoredPrediction], bins: int = 10) -> NDArray[np.float64]:
    """Rows of (mean confidence, accuracy, count), one for each bin of confidence that is filled."""
    hits = [each for each in answers if each.predicted]
    pairs = [(each.confidence, each.predicted == each.truth) for each in hits]
    if not pairs:
        return np.zeros((0, 3))
    confidence, right = np.array(pairs, dtype=np.float64).T
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = [
        (
            confidence[bin_index == each].mean(),
            right[bin_index == each].mean(),
            (bin_index == each).sum(),
        )
        for each in range(bins)
        if (bin_index == each).any()
    ]
    return np.array(rows, dtype=np.float64)


def calibration_error(answers: Sequence[ScoredPrediction]) -> float:
    """Expected calibration error over ten bins (Naeini et al. 2015)."""
    rows = reliability(answers)
    if not len(rows):
        return 0.0
    return float((np.abs(rows[:, 0] - rows[:, 1]) * rows[:, 2]).sum() / rows[:, 2].sum())


def latency(answers: Sequence[ScoredPrediction]) -> Latency:
    """Median and 95th percentile of the time of one request in milliseconds."""
    times = np.array([each.seconds for each in answers]) * 1000
    p50, p95 = np.percentile(times, [50, 95]) if len(times) else (0.0, 0.0)
    return Latency(p50_ms=float(p50), p95_ms=float(p95))


def mean_average_precision(
    answers: Sequence[ScoredPrediction], labels: Sequence[str]
) -> dict[str, float]:
    """mAP50 and mAP50-95 as COCO defines them, computed by pycocotools.

    Every detection counts once for each label, with that label's score.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    number = {label: index + 1 for index, label in enumerate(labels)}
    truth = [
        _coco(image, number[label], box)
        for image, each in enumerate(answers)
        for label, box in each.boxes or ()
    ]
    detections = [
        {**_coco(image, number[label], box), "score": score}
        for image, each in enumerate(answers)
        for box, scores in each.detections
        for label, score in scores.items()
    ]
    if not truth or not detections:
        return {"map50": 0.0, "map50_95": 0.0}
    reference = COCO()
    reference.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(answers))],
        "categories": [{"id": category_id, "name": label} for label, category_id in number.items()],
        "annotations": [{"id": index + 1, **row} for index, row in enumerate(truth)],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # the library reports on standard output
        reference.createIndex()
        judge = COCOeval(reference, reference.loadRes(detections), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {"map50": float(judge.stats[1]), "map50_95": float(judge.stats[0])}


def _coco(image: int, category: int, box: Box) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }


def _share(hits: Sequence[bool]) -> float:
    return float(np.mean(hits)) if len(hits) else 0.0
