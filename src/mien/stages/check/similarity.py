"""Which samples are duplicates of each other: byte for byte, by their looks, or but for noise.

    exact_duplicates(digests)      the same content
    near_duplicate_images(stats)   the same photo saved again, resized, slightly cropped, brightened
    near_duplicate_rows(values)    rows of numbers that differ by less than measurement noise

Each returns clusters of indices, two or more, in order. A cluster is connected by pairs: its
outermost members may be less alike than any pair. Pairs that cannot change a cluster are skipped,
so that memory stays proportional to the samples however many of them are alike.
Decision 0017 has what this was compared with, `bench check` how often it is right.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, AnyStr, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.images.statistics import THUMBNAIL_SIDE, ImageStats

from .disjoint_set import DisjointSet, Indices

MAX_HASH_DISTANCE = 12
"""Bits of 64 in which the hashes of two duplicates may differ (they differ in an even number). Of
the duplicates found at 14, two in a hundred lie beyond 12, among five times as many candidates."""
NEAR_DUPLICATE_CORRELATION = 0.74
"""Correlation of the details of two thumbnails from which they are near duplicates. Chosen by eye
on 6,408 faces: of all pairs within MAX_HASH_DISTANCE, those of different people reach 0.73. Up to
SAME_IMAGE_CORRELATION, one in twenty is the same person in the same place a moment later: a leak as
well, but with a right to another label."""
SAME_IMAGE_CORRELATION = 0.86
"""Correlation from which all pairs of those faces showed one photo saved twice."""
MIN_DETAIL_DEVIATION = 1.5
"""Standard deviation of a thumbnail's details, in steps of 255, below which they come from rounding
and from the JPEG. The flattest of 6,408 photos of faces has 7."""
MAX_ROW_DISTANCE = 0.05
"""Share of the spread of rows, root mean square, by which two near duplicates differ at most. For
hands (the features of `gesture`, spread 0.22 to 0.32): saved again as JPEG of quality 90, half of
90 photos give landmarks less than 0.04 from the first ones. Of 11,936 rows in three tables of
different photos one pair lies at 0.042, and every other pair beyond 0.054: a looser limit would
find equal poses, not duplicates."""
_TILE = (64, 2048)
"""Rows and columns that are compared at once: they fit a processor's cache."""
_BLOCK, _CHUNK = 256, 4096
_SHIFTS = tuple((down, across) for down in range(3) for across in range(3))
_CORE = THUMBNAIL_SIDE - 2


class Pair(NamedTuple):
    """Two similar samples and their distance; 0 means that they are indistinguishable."""

    first: int
    second: int
    distance: float


def exact_duplicates(digests: Sequence[AnyStr]) -> list[list[int]]:
    """Indices with equal digests, where there are two or more; an empty digest equals nothing."""
    members: dict[AnyStr, list[int]] = {}
    for index, digest in enumerate(digests):
        if digest:
            members.setdefault(digest, []).append(index)
    return [group for group in members.values() if len(group) > 1]


def near_duplicate_images(
    stats: ImageStats,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    min_correlation: float = NEAR_DUPLICATE_CORRELATION,
) -> list[list[int]]:
    """Clusters of images that look the same, exact duplicates included."""
    return near_duplicate_clusters(stats, (min_correlation,), max_hash_distance)[0]


def near_duplicate_clusters(
    stats: ImageStats,
    min_correlations: Sequence[float],
    max_hash_distance: int = MAX_HASH_DISTANCE,
) -> list[list[list[int]]]:
    """The clusters of `near_duplicate_images` at each of these correlations, from one comparison
    of all images."""
    joined = _join_near(stats, max_hash_distance, min_correlations)
    return [clusters.clusters() for clusters, _ in joined]


def near_duplicate_pairs(
    stats: ImageStats,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    min_correlation: float = NEAR_DUPLICATE_CORRELATION,
) -> list[Pair]:
    """The pairs that connect the clusters of `near_duplicate_images`: fewer than there are images.

    Candidates are images whose hashes differ in few bits. They are near duplicates where what is
    left of their thumbnails without the blurred ones, at one of nine shifts of a pixel, correlates:
    neither brightness nor contrast nor a shadow across the face matters. Images without any detail
    are duplicates only where thumbnail and mean colour are equal. The distance is 1 minus the
    correlation.
    """
    return _join_near(stats, max_hash_distance, (min_correlation,))[0][1]


def near_duplicate_rows(
    values: NDArray[np.floating[Any]], max_distance: float = MAX_ROW_DISTANCE
) -> list[list[int]]:
    """Clusters of rows (n, d), all in one frame, that differ by less than measurement noise.

    The difference is the root mean square over the numbers of a row, as a share of the spread of
    all rows: that of the median row from the median of all. Rows with NaN or infinity have no
    duplicate.
    """
    rows = np.ascontiguousarray(values, dtype=np.float64)
    count = len(rows)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
    contents = [row.tobytes() if fine else b"" for row, fine in zip(rows, finite, strict=True)]
    joined = DisjointSet(count)
    _, indices = _one_per_group(exact_duplicates(contents), finite, joined)
    scaled = _scaled(rows[indices])
    for first, second in _close(scaled, max_distance) if len(scaled) else ():
        _join(joined, indices[first], indices[second])
    return joined.clusters()


def _join_near(
    stats: ImageStats, max_hash_distance: int, min_correlations: Sequence[float]
) -> list[tuple[DisjointSet, list[Pair]]]:
    """The clusters at each correlation and the pairs that connect them."""
    details, deviation = _details(stats.thumbnail)
    identical, usable = _identical(stats), deviation >= MIN_DETAIL_DEVIATION
    results: list[tuple[DisjointSet, list[Pair]]] = []
    for _ in min_correlations:
        joined = DisjointSet(len(stats))
        pairs, indices = _one_per_group(identical, usable, joined)
        results.append((joined, pairs))
    # What is one cluster at the highest correlation is one at all others too.
    smallest = results[int(np.argmax(min_correlations))][0]
    candidates = _candidates(
        stats.phash[indices], max_hash_distance, lambda: smallest.roots()[indices]
    )
    for rows, columns in candidates:
        first, second = indices[rows], indices[columns]
        separate = smallest.separate(first, second)
        first, second = first[separate], second[separate]
        correlation = _correlation(details, first, second)
        for minimum, (joined, pairs) in zip(min_correlations, results, strict=True):
            near = (correlation >= minimum) & joined.separate(first, second)
            pairs += _join(joined, first[near], second[near], 1 - correlation[near])
    return results


def _join(
    joined: DisjointSet,
    first: Indices,
    second: Indices,
    distance: NDArray[np.floating[Any]] | None = None,
) -> list[Pair]:
    """Merge pairs, the most similar first; return those that were in two clusters before."""
    far = np.zeros(len(first)) if distance is None else distance
    order = np.argsort(far, kind="stable")
    listed = zip(first[order].tolist(), second[order].tolist(), far[order].tolist(), strict=True)
    return [Pair(*pair) for pair in listed if joined.union(pair[0], pair[1])]


def _identical(stats: ImageStats) -> list[list[int]]:
    """Images with one thumbnail and one mean colour."""
    colour = np.rint(stats.mean_rgb).astype(np.uint8)
    contents = zip(stats.readable, stats.thumbnail, colour, strict=True)
    return exact_duplicates([a.tobytes() + b.tobytes() if ok else b"" for ok, a, b in contents])


def _one_per_group(
    groups: Sequence[Sequence[int]], usable: NDArray[np.bool_], joined: DisjointSet
) -> tuple[list[Pair], Indices]:
    """Merge groups of equal items; their pairs, and the usable items but one of each group."""
    first = usable.copy()
    pairs = []
    for group in groups:
        rest = np.array(group[1:])
        first[rest] = False
        pairs += _join(joined, np.full(len(rest), group[0]), rest)
    return pairs, np.flatnonzero(first)


def _tiles(count: int) -> Iterator[tuple[slice, slice]]:
    """Parts of the table of all pairs that cover what lies above its diagonal."""
    height, width = _TILE
    for top in range(0, count, height):
        for left in range(top, count, width):
            yield slice(top, top + height), slice(left, left + width)


def _candidates(
    hashes: NDArray[np.uint64], max_hash_distance: int, roots: Callable[[], Indices]
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of hashes at most so many bits apart and not yet in one cluster, tile by tile. All are
    compared: within 12 of 64 bits, tables of equal parts of hashes would hold hardly fewer."""
    differing = np.empty(_TILE, dtype=np.uint64)
    bits = np.empty(_TILE, dtype=np.uint8)
    for rows, columns in _tiles(len(hashes)):
        row_hashes, column_hashes = hashes[rows, None], hashes[None, columns]
        part = np.s_[: row_hashes.shape[0], : column_hashes.shape[1]]
        np.bitwise_count(
            np.bitwise_xor(row_hashes, column_hashes, out=differing[part]), out=bits[part]
        )
        near = bits[part] <= max_hash_distance
        if near.any():
            root = roots()
            yield from _above(near & (root[rows, None] != root[None, columns]), rows, columns)


def _close(scaled: NDArray[np.float64], max_distance: float) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows whose distance is at most `max_distance`.

    Rows are sorted along their principal axis: rows that are further apart than that along it
    need not be compared.
    """
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    along = scaled @ axes[:, -1]
    order = np.argsort(along, kind="stable")
    rows, along = scaled[order], along[order]
    square = (rows**2).sum(axis=1)
    for top in range(0, len(rows), _BLOCK):
        part = slice(top, min(top + _BLOCK, len(rows)))
        end = int(np.searchsorted(along, along[part.stop - 1] + max_distance, side="right"))
        for left in range(top, end, _CHUNK):
            columns = slice(left, min(left + _CHUNK, end))
            distance = square[part, None] + square[None, columns] - 2 * rows[part] @ rows[columns].T
            for i, j in _above(distance <= max_distance**2, part, columns):
                yield order[i], order[j]


def _above(
    near: NDArray[np.bool_], rows: slice, columns: slice
) -> Iterator[tuple[Indices, Indices]]:
    """The indices of near pairs above the diagonal, in parts that fit memory."""
    i, j = np.nonzero(near)
    i, j = i + rows.start, j + columns.start
    upper = i < j
    i, j = i[upper], j[upper]
    for start in range(0, len(i), _CHUNK):
        yield i[start : start + _CHUNK], j[start : start + _CHUNK]


def _details(thumbnail: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Thumbnails (n, 16, 16) without their means over 3 x 3 pixels, and the deviation of that."""
    grey = thumbnail.astype(np.float32)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    side = THUMBNAIL_SIDE
    total = sum(padded[:, y : y + side, x : x + side] for y, x in _SHIFTS)
    details = grey - total / np.float32(9)
    return details, details.reshape(len(thumbnail), side**2).std(axis=1).astype(np.float64)


def _correlation(
    details: NDArray[np.float32], first: Indices, second: Indices
) -> NDArray[np.float64]:
    """The highest correlation of each pair's details, the second shifted by up to a pixel."""
    best = np.full(len(first), -1.0)
    core = _standard(details[first, 1 : 1 + _CORE, 1 : 1 + _CORE])
    for down, across in _SHIFTS:
        shifted = _standard(details[second, down : down + _CORE, across : across + _CORE])
        best = np.maximum(best, np.einsum("ij,ij->i", core, shifted))
    return best


def _standard(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = crop.reshape(len(crop), _CORE * _CORE)
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
