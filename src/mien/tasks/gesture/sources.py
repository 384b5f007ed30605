"""Which files of a source contain hands, and their rows: tables, photos or HaGRID's annotations.

Every kind ends as `SourceTable`s with one spelling of each label; nothing below knows the kind. One
kind is read, the one with most information: a table before photos, photos before annotations
(which have no depth), so that no hand comes twice. The others complete it: annotations and a CSV
with the columns image and user give the user of a photo; `splits.csv` with the columns name and
split assigns photos and annotated hands to splits, or to `none`, which excludes them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.errors import DataError
from mien.images.unread_types import unread_notes

from . import class_names, csv_text, hagrid, labels, photos, table, table_labels
from .params import HAGRID_LABELS, NO_GESTURE
from .photos import Photo
from .splits import split_of_file, split_of_folders
from .table import SourceRow, SourceTable

SPLITS_FILE = "splits.csv"
EXCLUDED = "none"
"""The word of `splits.csv` for a hand that is excluded."""
EXCLUDED_HAND = "excluded_by_splits_file"
_MAX_EXAMPLES = 5
_OTHER_TABLES = (".xlsx", ".xls", ".parquet", ".npy", ".npz", ".pkl", ".h5", ".feather", ".txt")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class GestureSource:
    """The files of a source by their content."""

    raw: Path
    tables: tuple[Path, ...] = ()
    photos: tuple[Photo, ...] = ()
    annotations: tuple[Path, ...] = ()
    user_tables: tuple[Path, ...] = ()
    """CSV files with the user of each photo."""
    splits_file: Path | None = None
    unused: tuple[Path, ...] = ()
    """CSV files of another kind."""
    titles: Mapping[Path, str] = field(default_factory=dict)
    """Prefixes of the names of rows, for tables and annotations."""
    ignore: tuple[str, ...] = ()
    """Labels that are valid though no model learns them."""


def find_source(raw: Path, ignore: Sequence[str] = ()) -> GestureSource:
    """Find all files that contain hands.

    Args:
        raw: the folder.
        ignore: labels that are valid though no model learns them.

    Raises:
        DataError: there are none, or a file is not what its name says.
    """
    tables, other_tables = table.find_tables(raw)
    pictures = photos.find_photos(raw, (*HAGRID_LABELS, *ignore, *NO_GESTURE))
    annotations = hagrid.find_annotations(raw)
    if not (tables or pictures or annotations):
        raise DataError(_nothing_usable(other_tables, raw))
    split_files, user_tables = [], []
    name_lists = {class_names.find_class_names(path) for path in tables}
    if not tables:
        split_files = [
            p for p in other_tables if p.name == SPLITS_FILE and _has(p, "name", "split")
        ]
        user_tables = [path for path in other_tables if _has(path, "image", "user")]
    return GestureSource(
        raw,
        tuple(tables),
        tuple(pictures),
        tuple(annotations),
        tuple(user_tables),
        split_files[0] if split_files else None,
        tuple(
            path for path in other_tables if path not in (*user_tables, *split_files, *name_lists)
        ),
        {**_titles(tables, raw), **_titles(annotations, raw)},
        tuple(ignore),
    )


def read_tables(source: GestureSource, cache: Path, detect: bool = True) -> list[SourceTable]:
    """All rows of a source, table by table.

    Args:
        source: the result of `find_source`.
        cache: folder for the hands that were detected in photos.
        detect: whether hands are detected in photos whose label is not ignored.

    Raises:
        DataError: a file cannot be read.
    """
    return labels.unify_spellings(_read_tables(source, cache, detect), source.ignore)


def _read_tables(source: GestureSource, cache: Path, detect: bool) -> list[SourceTable]:
    if source.tables:
        return _with_unique_names(_read_landmark_tables(source))
    if source.photos:
        return [_apply_splits_file(_read_photos(source, cache, detect), source)]
    folder_splits = _folder_splits(source.annotations, source.raw)
    titles = {path: source.titles[path] for path in source.annotations}
    return [_apply_splits_file(hagrid.read_annotations(titles, folder_splits), source)]


def labelled_photos(source: GestureSource) -> list[Photo]:
    """The photos in which hands are detected: those with a label that is not ignored."""
    ignored = {labels.normalize_spelling(label) for label in source.ignore} | {""}
    return [
        photo for photo in source.photos if labels.normalize_spelling(photo.label) not in ignored
    ]


def excluded_counts(source_tables: Sequence[SourceTable]) -> Counter[str]:
    """Hands that `splits.csv` excludes, as a reason for skipped rows."""
    count = sum(each.excluded for each in source_tables)
    return Counter({EXCLUDED_HAND: count} if count else {})


def excluded_names(source: GestureSource) -> list[str]:
    """Names of the hands that `splits.csv` excludes."""
    if source.splits_file is None:
        return []
    splits = _read_column(source.splits_file, "name", "split")
    return [name for name, split in splits.items() if split == EXCLUDED]


def notes(source: GestureSource) -> list[str]:
    """Which files were not read, in sentences."""
    reason = "was not used: it has no columns of 21 landmarks."
    sentences = [f"{path.name} {reason}" for path in source.unused]
    sentences += unread_notes(_files(source.raw), photos.UNREAD_TYPES)
    if source.tables and source.photos:
        sentences.append(
            f"{len(source.photos)} pictures were not used, because there are tables of landmarks: "
            "give photos as a source of their own."
        )
    if source.annotations and (source.tables or source.photos):
        sentences.append(
            f"The landmarks of {len(source.annotations)} files of annotations were not used: they "
            "have no depth, and the other files have one."
        )
    return sentences


def _files(raw: Path) -> list[str]:
    paths = (path for path in sorted(raw.rglob("*")) if path.is_file())
    return [path.relative_to(raw).as_posix() for path in paths]


def _read_landmark_tables(source: GestureSource) -> list[SourceTable]:
    """The tables; a row without a split of its own has that of its file's or folders' name."""
    splits = {path: _split_of_table(path.relative_to(source.raw)) for path in source.tables}
    if len(set(splits.values())) == 1:
        splits = dict.fromkeys(splits, "")
    tables = []
    labels_of = _labels_by_name(source)
    for path, split in splits.items():
        read = table.read_source_table(path, source.titles[path], labels_of.get(path, ""))
        read = class_names.apply_class_names(read, path)
        own = any(row.split for row in read.rows)
        if split and not own:
            read = replace(read, rows=[replace(row, split=split) for row in read.rows])
        elif split:
            note = f"{read.note} Splits are those of its column, not {split!r} of its name."
            read = replace(read, note=note.strip())
        tables.append(read)
    return tables


def _labels_by_name(source: GestureSource) -> Mapping[Path, str]:
    """The label of each table by its name, where no table has a column of labels."""
    if any(map(table.has_labels, source.tables)):
        return {}
    by_name = table_labels.labels_by_name(source.tables, source.raw)
    return by_name if len(set(by_name.values())) > 1 else {}


def _split_of_table(path: Path) -> str:
    return split_of_file(path.stem) or split_of_folders(path.parent.parts)


def _read_photos(source: GestureSource, cache: Path, detect: bool) -> SourceTable:
    labelled = labelled_photos(source) if detect else []
    detected = photos.detect_hands(labelled, cache)
    selected = photos.select_gesture_hands([each.label for each in labelled], detected)
    pairs = zip(detected, selected, strict=True)
    results = dict(zip((photo.name for photo in labelled), pairs, strict=True))
    annotations = hagrid.read_photo_annotations(source.annotations)
    users = _read_users(source)
    photo_splits = _folder_splits([each.path for each in source.photos], source.raw)
    annotation_splits = _folder_splits(source.annotations, source.raw)
    rows = []
    for photo in source.photos:
        annotation = annotations.get(photo.path.stem)
        user = next((users[key] for key in _photo_keys(photo) if key in users), "")
        split = photo_splits[photo.path]
        if annotation:
            user, split = user or annotation.user, split or annotation_splits[annotation.path]
        hands, hand = results.get(photo.name, (photos.NOT_EXAMINED, None))
        rows.append(photos.to_source_row(photo, hands, hand, user, split))
    return SourceTable(
        "the folder of photos",
        rows,
        convention="pixels",
        has_image_sizes=True,
        skip_reasons=(photos.NO_HAND, photos.UNREADABLE),
        note=f"Hands were detected in {len(labelled)} photos, as in serving.",
    )


def _apply_splits_file(source_table: SourceTable, source: GestureSource) -> SourceTable:
    """The rows with the splits of `splits.csv`, without those that it excludes."""
    if source.splits_file is None:
        return source_table
    splits = _read_column(source.splits_file, "name", "split")
    rows = [replace(row, split=splits.get(row.name, "")) for row in source_table.rows]
    included = [row for row in rows if row.split != EXCLUDED]
    note = f"{source_table.note} Splits are those of {SPLITS_FILE}"
    excluded = len(rows) - len(included)
    note += f", which excludes {excluded} hands." if excluded else "."
    return replace(source_table, rows=included, note=note.strip(), excluded=excluded)


def _folder_splits(paths: Sequence[Path], raw: Path) -> dict[Path, str]:
    """The split that the folders of each file name; "" if all name the same one."""
    splits = {path: split_of_folders(path.relative_to(raw).with_suffix("").parts) for path in paths}
    return splits if len(set(splits.values())) > 1 else dict.fromkeys(splits, "")


def _read_users(source: GestureSource) -> dict[str, str]:
    users: dict[str, str] = {}
    for path in source.user_tables:
        users |= _read_column(path, "image", "user")
    return users


def _photo_keys(photo: Photo) -> tuple[str, ...]:
    """The names by which a list of photos may refer to it."""
    name = f"{photo.label}/{photo.path.name}"
    return photo.name, name, photo.path.name, photo.path.stem


def _read_column(path: Path, key: str, value: str) -> dict[str, str]:
    """Two columns of a CSV file as a mapping."""
    header = csv_text.read_header(path)
    key_position, value_position = header.index(key), header.index(value)
    return {
        cells[key_position].strip(): cells[value_position].strip()
        for _, cells in csv_text.read_records(path)
        if len(cells) > max(key_position, value_position)
    }


def _has(path: Path, *columns: str) -> bool:
    return set(columns) <= set(csv_text.read_header(path))


def _titles(paths: Sequence[Path], raw: Path) -> dict[Path, str]:
    """A file's name, with its folders if another file has the same."""
    counts = Counter(path.name for path in paths)
    return {
        path: path.name if counts[path.name] == 1 else path.relative_to(raw).as_posix()
        for path in paths
    }


def _with_unique_names(tables: Sequence[SourceTable]) -> list[SourceTable]:
    """The tables with unique row names; tables may bring names of their own."""
    counts: Counter[str] = Counter()

    def unique(row: SourceRow) -> SourceRow:
        counts[row.name] += 1
        number = counts[row.name]
        return row if number == 1 else replace(row, name=f"{row.name}#{number}")

    return [replace(each, rows=[unique(row) for row in each.rows]) for each in tables]


def _nothing_usable(other_tables: Sequence[Path], raw: Path) -> str:
    files = _files(raw)
    names = ", ".join([path.name for path in other_tables] or files[:_MAX_EXAMPLES])
    archives = [name for name in files if name.lower().endswith(_ARCHIVES)]
    hints = list(unread_notes(files))
    if archives:
        hints.append(f"Archives in the source are not opened: unpack {archives[0]} first.")
    exports = [name for name in files if name.lower().endswith(_OTHER_TABLES)]
    if exports and not other_tables:
        hints.append(f"Tables are read as .csv or .tsv: export {exports[0]} so.")
    message = (
        "the source: expected a table with the columns x1, y1, z1 .. x21, y21, z21 and label (or "
        "others that the page on formats lists), or photos as <label>/<file>, or HaGRID's "
        f"annotation JSON; found {names}. Give such a file or folder."
    )
    return " ".join([message, *hints])
