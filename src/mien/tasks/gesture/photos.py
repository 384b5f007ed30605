"""Photos in folders named by their label, as rows: the task's own networks find the hands.

    <label>/<file> -> 21 points in pixels of the photo, as a server would find them

What was found in a photo is kept in a file of the cache, a line for each, by the photo's content;
another network, another state of the code that finds hands, or another decoder begins another file.
A line carries its checksum: one that was cut off is looked for again, and nothing else is lost.
"""

import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, RequestError, TrainingError
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.weights import HandLandmarkerFile
from mien.model.runtime import available_cpus
from mien.reporting import console
from mien.storage.cache_keys import TASK_SOURCES, source_hash
from mien.task import Request

from . import landmarks
from .predict import MIN_SIDE
from .table import Row

NO_HAND = "no_hand_detected"
UNREADABLE = "unreadable"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_OTHERS = {".avif", ".bmp", ".gif", ".heic", ".heif", ".tif", ".tiff"}
"""Pictures that mien does not read, to be told of instead of passed over."""
_DECODERS = ("ai-edge-litert", "pillow")
_AHEAD = 16
"""Photos for each thread that are asked for at once; an interrupt waits for no more."""
_ALIKE = 3
"""Photos with one hand by which a label's hands are known."""


@dataclass(frozen=True)
class Photo:
    """A picture of a source that is to show a gesture."""

    path: Path
    name: str
    """Unique in the source: `<label>/<file>`, and the folders above where they differ."""
    label: str
    """Its folder's name; "" for a photo in no folder."""


@dataclass(frozen=True)
class Seen:
    """What the networks found in a photo."""

    size: tuple[int, int]
    """Width and height of the upright photo."""
    hands: tuple[Hand, ...]
    """In pixels of the whole photo."""


UNSEEN = Seen((0, 0), ())
"""For a photo that nobody looked at, because its label is not wanted."""


def find(raw: Path, known: Iterable[str]) -> list[Photo]:
    """All pictures below a folder, in order of their paths.

    A photo's label is the nearest folder around it that is named by a known label, or else the
    folder that it lies in.
    """
    labels = set(known)
    every = _SUFFIXES | _OTHERS
    paths = [path for path in sorted(raw.rglob("*")) if path.suffix.lower() in every]
    found = [(path, *_place(path.relative_to(raw), labels)) for path in paths if path.is_file()]
    shared = _shared([above for _, above, _ in found])
    return [
        Photo(path, "/".join(path.relative_to(raw).parts[shared:]), label)
        for path, _, label in found
    ]


def look(photos: Sequence[Photo], cache: Path) -> list[Seen | str]:
    """What each photo shows, or in words why it cannot be read; from the cache where it is known.

    All cores that this process may use look, each with networks of its own.

    Raises:
        DataError: the networks are not there and cannot be fetched.
    """
    if not photos:
        return []
    found: list[Seen | str] = []
    threads = min(available_cpus(), len(photos))
    with (
        _watch(cache) as watch,
        console.bar("find hands") as advance,
        ThreadPoolExecutor(threads, thread_name_prefix="mien-photos") as pool,
    ):
        step = threads * _AHEAD
        for start in range(0, len(photos), step):
            for each in pool.map(watch.see, (one.path for one in photos[start : start + step])):
                found.append(each)
                advance(len(found), len(photos))
    return found


def row(photo: Photo, seen: Seen | str, hand: Hand | None, user: str, split: str) -> Row:
    """The row of a photo that was looked at, and of the hand in it that shows the gesture."""
    facts: dict[str, str | float] = {"type": photo.path.suffix.lower().removeprefix(".")}
    size = (float("nan"), float("nan"))
    if isinstance(seen, Seen) and seen is not UNSEEN:
        size = seen.size
        facts["picture"] = f"{size[0]}x{size[1]}"
    if hand is not None:
        facts["handedness"] = hand.handedness
    fault = UNREADABLE if isinstance(seen, str) else "" if hand else NO_HAND
    return Row(
        photo.name,
        photo.label,
        hand.landmarks if hand else None,
        user,
        split,
        size,
        facts,
        photo.path,
        fault,
    )


def chosen(labels: Sequence[str], seen: Sequence[Seen | str]) -> list[Hand | None]:
    """The hand of each photo that shows its label's gesture; None where there is no hand.

    Of several hands one usually rests. It is the one most like the single hands of other photos
    with that label, left or right; the larger one, where there are too few such photos.
    """
    alone: dict[str, list[NDArray[np.float32]]] = {}
    for label, each in zip(labels, seen, strict=True):
        if isinstance(each, Seen) and len(each.hands) == 1:
            alone.setdefault(label, []).append(_features(each.hands[0]))
    return [
        _showing(each.hands, alone.get(label, ())) if isinstance(each, Seen) else None
        for label, each in zip(labels, seen, strict=True)
    ]


def _place(path: Path, labels: set[str]) -> tuple[tuple[str, ...], str]:
    """The folders above the one that names the label, and that one's name."""
    folders = path.parts[:-1]
    named = [place for place, name in enumerate(folders) if name in labels]
    place = named[-1] if named else len(folders) - 1
    return folders[: max(place, 0)], folders[place] if folders else ""


def _shared(above: Sequence[tuple[str, ...]]) -> int:
    """How many folders all photos have in common above their labels' folders."""
    count = 0
    for names in zip(*above, strict=False):
        if len(set(names)) > 1:
            break
        count += 1
    return count


def _showing(hands: Sequence[Hand], alike: Sequence[NDArray[np.float32]]) -> Hand | None:
    if len(hands) < 2:
        return hands[0] if hands else None
    if len(alike) < _ALIKE:
        return max(hands, key=lambda hand: float(np.ptp(hand.landmarks[:, :2], axis=0).prod()))
    known = np.stack(alike)
    return min(hands, key=lambda hand: _unlike(_features(hand), known))


def _unlike(features: NDArray[np.float32], known: NDArray[np.float32]) -> float:
    """Distance to the nearest of some hands, mirrored where that is nearer."""
    mirrored = features.copy()
    mirrored[0::3] *= -1
    return float(min(np.linalg.norm(known - each, axis=1).min() for each in (features, mirrored)))


def _features(hand: Hand) -> NDArray[np.float32]:
    features: NDArray[np.float32] = landmarks.normalise(hand.landmarks[None])[0]
    return features


@dataclass
class _Watch:
    """The networks, opened by each thread for itself, and what is known of photos by content."""

    contents: HandLandmarkerFile
    path: Path
    known: dict[str, Seen]
    opened: list[HandLandmarker] = field(default_factory=list)
    local: threading.local = field(default_factory=threading.local)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def see(self, path: Path) -> Seen | str:
        data = path.read_bytes()
        content = sha256(data).hexdigest()
        if content not in self.known:
            try:
                seen = _seen(data, self._landmarker())
            except RequestError as error:
                return str(error)
            self._keep(content, seen)
        return self.known[content]

    def _landmarker(self) -> HandLandmarker:
        found: HandLandmarker | None = getattr(self.local, "landmarker", None)
        if found is None:
            found = self.local.landmarker = HandLandmarker(self.contents)
            with self.lock:
                self.opened.append(found)
        return found

    def _keep(self, content: str, seen: Seen) -> None:
        with self.lock:
            self.known[content] = seen
            # One write to the end of the file: other processes may do the same.
            with self.path.open("ab", buffering=0) as stream:
                stream.write(_line(content, seen))


@contextmanager
def _watch(cache: Path) -> Iterator[_Watch]:
    contents, key = _networks()
    path = cache / "hands" / f"{key}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    watch = _Watch(contents, path, _known(path))
    try:
        yield watch
    finally:
        for each in watch.opened:
            each.close()


def _networks() -> tuple[HandLandmarkerFile, str]:
    """The networks, and a name for all that decides what they find."""
    with TemporaryDirectory(prefix="mien-photos-") as folder:
        path = Path(folder) / "hand_landmarker.task"
        try:
            weights.write_hand_landmarker(path)
        except TrainingError as error:
            raise DataError(
                f"Photos need the hand landmarker: {error} Or give a table of landmarks instead "
                "of photos."
            ) from error
        state = sha256(path.read_bytes())
        contents = weights.read_hand_landmarker(path)
    state.update(
        source_hash(*TASK_SOURCES, f"tasks/{Path(__file__).parent.name}/photos.py").encode()
    )
    state.update(" ".join(map(version, _DECODERS)).encode())
    return contents, state.hexdigest()[:16]


def _seen(data: bytes, landmarker: HandLandmarker) -> Seen:
    request = Request.read(data, min_side=MIN_SIDE)
    assert request.image is not None
    across, down = request.scale
    hands = (
        Hand(each.landmarks * (across, down, across), each.handedness, each.score)
        for each in landmarker.detect(request.image)
    )
    kept = tuple(hand for hand in hands if landmarks.measurable(hand.landmarks[None])[0])
    return Seen(request.size, kept)


def _line(content: str, seen: Seen) -> bytes:
    hands = [[hand.landmarks.ravel().tolist(), hand.handedness, hand.score] for hand in seen.hands]
    text = json.dumps([content, seen.size, hands]).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _known(path: Path) -> dict[str, Seen]:
    """What the file holds that is whole; it ends with a whole line afterwards."""
    known: dict[str, Seen] = {}
    if not path.is_file():
        return known
    line = b"\n"
    with path.open("rb") as stream:
        for line in stream:
            check, _, text = line.rstrip(b"\n").partition(b" ")
            if check == b"%08x" % zlib.crc32(text):
                content, (width, height), hands = json.loads(text)
                known[content] = Seen((width, height), tuple(_hand(*each) for each in hands))
    if not line.endswith(b"\n"):
        with path.open("ab", buffering=0) as stream:
            stream.write(b"\n")
    return known


def _hand(points: list[float], handedness: str, score: float) -> Hand:
    return Hand(np.array(points).reshape(21, 3), handedness, score)
