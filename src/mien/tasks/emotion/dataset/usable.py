"""Which boxes of an image a training can use, and why an image is skipped."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mien.config import list_override
from mien.errors import DataError, nearest

from .. import label_lines, yolo
from ..label_lines import LabelledBox, XcYcWh
from ..params import LABELS
from .class_names import ClassNames, unknown
from .images import LabelledImage

MISSING_LABEL_FILE = "missing_label_file"
IGNORED_LABEL = "ignored_label"
_MAX_REASONS = 3
_NUMBERS = re.compile(r"[\d.]+")


@dataclass(frozen=True)
class Skip:
    """Why an image or a box is left out."""

    slug: str
    reason: str
    location: str
    """A file of the source, with the line where there is one."""


@dataclass(frozen=True)
class UsableLabels:
    """What a training reads of an image's labels."""

    boxes: tuple[tuple[str, XcYcWh], ...]
    skipped: tuple[Skip, ...]
    """Boxes that are left out, or the one reason why the image is."""
    use_image: bool


def usable_labels(
    image: LabelledImage, classes: ClassNames, ignored: Sequence[str] = ()
) -> UsableLabels:
    """The clipped boxes of an image with their labels.

    Raises:
        DataError: a class number that the set does not name, or the task does not know.
    """
    if image.labels is None or image.label_source is None:
        skip = Skip(MISSING_LABEL_FILE, "expected a label file, found none", image.source)
        return UsableLabels((), (skip,), use_image=False)
    boxes: list[tuple[str, XcYcWh]] = []
    skipped: list[Skip] = []
    for each in image.labels.boxes:
        location = f"{image.label_source}:{each.line}"
        label = _label(each, classes, location, ignored)
        clipped = yolo.clip_box(each.box, lambda _: None)
        if label is None:
            skipped.append(Skip(IGNORED_LABEL, "its class is in params.ignore_labels", location))
        elif clipped is None:
            reason = "expected a box with an area, found none inside the image"
            skipped.append(Skip(yolo.DEGENERATE_BOX, reason, location))
        else:
            boxes.append((label, clipped))
    malformed = image.labels.malformed
    if malformed:
        location = f"{image.label_source}:{malformed.line}"
        skipped.append(Skip(label_lines.MALFORMED_LABEL, malformed.reason, location))
        return UsableLabels((), tuple(skipped), use_image=False)
    # A face with a lost box is still a face: such an image must not pass for an empty one.
    return UsableLabels(tuple(boxes), tuple(skipped), bool(boxes) or image.labels.empty)


def require_labels(
    split: str,
    images: Sequence[LabelledImage],
    classes: ClassNames,
    ignored: Sequence[str] = (),
) -> None:
    """Refuse a split of which no image has a labelled face.

    A class that the task does not know is a label here: a check reports it.

    Raises:
        DataError: see `empty_split`.
    """
    skipped: list[Skip] = []
    for image in images:
        try:
            usable = usable_labels(image, classes, ignored)
        except DataError:
            return
        if usable.boxes:
            return
        skipped += usable.skipped
        if usable.use_image:
            reason = "expected a face, found an empty label file"
            skipped.append(Skip(label_lines.EMPTY_LABEL_FILE, reason, str(image.label_source)))
    raise empty_split(split, skipped, len(images))


def empty_split(split: str, skipped: Iterable[Skip], count: int) -> DataError:
    """The error for a split without a usable image: the top three reasons, each with an example."""
    groups: dict[tuple[str, str], list[Skip]] = {}
    for each in skipped:
        groups.setdefault((each.slug, _NUMBERS.sub("", each.reason)), []).append(each)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))[:_MAX_REASONS]
    reasons = "; ".join(
        f"{len(group):,} {slug} ({group[0].location}: {group[0].reason})"
        for (slug, _), group in ranked
    )
    return DataError(
        f"{split}: expected images with a usable label, found none among {count:,}"
        f"{f'. Skipped: {reasons}' if reasons else ''}. Correct these files and fetch them again"
        f"{', or remove the split: it is then drawn from train' if split != 'train' else ''}."
    )


def require_ignored(
    ignored: Sequence[str], classes: ClassNames, images: Iterable[LabelledImage]
) -> None:
    """Refuse a class that the user ignores and that neither the set nor the task has.

    Raises:
        DataError: naming the nearest class.
    """
    names = [*classes.written, *(classes.name(each) for each in range(len(classes.written)))]
    absent = [each for each in ignored if each not in (*names, *LABELS)]
    numbers = {
        str(box.number)
        for image in (images if absent else ())
        if image.labels
        for box in image.labels.boxes
        if not 0 <= box.number < len(classes.written)
    }
    for label in absent:
        if label not in numbers:
            raise DataError(
                f"params.ignore_labels: no box has the label {label!r}."
                f"{nearest(label, (*names, *LABELS))} Correct it, or take it from the setting."
            )


def ignore_setting(names: Iterable[str]) -> str:
    """The setting that leaves out the boxes of these classes."""
    return list_override("params.ignore_labels", sorted(set(names)))


def is_ignored(number: int, classes: ClassNames, ignored: Sequence[str]) -> bool:
    """Whether the user leaves out a class: by its name, its label, or a number without a name."""
    if 0 <= number < len(classes.written):
        return classes.written[number] in ignored or classes.name(number) in ignored
    return str(number) in ignored


def _label(
    labelled: LabelledBox, classes: ClassNames, location: str, ignored: Sequence[str]
) -> str | None:
    """The label of a box; None where it is ignored."""
    number, count = labelled.number, len(classes.written)
    if is_ignored(number, classes, ignored):
        return None
    if not 0 <= number < count:
        raise DataError(
            f"{location}: expected classes 0 to {count - 1}, as in {classes.origin}, found "
            f"{number}. Correct the label file or {classes.origin}, or leave these boxes out: "
            f"--set {shlex.quote(ignore_setting([*ignored, str(number)]))}."
        )
    label = classes.labels[number]
    if label is None:
        name = classes.written[number]
        raise DataError(
            f"{location}: {unknown(name, classes.origin)} Rename it, or leave its boxes out: "
            f"--set {shlex.quote(ignore_setting([*ignored, name]))}."
        )
    return label
