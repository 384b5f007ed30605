"""Options that an exporter drops without a word never reach a bundle."""

from typing import Any

import pytest

from mien.errors import TrainingError
from mien.tasks.gesture.export import require_exportable

LIGHTGBM: list[dict[str, Any]] = [
    {"linear_tree": True},
    {"sigmoid": 2.0},
    {"objective": "multiclassova"},
    {"zero_as_missing": True},
    {"boosting_type": "rf"},
    {"boosting": "rf"},
]


@pytest.mark.parametrize("options", LIGHTGBM, ids=lambda each: next(iter(each)))
def test_options_of_lightgbm_that_the_export_drops_are_refused(options: dict[str, Any]) -> None:
    """Probabilities of the exported file would be off by up to 0.7."""
    from lightgbm import LGBMClassifier

    with pytest.raises(TrainingError, match=f"found {next(iter(options))}="):
        require_exportable(LGBMClassifier(**options))
    require_exportable(LGBMClassifier())


def test_a_calibration_that_cannot_be_exported_is_refused() -> None:
    """`temperature` of scikit-learn 1.9; the product uses `sigmoid`."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    with pytest.raises(TrainingError, match="found method='temperature'"):
        require_exportable(CalibratedClassifierCV(SVC(), method="temperature"))
    require_exportable(CalibratedClassifierCV(SVC(), method="sigmoid"))


def test_probabilities_of_a_support_vector_machine_itself_are_refused() -> None:
    """Its best probability names another label than it does in one of 25 rows."""
    from sklearn.svm import SVC

    with pytest.raises(TrainingError, match="found probability=True"):
        require_exportable(SVC(probability=True))
