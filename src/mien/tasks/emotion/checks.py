"""The data checks of emotion alone; `inspection.py` records their issues."""

from mien.task import recorded_check

from . import label_csv, label_lines, yolo
from .dataset.usable import MISSING_LABEL_FILE

ORPHAN_LABEL_FILE = "orphan_label_file"
OUTSIDE_IMAGE = "image_outside_splits"
UNKNOWN_CLASS = "unknown_class"

CHECKS = (
    recorded_check(MISSING_LABEL_FILE, "Images without a label file. The training skips them."),
    recorded_check(ORPHAN_LABEL_FILE, "Label files without an image. Images may be missing."),
    recorded_check(
        OUTSIDE_IMAGE,
        "Images in no split of data.yaml and in no folder of a split. They are not used.",
    ),
    recorded_check(
        label_lines.EMPTY_LABEL_FILE,
        "Empty label files. Their images are trained as images without a face.",
        limit=0.2,
    ),
    recorded_check(
        UNKNOWN_CLASS,
        "Classes that the task does not know. Their faces cannot be trained.",
        "error",
    ),
    recorded_check(
        label_csv.MIXED_CASE,
        "Labels in another spelling than the task's. They are read as its own.",
    ),
    recorded_check(
        label_lines.MALFORMED_LABEL,
        "Label lines that cannot be read. The training skips their images.",
    ),
    recorded_check(
        label_lines.DUPLICATE_LABEL_LINE,
        "Label lines that repeat a line of their file. They count once.",
    ),
    recorded_check(
        label_lines.POLYGON_LABEL,
        "Label lines with polygons or oriented boxes. Their bounding boxes are read.",
        limit=1.0,
    ),
    recorded_check(
        label_lines.EXTRA_LABEL_COLUMNS,
        "Label lines with a score or keypoints after the box. These are ignored.",
        limit=1.0,
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
