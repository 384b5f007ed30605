"""What a prediction needs to know about an exported detector; stored in its bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from mien.errors import BundleError

PREPROCESSING_VERSION = "letterbox-center/3"
"""Version of the preprocessing and of these fields; a bundle with another one is refused."""


@dataclass(frozen=True)
class DetectorSpec:
    """Input format, output format and decoding thresholds of one detector.

    `pad_value` and `nms_iou` follow LibreYOLO; `score_threshold` is low because the decision of the
    bundle says which answers count.
    """

    family: str
    """A key of `networks.FAMILIES`."""
    output_format: Literal["yolox", "yolo9", "face-api"]
    """See `decode.decode_output`."""
    input_size: int
    """Side of the square input in pixels."""
    channel_order: Literal["rgb", "bgr"]
    pixel_scale: float
    """Factor on pixel values 0..255."""
    pad_value: int = 114
    """Pixel value of the letterbox border."""
    nms_iou: float = 0.45
    vote_iou: float = 0.6
    """Boxes that overlap a detection by at least this take part in its vote."""
    score_threshold: float = 0.02
    max_detections: int = 50
    input_name: str = "images"
    output_name: str = "output"
    preprocessing_version: str = PREPROCESSING_VERSION

    @classmethod
    def from_preprocessing(cls, document: Mapping[str, Any]) -> Self:
        """Read the document that `as_dict` returned.

        Raises:
            BundleError: it was written by a version with another preprocessing.
        """
        if document.get("preprocessing_version") != PREPROCESSING_VERSION:
            raise BundleError(
                f"preprocessing of the bundle: expected {PREPROCESSING_VERSION!r}, found "
                f"{document.get('preprocessing_version')!r}. Train the model again."
            )
        return cls(**{field.name: document[field.name] for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)
