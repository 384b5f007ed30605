"""Promises of slices: defined by the training data, honest where examples are few or missed."""

from dataclasses import replace

import numpy as np
import pytest

from mien.boxes import Box
from mien.reporting import slices
from mien.reporting.scores import ScoredPrediction
from mien.task import Example, Request

DARK, BRIGHT = 40, 200
BRIGHTNESS = slices.define({"brightness": n / 90} for n in range(91))
EDGES = pytest.approx((1 / 3, 2 / 3), rel=1e-3)


def answer(right: bool, **attributes: str | float) -> ScoredPrediction:
    """One example that shows `a`, answered rightly or with nothing at all."""
    found = "a" if right else None
    return ScoredPrediction("a", found, 0.9, "ok", (), None, {}, 0.0, attributes=attributes)


def example(box: Box | None = None, sent: tuple[int, int] | None = None) -> Example:
    """A dark picture with a bright square in its middle."""
    pixels = np.full((40, 40, 3), DARK, np.uint8)
    pixels[10:30, 10:30] = BRIGHT
    boxes = None if box is None else (("a", box),)
    return Example(Request(image=pixels, sent=sent), "a", boxes, metadata={"source": "x"})


def test_numbers_are_cut_where_the_training_data_have_their_thirds() -> None:
    """Not where the test data have theirs: all of these are bright."""
    (definition,) = BRIGHTNESS
    assert definition.edges == EDGES
    found = slices.measure([answer(True, brightness=0.7 + n / 1000) for n in range(60)], BRIGHTNESS)
    assert [(each.name, each.examples) for each in found] == [
        ("low", 0), ("middle", 0), ("high", 60),
    ]  # fmt: skip
    assert [each.span for each in found] == ["up to 0.3333", "0.3333 to 0.6667", "over 0.6667"]


def test_a_slice_in_which_subjects_are_missed_is_wrong() -> None:
    """A face that was not detected in the dark is in the slice of the dark."""
    rows = [answer(n >= 40, brightness=0.1) for n in range(50)]
    rows += [answer(True, brightness=0.9) for _ in range(50)]
    low, _, high = slices.measure(rows, BRIGHTNESS)
    assert (low.accuracy, high.accuracy) == (0.2, 1.0)
    assert low.low is not None
    assert low.high is not None
    assert low.low < 0.2 < low.high < 0.5


def test_few_examples_have_no_accuracy() -> None:
    """The table says so in words; one more example gives the number."""
    rows = [answer(True, brightness=0.1) for _ in range(slices.MIN_EXAMPLES)]
    few, enough = (slices.measure(each, BRIGHTNESS) for each in (rows[1:], rows))
    assert (few[0].examples, few[0].accuracy, few[0].low, few[0].high) == (29, None, None, None)
    assert enough[0].accuracy == 1.0
    assert "| brightness | low (up to 0.3333) | 29 |  | too few |" in slices.table(few)


def test_frequent_words_are_slices_and_the_rest_is_one() -> None:
    """Of hundreds of sources the few that the training data have often."""
    training = [{"source": word} for word in ["ffhq"] * 50 + ["press"] * 30 + ["x", "y", "z"]]
    definitions = slices.define(training)
    rows = [answer(True, source=word) for word in ["ffhq"] * 2 + ["x", "never seen"]]
    rows.append(answer(True))  # without the attribute
    found = slices.measure(rows, definitions)
    assert [(each.name, each.examples) for each in found] == [
        ("ffhq", 2), ("press", 0), ("other", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "training",
    [
        [{"source": "one"}] * 90,
        [{"user": str(n)} for n in range(90)],
        [{"brightness": 0.5}] * 90,
        [{"brightness": float(n > 80)} for n in range(90)],
        [],
    ],
)
def test_what_does_not_divide_the_training_data_is_no_slice(
    training: list[dict[str, str | float]],
) -> None:
    """The same for all, different for each, or a rare exception."""
    assert slices.define(training) == ()


def test_examples_without_a_subject_are_in_no_slice() -> None:
    """Accuracy is over those that show one."""
    empty = replace(answer(False, brightness=0.0), truth=None)
    assert [each.examples for each in slices.measure([empty], BRIGHTNESS)] == [0, 0, 0]


@pytest.mark.parametrize("times", [1, 4])
def test_the_region_of_the_subject_has_its_own_brightness(times: int) -> None:
    """Of the labelled box, also where the picture was reduced: its pixels are those as sent."""
    box = tuple(float(edge * times) for edge in (10, 10, 30, 30))
    found = slices.attributes(example(box, (40 * times, 40 * times)))  # type: ignore[arg-type]
    assert found["subject_brightness"] == pytest.approx(BRIGHT / 255)
    assert found["subject_size"] == pytest.approx(0.25)
    assert found["brightness"] == pytest.approx((DARK * 3 + BRIGHT) / 4 / 255)
    assert found["source"] == "x"


@pytest.mark.parametrize("box", [None, (0.0, 0.0, 40.0, 40.0)])
def test_a_box_around_all_of_the_picture_says_nothing_of_the_subject(box: Box | None) -> None:
    """As in sets whose boxes were made without looking."""
    assert set(slices.attributes(example(box))) == {"brightness", "sharpness", "source"}
