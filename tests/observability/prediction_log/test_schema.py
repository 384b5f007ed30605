"""Record types of the prediction log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.observability.prediction_log.schema import COLUMNS, Feedback, PredictionRecord

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


@pytest.mark.parametrize(
    ("predicted", "true_label", "correct"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, None, True)],
)
def test_feedback_is_correct_where_labels_agree(
    predicted: str | None, true_label: str | None, correct: bool
) -> None:
    """Predicting no subject where there is none is correct."""
    assert Feedback(predicted, true_label).is_correct == correct
