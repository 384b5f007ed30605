"""Which samples are copies of each other: byte for byte, at a glance, or but for noise.

    exact(digests)     the same content
    near(looks)        the same photo saved, scaled, cropped a little or brightened anew
    near_rows(values)  rows of numbers that differ by less than a measurement does

Each answers with clusters of places, two or more, in order. A cluster hangs together by pairs: its
outermost members may be less alike than any pair. Pairs that cannot change a cluster are not looked
at, so memory stays in proportion to the samples however many of them are alike.
Decision 0017 has what this was compared with, `bench check` how often it is right.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, AnyStr, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .looks import THUMB, Looks

RADIUS = 12
"""Bits of 64 in which the hashes of two copies may differ (they differ in an even number). Of the
copies found at 14 two in a hundred lie beyond 12, among five times as many candidates."""
ALIKE = 0.74
"""Correlation of the details of two thumbnails from which they are copies. Chosen by eye on 6,408
faces: of all pairs within RADIUS, those of different people reach 0.73. Up to SAME, one in twenty
is the same person in the same place a moment later: a leak as well, but with a right to another
label."""
SAME = 0.86
"""Correlation from which all pairs of those faces showed one photo saved twice."""
FLAT = 1.5
"""Standard deviation of a thumbnail's details, in steps of 255, below which they are those of
rounding and of the JPEG. The flattest of 6,408 photos of faces has 7."""
ROW_NOISE = 0.05
"""Share of the spread of rows, root mean square, by which two near copies differ at most. For hands
(the features of `gesture`, spread 0.22 to 0.32): saved again as JPEG of quality 90, half of 90
photos give landmarks less than 0.04 from the first ones. Of 11,936 rows in three tables of
different photos one pair lies at 0.042, and every other pair beyond 0.054: a looser limit would
find poses, not copies."""
_TILE = (64, 2048)
"""Rows and columns that are compared at once: they fit a processor's cache."""
_BLOCK, _CHUNK = 256, 4096
_SHIFTS = tuple((down, across) for down in range(3) for across in range(3))
_CORE = THUMB - 2
Places = NDArray[np.intp]


class Pair(NamedTuple):
    """Two samples that are alike, and how much: 0 is not to be told apart."""

    first: int
    second: int
    distance: float


def exact(digests: Sequence[AnyStr]) -> list[list[int]]:
    """Places with equal digests, where there are two or more; an empty one equals nothing."""
    places: dict[AnyStr, list[int]] = {}
    for place, digest in enumerate(digests):
        if digest:
            places.setdefault(digest, []).append(place)
    return [group for group in places.values() if len(group) > 1]


def near(looks: Looks, radius: int = RADIUS, alike: float = ALIKE) -> list[list[int]]:
    """Clusters of pictures that are copies of each other to the eye, exact ones among them."""
    return clusters((pair[:2] for pair in near_pairs(looks, radius, alike)), len(looks))


def near_pairs(looks: Looks, radius: int = RADIUS, alike: float = ALIKE) -> list[Pair]:
    """The pairs by which the clusters of `near` hang together: fewer than there are pictures.

    Candidates are pictures whose hashes differ in few bits. They are copies where what is left of
    their thumbnails without the blurred ones, at one of nine places a pixel apart, correlates:
    neither brightness nor contrast nor a shadow across the face has part in that. Pictures without
    any detail are copies only where thumbnail and colour are equal. The distance is what the
    correlation lacks of 1.
    """
    tree = _Tree(len(looks))
    details, deviation = _details(looks.thumb)
    pairs, places = _one_of_each(_twins(looks), deviation >= FLAT, tree)
    for rows, columns in _candidates(looks.hash[places], radius, lambda: tree.roots()[places]):
        one, two = places[rows], places[columns]
        apart = tree.apart(one, two)
        one, two = one[apart], two[apart]
        likeness = _likeness(details, one, two)
        found = likeness >= alike
        pairs += tree.join(one[found], two[found], 1 - likeness[found])
    return pairs


def near_rows(values: NDArray[np.floating[Any]], apart: float = ROW_NOISE) -> list[list[int]]:
    """Clusters of rows (n, d), all in one frame, that differ by less than measurements do.

    The difference is the root mean square over the numbers of a row, as a share of the spread of
    all rows: that of the middle row from the middle of all. Rows with NaN or infinity have no copy.
    """
    rows = np.ascontiguousarray(values, dtype=np.float64)
    count = len(rows)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    contents = [row.tobytes() if fine else b"" for row, fine in zip(rows, finite, strict=True)]
    tree = _Tree(count)
    pairs, places = _one_of_each(exact(contents), finite, tree)
    scaled = _scaled(rows[places])
    for one, two in _close(scaled, apart) if len(scaled) else ():
        pairs += tree.join(places[one], places[two])
    return clusters((pair[:2] for pair in pairs), count)


def clusters(pairs: Iterable[tuple[int, int]], n: int) -> list[list[int]]:
    """What hangs together by pairs of places below n: clusters of two or more, in order."""
    tree = _Tree(n)
    for one, two in pairs:
        tree.unite(one, two)
    members: dict[int, list[int]] = {}
    for place, root in enumerate(tree.roots().tolist()):
        members.setdefault(root, []).append(place)
    return [group for group in members.values() if len(group) > 1]


class _Tree:
    """Who hangs together, as union-find: a place's root is the first of its cluster."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def unite(self, one: int, two: int) -> bool:
        """Put two places in one cluster; tell whether they were in two before."""
        first, second = self._root(one), self._root(two)
        self._parent[max(first, second)] = min(first, second)
        return first != second

    def join(
        self, one: Places, two: Places, distance: NDArray[np.floating[Any]] | None = None
    ) -> list[Pair]:
        """Unite pairs, the most alike first; return those that were apart before."""
        far = np.zeros(len(one)) if distance is None else distance
        order = np.argsort(far, kind="stable")
        listed = zip(one[order].tolist(), two[order].tolist(), far[order].tolist(), strict=True)
        return [Pair(*pair) for pair in listed if self.unite(pair[0], pair[1])]

    def apart(self, one: Places, two: Places) -> NDArray[np.bool_]:
        """Which of these pairs are in two clusters."""
        roots = self.roots()
        result: NDArray[np.bool_] = roots[one] != roots[two]
        return result

    def roots(self) -> Places:
        """The root of every place."""
        while not np.array_equal(above := self._parent[self._parent], self._parent):
            self._parent = above
        return self._parent

    def _root(self, place: int) -> int:
        parent = self._parent
        while (above := int(parent[place])) != place:
            parent[place] = place = int(parent[above])
        return place


def _twins(looks: Looks) -> list[list[int]]:
    """Pictures with one thumbnail and one colour."""
    colour = np.rint(looks.colour).astype(np.uint8)
    pictures = zip(looks.readable, looks.thumb, colour, strict=True)
    return exact([a.tobytes() + b.tobytes() if seen else b"" for seen, a, b in pictures])


def _one_of_each(
    groups: Sequence[Sequence[int]], wanted: NDArray[np.bool_], tree: _Tree
) -> tuple[list[Pair], Places]:
    """Unite groups of equal things; their pairs, and who is wanted but for all after the first."""
    first = wanted.copy()
    pairs = []
    for group in groups:
        rest = np.array(group[1:])
        first[rest] = False
        pairs += tree.join(np.full(len(rest), group[0]), rest)
    return pairs, np.flatnonzero(first)


def _tiles(count: int) -> Iterator[tuple[slice, slice]]:
    """Parts of the table of all pairs that cover what lies above its diagonal."""
    height, width = _TILE
    for top in range(0, count, height):
        for left in range(top, count, width):
            yield slice(top, top + height), slice(left, left + width)


def _candidates(
    hashes: NDArray[np.uint64], radius: int, roots: Callable[[], Places]
) -> Iterator[tuple[Places, Places]]:
    """Pairs of hashes at most `radius` bits apart and not yet of one cluster, tile by tile. All are
    compared: within 12 of 64 bits, tables of equal parts of hashes would hold hardly fewer."""
    differing = np.empty(_TILE, dtype=np.uint64)
    bits = np.empty(_TILE, dtype=np.uint8)
    for rows, columns in _tiles(len(hashes)):
        one, two = hashes[rows, None], hashes[None, columns]
        part = np.s_[: one.shape[0], : two.shape[1]]
        np.bitwise_count(np.bitwise_xor(one, two, out=differing[part]), out=bits[part])
        near = bits[part] <= radius
        if near.any():
            root = roots()
            yield from _above(near & (root[rows, None] != root[None, columns]), rows, columns)


def _close(scaled: NDArray[np.float64], apart: float) -> Iterator[tuple[Places, Places]]:
    """Pairs of rows whose distance is at most `apart`.

    They are sorted along the axis in which they spread most: rows that are further apart than that
    along it need not be compared.
    """
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    along = scaled @ axes[:, -1]
    order = np.argsort(along, kind="stable")
    rows, along = scaled[order], along[order]
    square = (rows**2).sum(axis=1)
    for top in range(0, len(rows), _BLOCK):
        part = slice(top, min(top + _BLOCK, len(rows)))
        end = int(np.searchsorted(along, along[part.stop - 1] + apart, side="right"))
        for left in range(top, end, _CHUNK):
            columns = slice(left, min(left + _CHUNK, end))
            distance = square[part, None] + square[None, columns] - 2 * rows[part] @ rows[columns].T
            for i, j in _above(distance <= apart**2, part, columns):
                yield order[i], order[j]


def _above(near: NDArray[np.bool_], rows: slice, columns: slice) -> Iterator[tuple[Places, Places]]:
    """The places of what is near, above the diagonal, in parts that fit memory."""
    i, j = np.nonzero(near)
    i, j = i + rows.start, j + columns.start
    upper = i < j
    i, j = i[upper], j[upper]
    for start in range(0, len(i), _CHUNK):
        yield i[start : start + _CHUNK], j[start : start + _CHUNK]


def _details(thumb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Thumbnails (n, 16, 16) without their means over 3 x 3 pixels, and the deviation of that."""
    grey = thumb.astype(np.float32)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    blurred = sum(padded[:, y : y + THUMB, x : x + THUMB] for y, x in _SHIFTS) / np.float32(9)
    details = grey - blurred
    return details, details.reshape(len(thumb), THUMB * THUMB).std(axis=1).astype(np.float64)


def _likeness(details: NDArray[np.float32], one: Places, two: Places) -> NDArray[np.float64]:
    """The correlation of each pair's details where the second is moved by up to a pixel."""
    best = np.full(len(one), -1.0)
    core = _standard(details[one, 1 : 1 + _CORE, 1 : 1 + _CORE])
    for down, across in _SHIFTS:
        moved = _standard(details[two, down : down + _CORE, across : across + _CORE])
        best = np.maximum(best, np.einsum("ij,ij->i", core, moved))
    return best


def _standard(cut: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = cut.reshape(len(cut), _CORE * _CORE)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    standard: NDArray[np.float32] = flat / np.maximum(length, np.float32(1e-6))
    return standard


def _scaled(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows whose distances are root mean squares over their numbers, in spreads of all rows."""
    if not len(rows):
        return rows
    centred = rows - np.median(rows, axis=0)
    spread = float(np.median(np.sqrt((centred**2).mean(axis=1))))
    scaled: NDArray[np.float64] = centred / (spread or 1.0) / np.sqrt(rows.shape[1])
    return scaled
