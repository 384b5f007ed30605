"""Slices: parts of a split whose examples are alike in one attribute, each with its own accuracy.

An attribute is what is known of an example without a model, so that a subject that was not
detected counts too. Slices are defined once for a run, by its training data: a number is cut into
the thirds of the training examples, and a word that is frequent among them is a slice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from mien import images
from mien.boxes import Box
from mien.images import Pixels
from mien.model.evaluation import SliceDefinition, SliceScores
from mien.reporting.scores import ScoredPrediction, wilson
from mien.task import Example

MIN_EXAMPLES = 30
"""Of a slice with an accuracy; the 95 % interval of fewer is wider than a third."""
_FULL_BOX = 0.98
"""Share of a picture from which on a box says nothing of where the subject is."""
_MAX_WORDS = 8
_THIRDS = ("low", "middle", "high")
_OTHER = "other"


def attributes(example: Example) -> dict[str, str | float]:
    """Metadata of an example, numbers of its picture, and of the largest labelled box in it.

    `subject_brightness` is the brightness of that box, such as of the region of a face. It depends
    on light, camera and skin together: it is no measure of a skin tone.
    """
    pixels = example.request.image
    if pixels is None:
        return dict(example.metadata)
    result = {**example.metadata, **images.image_stats(pixels)}
    box = max((box for _, box in example.boxes or ()), key=_area, default=None)
    if box is None:
        return result
    width, height = example.request.size
    if (size := _area(box) / (width * height)) < _FULL_BOX:
        result["subject_size"] = size
        crop = _crop(pixels, box, example.request.scale)
        if crop.size:
            result["subject_brightness"] = images.image_stats(crop)["brightness"]
    return result


def define(training: Iterable[Mapping[str, str | float]]) -> tuple[SliceDefinition, ...]:
    """The slices of each attribute of training examples that divides them."""
    numbers: dict[str, list[float]] = {}
    words: dict[str, Counter[str]] = {}
    for each in training:
        for name, value in each.items():
            if isinstance(value, str):
                words.setdefault(name, Counter())[value] += 1
            else:
                numbers.setdefault(name, []).append(value)
    result = [_thirds(name, values) for name, values in numbers.items()]
    result += [_by_word(name, counts) for name, counts in words.items()]
    return tuple(sorted((each for each in result if each), key=lambda each: each.attribute))


def measure(
    answers: Sequence[ScoredPrediction], definitions: Sequence[SliceDefinition]
) -> tuple[SliceScores, ...]:
    """Accuracy of every slice over the examples that show a subject and have its attribute."""
    result = []
    for definition in definitions:
        members: dict[str, list[bool]] = {name: [] for name in _names(definition)}
        for each in answers:
            value = each.attributes.get(definition.attribute)
            if each.truth is not None and value is not None:
                members[_name(value, definition)].append(each.predicted == each.truth)
        spans = _spans(definition)
        result += [
            _scores(definition.attribute, name, spans.get(name, (None, None)), right)
            for name, right in members.items()
            if right or name != _OTHER
        ]
    return tuple(result)


def table(slices: Sequence[SliceScores]) -> str:
    """The slices as a Markdown table."""
    head = ["| attribute | slice | examples | accuracy | 95 % interval |", "| --- " * 5 + "|"]
    return "\n".join([*head, *(_row(each) for each in slices)])


def _row(each: SliceScores) -> str:
    name = f"{each.name} ({each.span})" if each.span else each.name
    interval = "too few"
    accuracy = ""
    if each.accuracy is not None:
        accuracy, interval = f"{each.accuracy:.3f}", f"{each.low:.3f} to {each.high:.3f}"
    return f"| {each.attribute} | {name} | {each.examples} | {accuracy} | {interval} |"


def _thirds(name: str, values: Sequence[float]) -> SliceDefinition | None:
    """None where the values do not vary enough."""
    first, second = (float(f"{each:.4g}") for each in np.quantile(values, (1 / 3, 2 / 3)))
    if not min(values) <= first < second < max(values):
        return None
    return SliceDefinition(attribute=name, edges=(first, second))


def _by_word(name: str, counts: Counter[str]) -> SliceDefinition | None:
    """None where all examples have the same word, or no word is frequent."""
    frequent = [word for word, count in counts.most_common(_MAX_WORDS) if count >= MIN_EXAMPLES]
    if len(counts) < 2 or not frequent:
        return None
    return SliceDefinition(attribute=name, words=tuple(frequent))


def _names(definition: SliceDefinition) -> tuple[str, ...]:
    return _THIRDS if definition.edges else (*definition.words, _OTHER)


def _name(value: str | float, definition: SliceDefinition) -> str:
    if isinstance(value, str):
        return value if value in definition.words else _OTHER
    return _THIRDS[int(np.searchsorted(definition.edges, value))] if definition.edges else _OTHER


def _spans(definition: SliceDefinition) -> dict[str, tuple[float | None, float | None]]:
    """Start and end of each third; the end belongs to it."""
    if not definition.edges:
        return {}
    return dict(zip(_THIRDS, pairwise((None, *definition.edges, None)), strict=True))


def _scores(
    attribute: str, name: str, span: tuple[float | None, float | None], right: Sequence[bool]
) -> SliceScores:
    start, stop = span
    count, hits = len(right), sum(right)
    shares = {}
    if count >= MIN_EXAMPLES:
        low, high = wilson(hits, count)
        shares = {"accuracy": hits / count, "low": low, "high": high}
    return SliceScores(
        attribute=attribute, name=name, start=start, stop=stop, examples=count, **shares
    )


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _crop(pixels: Pixels, box: Box, scale: tuple[float, float]) -> Pixels:
    """The pixels of a box that is in pixels of the picture as sent."""
    x1, x2 = (max(0, round(edge / scale[0])) for edge in box[::2])
    y1, y2 = (max(0, round(edge / scale[1])) for edge in box[1::2])
    return pixels[y1:y2, x1:x2]
