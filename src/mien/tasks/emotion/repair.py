"""Write a YOLO data set anew, mended: some pictures left out or moved, boxes made those of faces.

    raw, in any form that `yolo.py` finds
    -> out/{train,valid,test}/{images,labels}/ + data.yaml + legends

Knows what to do with a box and nothing of how a face is found (`faces.py`) or why a picture is
left out (the plan). Pictures keep their bytes. Files that are neither pictures, label files,
data.yaml nor legends are not taken along.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from mien import boxes, images
from mien.errors import ImageError, TooLargeError
from mien.mediapipe.face_detector import PADDING_SCALES, FaceDetector
from mien.reporting import console
from mien.storage.cache_keys import TASK_SOURCES, source_hash
from mien.task import SPLITS, RepairPlan, Split

from . import label_csv, yolo
from .data import link
from .params import LABELS, MIN_SIDE, Params
from .yolo import Shares

THREADS = 2
SAME = 0.5
"""A face that overlaps a box by more, as intersection over union, is the face of that box."""
_FOLDER: Mapping[Split, str] = {"train": "train", "val": "valid", "test": "test"}
_NAMED = 5


@dataclass(frozen=True)
class _Item:
    """A picture that stays."""

    name: str
    path: Path
    text: str | None
    """Of its label file; None where it has none."""
    split: Split
    """Where it goes."""
    moved: bool

    @property
    def marks_no_face(self) -> bool:
        return any(bad for _, _, bad in _rows(self.text or ""))


@dataclass
class _Done:
    """What became of boxes that mark no face."""

    boxes: int = 0
    replaced: int = 0
    without: list[str] = field(default_factory=list)
    """Pictures in which too few faces were found."""


def repair(raw: Path, out: Path, plan: RepairPlan, params: Params, cache: Path) -> tuple[str, ...]:
    """Write the set anew as the plan has it; with `plan.repair`, mend boxes and spellings too.

    A box that is the whole picture or has no area becomes that of the face found there. Faces are
    kept in `cache` by content, so that an interrupted mending goes on where it stopped.

    Returns:
        What was repaired, in sentences.

    Raises:
        DataError: no split folders, or a data.yaml that cannot be read.
    """
    root = yolo.find(raw)
    written = yolo.written_names(root)
    items = list(_items(root, plan))
    faces: Mapping[str, list[Shares]] = {}
    if plan.repair:
        faces = _faces([each for each in items if each.marks_no_face], cache)
    done = _write(items, faces, out)
    names = [yolo.plain(name) if plan.repair else name for name in written or LABELS]
    (out / "data.yaml").write_text(yolo.data_yaml(names), encoding="utf-8")
    changed = [name for name in written or () if name not in names]
    return (*_told(done), *_spelt(changed), *_legends(raw, out, plan.repair))


def _items(root: Path, plan: RepairPlan) -> Iterator[_Item]:
    for split in SPLITS:
        folder = yolo.split_folder(root, split)
        files = set(yolo.label_files(folder))
        for picture in yolo.pictures(folder):
            name, file = f"{split}/{picture}", f"{yolo.stem(picture)}.txt"
            if name in plan.drop:
                continue
            text = (
                (folder / "labels" / file).read_text("utf-8", "replace") if file in files else None
            )
            target = plan.move.get(name, split)
            yield _Item(name, folder / "images" / picture, text, target, target != split)


def _rows(text: str) -> list[tuple[int, Shares, bool]]:
    """Class, box and whether it marks no face, of each line; none where a line means nothing."""
    told: list[str] = []
    rows = []
    for number, box in yolo.lines(text, told.append):
        faults: list[str] = []
        yolo.cut(box, faults.append)
        rows.append((number, box, bool({yolo.DEGENERATE, yolo.WHOLE_PICTURE} & set(faults))))
    return [] if yolo.SENSELESS in told else rows


def _write(items: Sequence[_Item], faces: Mapping[str, list[Shares]], out: Path) -> _Done:
    taken: dict[Split, set[str]] = {}
    for split, folder in _FOLDER.items():
        taken[split] = set()
        for kind in ("images", "labels"):
            (out / folder / kind).mkdir(parents=True)
    done = _Done()
    for item in sorted(items, key=lambda each: each.moved):  # who stays keeps the name
        stem = _free(item.path.stem, taken[item.split])
        target = out / _FOLDER[item.split]
        link(item.path, target / "images" / f"{stem}{item.path.suffix}")
        if item.text is not None:
            text = item.text
            if item.name in faces:
                text = _mended(item, faces[item.name], done)
            (target / "labels" / f"{stem}.txt").write_text(text, encoding="utf-8")
    return done


def _free(stem: str, taken: set[str]) -> str:
    """The name itself, or with a number behind it where a picture of the split has it already."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _mended(item: _Item, faces: Sequence[Shares], done: _Done) -> str:
    """The lines of a label file in which the faces take the place of boxes that mark none."""
    rows = _rows(item.text or "")
    good = np.array([_corners(box) for _, box, bad in rows if not bad]).reshape(-1, 4)
    free = [face for face in faces if not (boxes.iou(_corners(face), good) > SAME).any()]
    lines = []
    for number, box, bad in rows:
        done.boxes += bad
        if bad and free:
            box = free.pop(0)
            done.replaced += 1
        elif bad and item.name not in done.without:
            done.without.append(item.name)
        lines.append(yolo.line(number, box))
    return "".join(lines)


def _corners(box: Shares) -> NDArray[np.float32]:
    return boxes.xcycwh_to_xyxy(np.array(box, np.float64)).astype(np.float32)


def _faces(items: Sequence[_Item], cache: Path) -> dict[str, list[Shares]]:
    """The faces of each picture by its name, the largest and surest first."""
    if not items:
        return {}
    cache.mkdir(parents=True, exist_ok=True)
    made_by = source_hash(*TASK_SOURCES)
    kept = cache / f"faces-{made_by[:12]}.jsonl"
    known = _read(kept)
    own = threading.local()

    def find(item: _Item) -> tuple[str, list[Shares] | None, str]:
        content = item.path.read_bytes()
        digest = sha256(content).hexdigest()
        if digest in known:
            return item.name, None, digest
        if not hasattr(own, "finder"):
            own.finder = FaceDetector()
        return item.name, _found(content, own.finder), digest

    faces = {}
    with (
        ThreadPoolExecutor(THREADS) as pool,
        _appending(kept) as stream,
        console.bar("find faces") as advance,
    ):
        for place, (name, fresh, digest) in enumerate(pool.map(find, items)):
            if fresh is not None:
                known[digest] = fresh
                stream.write(json.dumps([digest, fresh]) + "\n")
                stream.flush()
            faces[name] = known[digest]
            advance(place + 1, len(items))
    return faces


def _appending(kept: Path) -> TextIO:
    """Open a list to write on; a line that was left half-written is ended first."""
    stream = kept.open("a", encoding="utf-8")
    if stream.tell() and not kept.read_bytes().endswith(b"\n"):
        stream.write("\n")
    return stream


def _found(content: bytes, finder: FaceDetector) -> list[Shares]:
    """The faces of a picture, cut at its border; none where it cannot be read."""
    try:
        pixels = images.read(content, min_side=MIN_SIDE).pixels
    except (ImageError, TooLargeError):
        return []
    height, width = pixels.shape[:2]
    sized = []
    for face in finder.detect(pixels, PADDING_SCALES):
        x1, y1, x2, y2 = face.head_box
        box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        inside = yolo.cut(box, lambda _: None)
        if inside:
            sized.append((inside[2] * inside[3] * face.score, inside))
    return [box for _, box in sorted(sized, reverse=True)]


def _read(kept: Path) -> dict[str, list[Shares]]:
    """Faces that were found before; the last line may be half-written."""
    known: dict[str, list[Shares]] = {}
    if not kept.is_file():
        return known
    for line in kept.read_text(encoding="utf-8").splitlines():
        try:
            digest, faces = json.loads(line)
            known[digest] = [(cx, cy, w, h) for cx, cy, w, h in faces]
        except (ValueError, TypeError):
            continue
    return known


def _told(done: _Done) -> Iterator[str]:
    if done.replaced:
        text = f"{done.replaced:,} of {done.boxes:,} boxes replaced by faces that were found"
        if done.without:
            named = ", ".join(done.without[:_NAMED])
            more = ", ..." if len(done.without) > _NAMED else ""
            text += f"; pictures without a face kept theirs: {len(done.without):,} ({named}{more})"
        yield text


def _spelt(changed: Sequence[str]) -> Iterator[str]:
    if changed:
        named = ", ".join(map(repr, changed))
        yield f"{len(changed)} class names written as the task writes them ({named})"


def _legends(raw: Path, out: Path, repair: bool) -> Iterator[str]:
    for path in label_csv.find(raw):
        target = out / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not repair:
            link(path, target)
        elif changed := label_csv.repair(path, target):
            yield f"{path.name}: {changed:,} labels written in small letters"
