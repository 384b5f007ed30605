"""One labelled image, as every layout is read."""

from dataclasses import dataclass
from pathlib import Path

from ..label_lines import LabelFile


@dataclass(frozen=True)
class LabelledImage:
    """An image of a split with its labels."""

    name: str
    """Split and file name, unique: `train/x.jpg`."""
    source: str
    """Its path in the source."""
    path: Path
    """A file that `images.read` takes: the image, or its conversion."""
    type: str
    """One of `images.FORMATS`, or what it was converted from; `other` where it cannot be read."""
    label_source: str | None
    """The path of its label file in the source; None without one."""
    labels: LabelFile | None
    """The content of that file."""

    @property
    def file_name(self) -> str:
        """The name without the split."""
        return self.name.partition("/")[2]
