"""Clusters of items that are connected by pairs: union-find."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


class DisjointSet:
    """Clusters of the items 0 to count - 1. The root of an item is the first of its cluster."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def union(self, first: int, second: int) -> bool:
        """Merge the clusters of two items; return whether they were in different ones."""
        root, other_root = self._find(first), self._find(second)
        self._parent[max(root, other_root)] = min(root, other_root)
        return root != other_root

    def roots(self) -> Indices:
        """The root of every item."""
        while not np.array_equal(grand := self._parent[self._parent], self._parent):
            self._parent = grand
        return self._parent

    def separate(self, first: Indices, second: Indices) -> NDArray[np.bool_]:
        """Which of these pairs are in two clusters."""
        roots = self.roots()
        result: NDArray[np.bool_] = roots[first] != roots[second]
        return result

    def clusters(self) -> list[list[int]]:
        """All clusters of two or more items, in order of their first members."""
        members: dict[int, list[int]] = {}
        for item, root in enumerate(self.roots().tolist()):
            members.setdefault(root, []).append(item)
        return [group for group in members.values() if len(group) > 1]

    def _find(self, item: int) -> int:
        parent = self._parent
        while (above := int(parent[item])) != item:
            parent[item] = item = int(parent[above])
        return item


def merge_clusters(groups: Iterable[Sequence[int]], count: int) -> list[list[int]]:
    """Groups of items below `count` that share a member as one, each in order."""
    joined = DisjointSet(count)
    for group in groups:
        for item in group[1:]:
            joined.union(group[0], item)
    return joined.clusters()
