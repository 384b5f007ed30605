"""Why a source cannot be read as a data set: what it holds, and what to do with it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mien.images.unread_types import unread_notes

from ..label_lines import decode_text
from ..params import LABELS
from . import file_tree
from .class_names import label_of
from .file_tree import FileTree

EXPECTED = (
    "expected a YOLO data set: images, and a label file with lines `class cx cy w h` for each, "
    "in train/, valid/ (or val/) and test/ or as data.yaml names them"
)
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_TABLES = (".csv", ".tsv", ".lst", ".xlsx", ".parquet", ".mat", ".npy", ".npz", ".pkl", ".h5")
_MAX_NAMES = 5
_MIN_CLASS_FOLDERS = 2
_JSON_START = 4096


def no_images(tree: FileTree) -> str:
    """The message for a source without images."""
    names = sorted({path.partition("/")[0] for path in tree.files}) or ["nothing"]
    return f"The source holds {', '.join(names[:_MAX_NAMES])}; {EXPECTED}.{_hints(tree)}"


def no_train(counts: Sequence[tuple[str, int]]) -> str:
    """The message for a set whose images are all for measuring."""
    listing = " and ".join(f"{count:,} images of {split}" for split, count in counts)
    return (
        f"The source has {listing}, and none to train on; {EXPECTED}. Name the folder of the "
        "training images under `train:` in data.yaml."
    )


def no_labels(tree: FileTree, count: int) -> str:
    """The message for images of which none has a label file."""
    return (
        f"The source holds {count:,} images ({tree.images[0]}, ...) and no label file of any; "
        f"{EXPECTED}.{_hints(tree)}"
    )


def _hints(tree: FileTree) -> str:
    return "".join(f" {hint}" for hint in _other_formats(tree))


def _other_formats(tree: FileTree) -> Iterator[str]:
    """What is known about formats that are not read."""
    suffixes = Counter(map(file_tree.suffix, tree.files))
    if suffixes[".txt"] and not tree.images:
        yield (
            f"There are {suffixes['.txt']:,} text files and no image: export the set with its "
            "images (`Save images` in CVAT, `YOLO with Images` in Label Studio)."
        )
    json_files = [path for path in tree.files if path.lower().endswith(".json")]
    if any("coco" in path.lower() or _is_coco(tree, path) for path in json_files):
        yield "COCO annotations are not read: export the set as YOLO."
    if suffixes[".xml"]:
        yield "XML annotations (Pascal VOC, CVAT) are not read: export the set as YOLO."
    if suffixes[".tfrecord"]:
        yield "TFRecord files are not read: export the set as YOLO."
    folders = {part for path in tree.files for part in path.split("/")[:-1]}
    if len({label_of(each) for each in folders} & set(LABELS)) >= _MIN_CLASS_FOLDERS:
        yield (
            "Folders named by class hold no boxes of faces: mark the faces and export the set as "
            "YOLO."
        )
    tables = [path for path in tree.files if file_tree.suffix(path) in _TABLES]
    if tables:
        yield (
            f"Tables of labels or pixels ({tables[0]}) are not read: write an image and a label "
            "file for each face; of a picture that is one face the line is `class 0.5 0.5 1 1`."
        )
    yield from unread_notes(tree.files)
    archives = [path for path in tree.files if file_tree.suffix(path) in _ARCHIVES]
    if archives:
        yield f"Archives in the source are not opened: unpack {archives[0]} first."


def _is_coco(tree: FileTree, path: str) -> bool:
    with tree.path(path).open("rb") as stream:
        start = decode_text(stream.read(_JSON_START))
    return '"annotations"' in start or '"images"' in start
