"""From labels that people gave to a challenger: the parts that other stages do not have.

    reviewed samples --> a quarter, by their content --> test of reviewed samples
          |
          the rest --> train, beside the data of the champion --> new version
    both tests --> champion and challenger --> reports/<task>/retrain_<version>.md

`dataset.py` makes the version, `comparison.py` the report; `schedule.py` decides whether a training
is due, and remembers the last ones; `webhook.py` receives alerts. `pipeline.retrain` is the whole.
"""

from .comparison import RetrainReport, TestComparison, compare, write
from .dataset import ReviewedData, add_reviewed
from .schedule import RetrainLimits, Training, history, one_at_a_time, record, require_due

__all__ = [
    "RetrainLimits",
    "RetrainReport",
    "ReviewedData",
    "TestComparison",
    "Training",
    "add_reviewed",
    "compare",
    "history",
    "one_at_a_time",
    "record",
    "require_due",
    "write",
]
