"""Promises of the record of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.observability.prediction_log.events import COLUMNS, Event, Verdict

_numbers = st.floats(allow_nan=False, allow_infinity=False)
_events = st.builds(
    Event,
    label=st.none() | st.text(),
    moment=_numbers,
    confidence=_numbers,
    seconds=_numbers,
    input_stats=st.dictionaries(st.text(), _numbers, max_size=3),
)


@given(_events)
def test_a_row_holds_a_whole_answer(event: Event) -> None:
    """Whatever was answered, it is read as it was written."""
    assert len(event.row) == len(COLUMNS.split(", "))
    assert Event.of(event.row) == event


@pytest.mark.parametrize(
    ("said", "truth", "right"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, None, True)],
)
def test_a_verdict_is_right_where_answer_and_truth_agree(
    said: str | None, truth: str | None, right: bool
) -> None:
    """To have found nothing where there is nothing is right."""
    assert Verdict(said, truth).right == right
