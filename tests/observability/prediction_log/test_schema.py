"""Record types of the prediction log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.observability.prediction_log.schema import COLUMNS, Feedback, PredictionRecord

from .records import record

_numbers = st.floats(allow_nan=False, allow_infinity=False)
_records = st.builds(
    PredictionRecord,
    label=st.none() | st.text(),
    timestamp=_numbers,
    confidence=_numbers,
    latency_s=_numbers,
    input_stats=st.dictionaries(st.text(), _numbers, max_size=3),
)


@given(_records)
def test_a_row_has_the_whole_record(record: PredictionRecord) -> None:
    """What was written is read back."""
    assert len(record.as_row()) == len(COLUMNS.split(", "))
    assert PredictionRecord.from_row(record.as_row()) == record


def test_an_input_statistic_that_is_no_number_is_left_out() -> None:
    """JSON has no NaN: a database refuses the row, or a reader its statistics."""
    stats = {"a": float("nan"), "b": 2.0, "c": float("inf")}
    row = record(input_stats=stats).as_row()
    assert PredictionRecord.from_row(row).input_stats == {"b": 2.0}


@pytest.mark.parametrize(
    ("predicted", "true_label", "correct"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, None, True)],
)
def test_feedback_is_correct_where_labels_agree(
    predicted: str | None, true_label: str | None, correct: bool
) -> None:
    """Predicting no subject where there is none is correct."""
    assert Feedback(predicted, true_label).is_correct == correct
