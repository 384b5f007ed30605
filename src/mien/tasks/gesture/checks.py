"""The data checks of gesture alone; `inspection.py` records their issues."""

from mien.task import recorded_check

from . import hagrid, labels, photos, table
from .data import IMPOSSIBLE_HAND, MISSING_IMAGE_SIZE

RARE_LABEL = "rare_label"
LANDMARK_ORDER = "landmark_order"
OUTLIER_HAND = "outlier_hand"
AMBIGUOUS_UNITS = "ambiguous_units"
MIXED_UNITS = "mixed_units"
UNKNOWN_SPLIT = "unknown_split"
MISSING_DEPTH = "missing_depth"

CHECKS = (
    recorded_check(
        table.MISSING_VALUES,
        "Rows without 63 numbers or without a label. They are left out; many of them point to a "
        "broken export.",
        "error",
        0.05,
        fixable=True,
    ),
    recorded_check(
        RARE_LABEL,
        f"Rows of labels with fewer than {labels.MIN_ROWS} usable rows. `prepare` refuses such "
        "labels; params.ignore_labels leaves them out.",
    ),
    recorded_check(
        IMPOSSIBLE_HAND,
        "Hands that no pose explains. Their points are mixed up, or the landmark network failed.",
        "error",
        0.01,
        fixable=True,
    ),
    recorded_check(
        LANDMARK_ORDER,
        "Tables whose 21 points are not in MediaPipe's order. The points of served hands are.",
        "error",
    ),
    recorded_check(
        OUTLIER_HAND,
        "Hands unlike the others: a wrong label, or a failure of the landmark network.",
        limit=0.01,
    ),
    recorded_check(
        AMBIGUOUS_UNITS,
        "Tables whose unit of x and y is not clear. Set params.convention.",
        "error",
    ),
    recorded_check(
        MIXED_UNITS,
        "Rows in another unit than the rest of their table. `prepare` refuses the table.",
        "error",
        fixable=True,
    ),
    recorded_check(
        MISSING_IMAGE_SIZE,
        "Rows in shares of an image of unknown size: the hand's proportions are lost. Add the "
        "columns width and height, or set params.aspect_ratio.",
        "error",
        0.05,
    ),
    recorded_check(
        UNKNOWN_SPLIT,
        "Rows whose split is not train, val or test. `prepare` refuses them.",
        "error",
    ),
    recorded_check(
        MISSING_DEPTH, "Tables without depth. A model loses the skill that comes from depth."
    ),
    recorded_check(
        photos.NO_HAND,
        "Photos in which no hand is detected. They are left out.",
        limit=0.05,
        fixable=True,
    ),
    recorded_check(
        photos.UNREADABLE,
        "Photos that cannot be decoded. They are left out.",
        "error",
        0.01,
        fixable=True,
    ),
    recorded_check(
        hagrid.MISSING_LANDMARKS,
        "Annotated hands without landmarks. They are left out.",
        limit=0.1,
    ),
)
