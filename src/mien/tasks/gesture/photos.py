"""Photos in folders named by their label, as rows: MediaPipe's networks detect the hands.

    <label>/<file> -> 21 landmarks in pixels of the photo, as a server would detect them

The hands of a photo are cached by its content; other networks, other code of the detection or
another decoder begin another cache file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, RequestError, WeightsError
from mien.images import unread_types
from mien.images.unread_types import CONVERTIBLE
from mien.mediapipe import weights
from mien.mediapipe.hand_landmarker import HandLandmarker
from mien.mediapipe.hand_landmarks import Hand
from mien.mediapipe.weights import HandNetworks
from mien.model.runtime import map_threads
from mien.reporting import console
from mien.storage.cache import ContentCache
from mien.storage.cache_keys import TASK_SOURCES, source_hash
from mien.task import Request

from . import landmarks
from .params import MIN_SIDE
from .splits import is_split_folder
from .table import SourceRow

NO_HAND = "no_hand_detected"
UNREADABLE = "unreadable"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_CONVERTIBLE_SUFFIXES = (".bmp", ".gif", ".tif", ".tiff")
_UNSUPPORTED_SUFFIXES = {".avif", ".heic", ".heif", *_CONVERTIBLE_SUFFIXES}
"""Pictures that are not read as photos; they are reported instead of ignored. AVIF is read where
Pillow can."""
UNREAD_TYPES = {**unread_types.UNREAD_TYPES, **dict.fromkeys(_CONVERTIBLE_SUFFIXES, CONVERTIBLE)}
_DECODERS = ("onnxruntime", "pillow")
_MIN_SINGLE_HANDS = 3
"""Photos with one hand from which the pose of a label is known."""


@dataclass(frozen=True)
class Photo:
    """A picture of a source that is to show a gesture."""

    path: Path
    name: str
    """Unique in the source: `<label>/<file>`, and the folders above where they differ."""
    label: str
    """Its folder's name; "" for a photo in no folder."""


@dataclass(frozen=True)
class PhotoHands:
    """The hands that were detected in a photo."""

    size: tuple[int, int]
    """Width and height of the upright photo."""
    hands: tuple[Hand, ...]
    """In pixels of the whole photo."""


NOT_EXAMINED = PhotoHands((0, 0), ())
"""For a photo in which no hands were detected because its label is not wanted."""


def find_photos(raw: Path, known_labels: Iterable[str]) -> list[Photo]:
    """All pictures below a folder, in order of their paths.

    A photo's label is the nearest folder around it that has the name of a known label, or else the
    folder that contains it, unless that is the folder of a
    split or one such as `images`.
    """
    labels = set(known_labels)
    suffixes = _SUFFIXES | _UNSUPPORTED_SUFFIXES
    paths = [path for path in sorted(raw.rglob("*")) if path.suffix.lower() in suffixes]
    labelled = [
        (path, *_label_folder(path.relative_to(raw), labels)) for path in paths if path.is_file()
    ]
    shared = _count_shared([above for _, above, _ in labelled])
    return [
        Photo(path, "/".join(path.relative_to(raw).parts[shared:]), label)
        for path, _, label in labelled
    ]


def detect_hands(photos: Sequence[Photo], cache: Path) -> list[PhotoHands | str]:
    """The hands of each photo, or why it cannot be read; from the cache if they are there.

    Raises:
        DataError: the networks cannot be downloaded.
    """
    if not photos:
        return []
    networks = _read_networks()
    path = cache / "hands" / f"{_cache_key(networks)}.txt"
    detector = CachedDetector(networks, ContentCache(path, _to_json, _from_json))
    results: list[PhotoHands | str] = []
    with console.bar("detect hands") as advance:
        for each in map_threads([photo.path for photo in photos], lambda: detector):
            results.append(each)
            advance(len(results), len(photos))
    return results


def to_source_row(
    photo: Photo, detected: PhotoHands | str, hand: Hand | None, user: str, split: str
) -> SourceRow:
    """The row of a photo, and of the hand in it that shows the gesture."""
    facts: dict[str, str | float] = {"type": photo.path.suffix.lower().removeprefix(".")}
    size = (float("nan"), float("nan"))
    if isinstance(detected, PhotoHands) and detected is not NOT_EXAMINED:
        size = detected.size
        facts["picture"] = f"{size[0]}x{size[1]}"
    if hand is not None:
        facts["handedness"] = hand.handedness
    reason = UNREADABLE if isinstance(detected, str) else "" if hand else NO_HAND
    return SourceRow(
        photo.name,
        photo.label,
        hand.landmarks if hand else None,
        user,
        split,
        size,
        facts,
        photo.path,
        reason,
    )


def select_gesture_hands(
    labels: Sequence[str], detected: Sequence[PhotoHands | str]
) -> list[Hand | None]:
    """The hand of each photo that shows its label's gesture; None if there is no hand.

    Of several hands one usually rests. Selected is the one nearest to the single hands of other
    photos with that label, left or right; the larger one if there are too few such photos.
    """
    single: dict[str, list[NDArray[np.float32]]] = {}
    for label, each in zip(labels, detected, strict=True):
        if isinstance(each, PhotoHands) and len(each.hands) == 1:
            single.setdefault(label, []).append(_features(each.hands[0]))
    return [
        _select(each.hands, single.get(label, ())) if isinstance(each, PhotoHands) else None
        for label, each in zip(labels, detected, strict=True)
    ]


class CachedDetector:
    """Detects the hands of photos that are not in the cache yet; for any number of threads."""

    def __init__(self, networks: HandNetworks, cache: ContentCache[PhotoHands]) -> None:
        self._networks, self._cache = networks, cache
        self._lock = Lock()
        self._landmarker: HandLandmarker | None = None

    def __call__(self, path: Path) -> PhotoHands | str:
        """The hands of a photo, or why it cannot be read."""
        content = path.read_bytes()
        digest = sha256(content).hexdigest()
        cached = self._cache.get(digest)
        if cached is not None:
            return cached
        try:
            hands = _detect(content, self._open())
        except RequestError as error:
            return str(error)
        self._cache.put(digest, hands)
        return hands

    def _open(self) -> HandLandmarker:
        """The networks, opened on first use."""
        with self._lock:
            self._landmarker = self._landmarker or HandLandmarker.from_tflite(self._networks)
            return self._landmarker


def _label_folder(path: Path, labels: set[str]) -> tuple[tuple[str, ...], str]:
    """The folders above the one that names the label, and that one's name."""
    folders = path.parts[:-1]
    label_indices = [index for index, name in enumerate(folders) if name in labels]
    index = label_indices[-1] if label_indices else len(folders) - 1
    if not folders or (not label_indices and is_split_folder(folders[-1])):
        return folders, ""
    return folders[:index], folders[index]


def _count_shared(above: Sequence[tuple[str, ...]]) -> int:
    """How many folders all photos have in common above their labels' folders."""
    count = 0
    for names in zip(*above, strict=False):
        if len(set(names)) > 1:
            break
        count += 1
    return count


def _select(hands: Sequence[Hand], single_hands: Sequence[NDArray[np.float32]]) -> Hand | None:
    if len(hands) < 2:
        return hands[0] if hands else None
    if len(single_hands) < _MIN_SINGLE_HANDS:
        return max(hands, key=lambda hand: float(np.ptp(hand.landmarks[:, :2], axis=0).prod()))
    reference = np.stack(single_hands)
    return min(hands, key=lambda hand: _distance(_features(hand), reference))


def _distance(features: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Distance to the nearest reference hand, mirrored if that is nearer."""
    mirrored = features.copy()
    mirrored[0::3] *= -1
    both = (np.linalg.norm(reference - each, axis=1).min() for each in (features, mirrored))
    return float(min(both))


def _features(hand: Hand) -> NDArray[np.float32]:
    features: NDArray[np.float32] = landmarks.normalize(hand.landmarks[None])[0]
    return features


def _read_networks() -> HandNetworks:
    try:
        return weights.read_hand_networks()
    except WeightsError as error:
        raise DataError(
            f"Photos need the hand landmarker: {error} Or give a table of landmarks instead of "
            "photos."
        ) from error


def _cache_key(networks: HandNetworks) -> str:
    """A hash of everything that decides what is detected."""
    state = sha256(networks.palm_detector + networks.landmark_network)
    code = source_hash(*TASK_SOURCES, f"tasks/{Path(__file__).parent.name}/photos.py")
    state.update(code.encode())
    state.update(" ".join(map(version, _DECODERS)).encode())
    return state.hexdigest()[:16]


def _detect(content: bytes, landmarker: HandLandmarker) -> PhotoHands:
    request = Request.read(content, min_side=MIN_SIDE)
    assert request.image is not None
    x_scale, y_scale = request.scale
    hands = (
        Hand(each.landmarks * (x_scale, y_scale, x_scale), each.handedness, each.score)
        for each in landmarker.detect(request.image)
    )
    usable = tuple(hand for hand in hands if landmarks.has_extent(hand.landmarks[None])[0])
    return PhotoHands(request.size, usable)


def _to_json(detected: PhotoHands) -> list[Any]:
    hands = [
        [hand.landmarks.ravel().tolist(), hand.handedness, hand.score] for hand in detected.hands
    ]
    return [detected.size, hands]


def _from_json(value: list[Any]) -> PhotoHands:
    (width, height), hands = value
    return PhotoHands(
        (width, height),
        tuple(Hand(np.array(each).reshape(21, 3), side, score) for each, side, score in hands),
    )
