"""The data checks of emotion alone; `inspection.py` records their issues."""

from mien.task import recorded_check

from . import label_csv, yolo
from .data import MISSING_LABEL_FILE

ORPHAN_LABEL_FILE = "orphan_label_file"
UNKNOWN_CLASS = "unknown_class"

CHECKS = (
    recorded_check(MISSING_LABEL_FILE, "Images without a label file. The training skips them."),
    recorded_check(ORPHAN_LABEL_FILE, "Label files without an image. Images may be missing."),
    recorded_check(
        yolo.EMPTY_LABEL_FILE,
        "Empty label files. Their images are trained as images without a face.",
        limit=0.2,
    ),
    recorded_check(
        UNKNOWN_CLASS,
        "Classes that the task does not know. Their faces cannot be trained.",
        "error",
    ),
    recorded_check(
        label_csv.MIXED_CASE, "The same class in several spellings. They are read as one class."
    ),
    recorded_check(
        yolo.MALFORMED_LABEL, "Label lines without five numbers. The training skips their images."
    ),
    recorded_check(
        yolo.BOX_OUT_OF_BOUNDS, "Boxes that reach beyond the image. They are clipped at its border."
    ),
    recorded_check(
        yolo.DEGENERATE_BOX,
        "Boxes without area. The position of the face is unknown, and the box is skipped.",
        fixable=True,
    ),
    recorded_check(
        yolo.WHOLE_IMAGE_BOX,
        "Boxes that cover the whole image and mark no face. A detector learns to draw the border "
        "of the image: its labels can be measured, its boxes (mAP) cannot.",
        "error",
        0.5,
        fixable=True,
    ),
    recorded_check(
        label_csv.ROW_WITHOUT_IMAGE,
        "Rows of the label CSV without an image. The CSV belongs to another state of the set.",
    ),
    recorded_check(
        label_csv.IMAGE_WITHOUT_ROW,
        "Images without a row in the label CSV. Their labels cannot be compared with it.",
    ),
    recorded_check(label_csv.UNKNOWN_LABEL, "Labels of the label CSV that the task does not know."),
    recorded_check(
        label_csv.CONFLICTING_LABELS,
        "Images with two labels in the label CSV. At least one of them is wrong.",
    ),
    recorded_check(
        label_csv.LABEL_MISMATCH,
        "Images with another label in the label CSV. The label file or the CSV is wrong.",
    ),
)
