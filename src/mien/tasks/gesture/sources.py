"""Which files of a source hold hands, and their rows: tables, or photos, or HaGRID's annotations.

One kind is read, the one that tells most: a table before photos, photos before annotations (which
have no depth), so that no hand comes twice. The others help where they can: annotations and a CSV
with the columns image and user say whose hand a photo shows; `splits.csv` with the columns name and
split says where photos and annotated hands belong, or `none` for those that are left out.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mien.errors import DataError

from . import hagrid, photos, splits, table
from .params import LABELS
from .photos import Photo
from .table import Part, Row

SPLITS = "splits.csv"
NONE = "none"
"""The word of `splits.csv` for a hand that is left out."""
_NAMED = 5


@dataclass(frozen=True)
class Source:
    """The files of a source by what they hold."""

    raw: Path
    tables: tuple[Path, ...] = ()
    photos: tuple[Photo, ...] = ()
    annotations: tuple[Path, ...] = ()
    people: tuple[Path, ...] = ()
    """CSV files that say who is in which photo."""
    splits: Path | None = None
    others: tuple[Path, ...] = ()
    """CSV files of another kind."""
    titles: Mapping[Path, str] = field(default_factory=dict)
    """What the rows of tables and annotations are named by."""


def find(raw: Path, ignore: Iterable[str] = ()) -> Source:
    """Look for all that holds hands.

    Args:
        raw: the folder.
        ignore: labels that are known though no model learns them.

    Raises:
        DataError: there is none, or a file is not what its name says.
    """
    tables, rest = table.find(raw)
    pictures = photos.find(raw, (*LABELS, *ignore, "no_gesture"))
    annotations = hagrid.find(raw)
    if not (tables or pictures or annotations):
        raise DataError(_nothing(rest))
    wishes = [path for path in rest if path.name == SPLITS and _has(path, "name", "split")]
    people = [path for path in rest if not tables and _has(path, "image", "user")]
    return Source(
        raw,
        tuple(tables),
        tuple(pictures),
        tuple(annotations),
        tuple(people),
        wishes[0] if wishes and not tables else None,
        tuple(path for path in rest if path not in (*people, *(() if tables else wishes))),
        {**_titles(tables, raw), **_titles(annotations, raw)},
    )


def parts(source: Source, cache: Path, wanted: Callable[[str], bool]) -> list[Part]:
    """All rows of a source, table by table.

    Args:
        source: what `find` found.
        cache: where it is kept what photos show.
        wanted: whether photos of a label are to be looked at.

    Raises:
        DataError: a file cannot be understood.
    """
    if source.tables:
        read = [table.part(path, source.titles[path]) for path in source.tables]
        return _distinct(read)
    if source.photos:
        return [_divided(_photos(source, cache, wanted), source)]
    words = _words(source.annotations, source.raw)
    titles = {path: source.titles[path] for path in source.annotations}
    return [_divided(hagrid.part(titles, words), source)]


def left_out(source: Source) -> list[str]:
    """Names of the hands that `splits.csv` leaves out."""
    if source.splits is None:
        return []
    wish = _column(source.splits, "name", "split")
    return [name for name, word in wish.items() if word == NONE]


def notes(source: Source) -> list[str]:
    """What was not read, in sentences."""
    told = [f"{path.name} was passed over: it has no landmark columns." for path in source.others]
    if source.tables and source.photos:
        told.append(
            f"{len(source.photos)} pictures were passed over, because there are tables of "
            "landmarks: give photos as a source of their own."
        )
    if source.annotations and (source.tables or source.photos):
        told.append(
            f"The landmarks of {len(source.annotations)} files of annotations were passed over: "
            "they have no depth, and there is something better."
        )
    return told


def _photos(source: Source, cache: Path, wanted: Callable[[str], bool]) -> Part:
    looked = [photo for photo in source.photos if wanted(photo.label)]
    seen = dict(zip((each.name for each in looked), photos.look(looked, cache), strict=True))
    hands = photos.chosen([each.label for each in looked], list(seen.values()))
    hand = dict(zip(seen, hands, strict=True))
    said = hagrid.pictures(source.annotations)
    users = _users(source)
    words = _words([each.path for each in source.photos], source.raw)
    told = _words(source.annotations, source.raw)
    rows = []
    for photo in source.photos:
        annotated = said.get(photo.path.stem)
        user = next((users[key] for key in _keys(photo) if key in users), "")
        split = words[photo.path] or (told[annotated.path] if annotated else "")
        user = user or (annotated.user if annotated else "")
        found = seen.get(photo.name, photos.UNSEEN)
        rows.append(photos.row(photo, found, hand.get(photo.name), user, split))
    return Part(
        "the folder of photos",
        rows,
        convention="pixels",
        sized=True,
        reasons=(photos.NO_HAND, photos.UNREADABLE),
        note=f"The hand landmarker looked for hands in {len(looked)} photos, as in serving.",
    )


def _divided(part: Part, source: Source) -> Part:
    """The rows with the splits that `splits.csv` asks for, without those that it leaves out."""
    if source.splits is None:
        return part
    wish = _column(source.splits, "name", "split")
    rows = [replace(row, split=wish.get(row.name, "")) for row in part.rows]
    kept = [row for row in rows if row.split != NONE]
    note = f"{part.note} {SPLITS} says their splits"
    note += f" and leaves {len(rows) - len(kept)} out." if len(kept) < len(rows) else "."
    return replace(part, rows=kept, note=note.strip())


def _words(paths: Sequence[Path], raw: Path) -> dict[Path, str]:
    """The split that a file's place asks for; none where all are asked into the same one."""
    places = {path: path.relative_to(raw).with_suffix("").parts for path in paths}
    words = {path: splits.of_folders(names) for path, names in places.items()}
    return words if len(set(words.values())) > 1 else dict.fromkeys(words, "")


def _users(source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in source.people:
        found |= _column(path, "image", "user")
    return found


def _keys(photo: Photo) -> tuple[str, ...]:
    """What a list of photos may call it."""
    name = f"{photo.label}/{photo.path.name}"
    return photo.name, name, photo.path.name, photo.path.stem


def _column(path: Path, key: str, value: str) -> dict[str, str]:
    header = table.columns(path)
    at, to = header.index(key), header.index(value)
    return {
        cells[at].strip(): cells[to].strip()
        for _, cells in table.records(path)
        if len(cells) > max(at, to)
    }


def _has(path: Path, *names: str) -> bool:
    return set(names) <= set(table.columns(path))


def _titles(paths: Sequence[Path], raw: Path) -> dict[Path, str]:
    """A file's name, and its folders where another file has the same."""
    often = Counter(path.name for path in paths)
    return {
        path: path.name if often[path.name] == 1 else path.relative_to(raw).as_posix()
        for path in paths
    }


def _distinct(read: Sequence[Part]) -> list[Part]:
    """The parts with names that stand once; tables may bring names of their own."""
    taken: Counter[str] = Counter()

    def once(row: Row) -> Row:
        taken[row.name] += 1
        return row if taken[row.name] == 1 else replace(row, name=f"{row.name}#{taken[row.name]}")

    return [replace(part, rows=[once(row) for row in part.rows]) for part in read]


def _nothing(rest: Sequence[Path]) -> str:
    found = ", ".join(path.name for path in rest[:_NAMED]) or "no CSV file"
    return (
        "the source holds no table of landmarks: expected a CSV file with the columns x1, y1, "
        f"z1 .. x21, y21, z21 and label; found {found}. Photos as <label>/<file> and HaGRID's "
        "annotation JSON are taken too."
    )
