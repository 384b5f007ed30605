"""From a YOLO data set, in any layout that `dataset/` reads, to what the trainer reads.

    raw -> ready/{train,val,test}/{images,labels}/

Skips what cannot be used and counts it by the slug of the check that reports it; a set that cannot
be read at all ends with a `DataError`.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.boxes import Box
from mien.errors import ImageError, TooLargeError
from mien.reporting import console
from mien.task import SPLITS, DataReport, Example, Request, Split

from . import dataset, yolo
from .dataset import DataSet, LabelledImage
from .dataset.usable import Skip, UsableLabels, empty_split, usable_labels
from .inspection import source
from .label_lines import XcYcWh
from .params import LABELS, MIN_SIDE, Params
from .persons import persons

UNREADABLE = "unreadable"
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Images of other types that cannot be read are counted by type."""


def prepare(raw: Path, ready: Path, params: Params, cache: Path) -> DataReport:
    """Copy every usable image with clipped boxes.

    Raises:
        DataError: see `dataset.read`; also an unknown class, or a split without usable images.
    """
    data = dataset.read(raw, params, cache)
    uses = _FileUses()
    skipped = Counter[str]()
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        reasons: list[Skip] = []
        images = data.images[split]
        counts[split] = _prepare_split(data, split, ready / split, params, uses, reasons)
        skipped.update(each.slug for each in reasons)
        if not sum(counts[split].values()):
            raise empty_split(split, reasons, len(images))
    files = {**uses.counts(), **data.other_files}
    return DataReport(counts, dict(skipped), data.notes, files)


def examples(ready: Path, split: Split) -> Iterator[Example]:
    """Yield the images of a split; the label is that of the largest box, None without a box."""
    paths = sorted((ready / split / "images").iterdir())
    has_persons = persons([path.stem for path in paths]) is not None
    for path in paths:
        request = Request.read(path.read_bytes(), min_side=MIN_SIDE)
        boxes = [
            (LABELS[number], yolo.corners(box, *request.size))
            for number, box in yolo.read_prepared_labels(path, len(LABELS))
        ]
        largest = max(boxes, key=lambda each: _area(each[1]), default=None)
        yield Example(
            request=request,
            label=largest[0] if largest else None,
            boxes=tuple(boxes),
            name=f"{split}/{path.name}",
            metadata={} if has_persons or not (word := source(path.name)) else {"source": word},
        )


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no hard links.

    Raises:
        FileExistsError: the target exists.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


class _FileUses:
    """What became of each image and label file; a file of two splits counts once."""

    def __init__(self) -> None:
        self._images: dict[str, str] = {}
        self._label_files: dict[str, str] = {}

    def add(self, image: LabelledImage, slug: str) -> None:
        """Record the reason why an image is skipped; "" for one that is used."""
        self._images[image.source] = f"images skipped: {slug}" if slug else "images used"
        if image.label_source and self._label_files.get(image.label_source) != "label files used":
            use = "label files of skipped images" if slug else "label files used"
            self._label_files[image.label_source] = use

    def counts(self) -> dict[str, int]:
        return dict(Counter([*self._images.values(), *self._label_files.values()]))


def _prepare_split(
    data: DataSet,
    split: Split,
    target: Path,
    params: Params,
    uses: _FileUses,
    reasons: list[Skip],
) -> dict[str, int]:
    for folder in ("images", "labels"):
        (target / folder).mkdir(parents=True)
    counts = dict.fromkeys(LABELS, 0)
    for image in console.track(data.images[split], f"prepare {split}"):
        usable = _usable(image, data, params)
        reasons += usable.skipped
        uses.add(image, "" if usable.use_image else usable.skipped[-1].slug)
        if usable.use_image:
            _write(image, usable.boxes, target)
            for label, _ in usable.boxes:
                counts[label] += 1
    return counts


def _usable(image: LabelledImage, data: DataSet, params: Params) -> UsableLabels:
    unreadable = _unreadable(image)
    if unreadable is not None:
        return UsableLabels((), (unreadable,), use_image=False)
    return usable_labels(image, data.classes, params.ignore_labels)


def _unreadable(image: LabelledImage) -> Skip | None:
    try:
        Request.read(image.path.read_bytes(), min_side=MIN_SIDE)
    except (ImageError, TooLargeError) as error:
        suffix = image.path.suffix.lower()
        other_type = image.type == "other" and suffix not in PLAIN_SUFFIXES
        slug = f"{UNREADABLE} {suffix}" if other_type else UNREADABLE
        return Skip(slug, str(error).rstrip("."), image.source)
    return None


def _write(image: LabelledImage, boxes: Sequence[tuple[str, XcYcWh]], target: Path) -> None:
    copy = target / "images" / image.file_name
    link(image.path, copy)
    lines = [yolo.format_label(LABELS.index(label), box) for label, box in boxes]
    yolo.label_path(copy).write_text("".join(lines), encoding="utf-8")


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
