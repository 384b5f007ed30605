"""Promises of union-find: clusters are the connected parts of the pairs, in any order."""

from hypothesis import given
from hypothesis import strategies as st

from mien.stages.check.disjoint_set import merge_clusters

_PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(_PAIRS, st.randoms(use_true_random=False))
def test_clusters_are_what_hangs_together(pairs: list[tuple[int, int]], random: object) -> None:
    """Clusters are the connected parts of the pairs, whatever the order of the pairs."""
    found = merge_clusters(pairs, 20)
    assert found == sorted(sorted(group) for group in found)
    home = {place: number for number, group in enumerate(found) for place in group}
    assert all(one == two or home[one] == home[two] for one, two in pairs)
    for group in found:
        reached = {group[0]}
        while (
            more := {b for pair in pairs for a, b in (pair, pair[::-1]) if a in reached} - reached
        ):
            reached |= more
        assert reached == set(group)
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert merge_clusters(pairs, 20) == found


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True), max_size=12))
def test_clusters_that_touch_become_one(clusters: list[list[int]]) -> None:
    """No member stands in two, members of one stay together, and nothing is added."""
    found = merge_clusters(clusters, 31)
    members = [place for cluster in found for place in cluster]
    assert len(members) == len(set(members))
    assert set(members) <= {place for cluster in clusters for place in cluster}
    home = {place: number for number, cluster in enumerate(found) for place in cluster}
    for cluster in clusters:
        assert len({home.get(place, -1 - place) for place in cluster}) == 1
        assert len(cluster) == 1 or cluster[0] in home
