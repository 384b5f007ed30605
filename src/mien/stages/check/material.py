"""What the gates are judged by: the task's survey, a look at every picture, and who copies whom.

Everything is read once, while the version lies unpacked. Copies are told as clusters of places in
`samples`; what cannot be decoded takes no part in them, because it never reaches a training.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from mien.config import Schema
from mien.model import runtime
from mien.reporting import console
from mien.task import Inspection, Request, Sample, Split, Task

from . import copies, looks, shortcuts
from .looks import Looks
from .shortcuts import Shortcut

ASKED = 500
"""Pictures in which subjects are counted: each costs milliseconds, and shares need no more."""
Cluster = tuple[int, ...]
"""Places of samples that are copies of each other, in order; at least two."""


@dataclass(frozen=True)
class Material:
    """A version as the gates see it."""

    task: Task[Any]
    inspect: Inspection
    looks: Looks | None
    """One row for each sample that has a picture; None where no sample has one."""
    rows: Mapping[int, int]
    """The row of `looks` by place of the sample."""
    exact: tuple[Cluster, ...]
    near: tuple[Cluster, ...]
    """Near copies; every cluster of exact copies lies within one of these."""
    same: tuple[Cluster, ...]
    """Those that are one photo without doubt, not the same person a moment later: only these must
    carry one label."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples of the survey, in its order."""
        return self.inspect.samples

    def readable(self, place: int) -> bool:
        """Whether a sample is a row, or a picture that can be decoded."""
        if self.looks is None or place not in self.rows:
            return True
        return bool(self.looks.readable[self.rows[place]])

    def seen(
        self, clusters: Iterable[Cluster], earlier: Mapping[Split, Sequence[Split]]
    ) -> dict[int, int]:
        """Samples of splits in `earlier` with a copy in a split named there, and that copy."""
        found: dict[int, int] = {}
        for cluster in clusters:
            for place in cluster:
                split = self.samples[place].split
                before = earlier.get(split, ()) if split else ()
                twins = (each for each in cluster if self.samples[each].split in before)
                twin = next(twins, None)
                if twin is not None:
                    found[place] = twin
        return found


def leaks(material: Material) -> dict[str, tuple[str, ...]]:
    """`exact` and `near`: val and test samples that have such a copy in train."""
    train: Mapping[Split, Sequence[Split]] = {"val": ("train",), "test": ("train",)}
    exact, near = (material.seen(each, train) for each in (material.exact, material.near))
    return {
        "exact": tuple(material.samples[place].name for place in exact),
        "near": tuple(material.samples[place].name for place in near if place not in exact),
    }


def gather(task: Task[Any], raw: Path, params: Schema, cache: Path) -> Material:
    """Read what lies in `raw`: the survey, one look at every picture, and the copies.

    Raises:
        DataError: nothing can be understood.
    """
    inspect = task.data.inspect(raw, params, cache)
    places = [place for place, each in enumerate(inspect.samples) if each.picture is not None]
    paths = [inspect.samples[place].picture for place in places]
    seen = (
        looks.look([path for path in paths if path], min_side=task.inference.min_side)
        if places
        else None
    )
    usable = _usable(inspect.samples, seen, places)
    digests = [inspect.samples[place].digest for place in usable]
    exact = [tuple(usable[each] for each in cluster) for cluster in copies.exact(digests)]
    return Material(
        task=task,
        inspect=inspect,
        looks=seen,
        rows={place: row for row, place in enumerate(places)},
        exact=tuple(exact),
        near=_within(usable, [*exact, *_near(inspect.samples, seen, places, copies.ALIKE)]),
        same=_within(usable, [*exact, *_near(inspect.samples, seen, places, copies.SAME)]),
    )


def shortcut(material: Material) -> Shortcut | None:
    """How well labels are guessed from what says nothing of the subject; None without facts."""
    places = labelled(material)
    facts = [_facts(material, place) for place in places]
    if not any(facts):
        return None
    labels = [material.samples[place].labels[0] for place in places]
    return shortcuts.measure(facts, labels, _groups(material, places))


def labelled(material: Material) -> list[int]:
    """Samples with a label that the task knows."""
    return [
        place
        for place, sample in enumerate(material.samples)
        if sample.labels and sample.labels[0] in material.task.labels and material.readable(place)
    ]


def subjects(material: Material) -> dict[int, int]:
    """How many subjects a bounded choice of labelled pictures shows, by place of the sample.

    The choice follows the digests, so that it is the same wherever the data lie, and without order.
    """
    if material.task.inference.subject_counter is None:
        return {}
    places = {
        sample.digest: place
        for place, sample in reversed(list(enumerate(material.samples)))
        if sample.picture and sample.labels and material.readable(place)
    }
    asked = [places[digest] for digest in sorted(places)[:ASKED]]
    if not asked:
        return {}
    threads = min(runtime.available_cpus(), len(asked))
    free: SimpleQueue[Callable[[Request], int]] = SimpleQueue()
    for _ in range(threads):
        free.put(material.task.inference.subject_counter())

    def count(place: int) -> int:
        path, counter = material.samples[place].picture, free.get()
        assert path is not None
        try:
            return counter(
                Request.read(path.read_bytes(), min_side=material.task.inference.min_side)
            )
        finally:
            free.put(counter)

    with (
        ThreadPoolExecutor(threads, thread_name_prefix="mien-subjects") as pool,
        closing(pool.map(count, asked)) as numbers,  # type: ignore[type-var]  # a generator
    ):
        return dict(zip(console.track(asked, "count subjects"), numbers, strict=True))


def joined(clusters: Iterable[Sequence[int]]) -> tuple[Cluster, ...]:
    """Clusters that share a member as one, each in order, by their first member."""
    leader: dict[int, int] = {}

    def lead(place: int) -> int:
        while leader.setdefault(place, place) != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for cluster in clusters:
        for place in cluster:
            one, other = lead(cluster[0]), lead(place)
            leader[max(one, other)] = min(one, other)
    members: dict[int, list[int]] = {}
    for place in sorted(leader):
        members.setdefault(lead(place), []).append(place)
    return tuple(tuple(each) for each in members.values() if len(each) > 1)


def _within(usable: Sequence[int], clusters: Iterable[Sequence[int]]) -> tuple[Cluster, ...]:
    among = set(usable)
    return joined([[place for place in each if place in among] for each in clusters])


def _usable(samples: Sequence[Sample], seen: Looks | None, places: Sequence[int]) -> list[int]:
    """What a training may read: not what cannot be decoded, nor what stands in no split of a set
    that is divided, for want of a label."""
    divided = any(each.split for each in samples)
    broken = {place for place, each in enumerate(samples) if divided and not each.split}
    if seen is not None:
        broken |= {place for row, place in enumerate(places) if not seen.readable[row]}
    return [place for place in range(len(samples)) if place not in broken]


def _near(
    samples: Sequence[Sample], seen: Looks | None, places: Sequence[int], alike: float
) -> list[tuple[int, ...]]:
    """Clusters of pictures that look alike, and of rows that are alike, as places of samples."""
    found: list[tuple[int, ...]] = []
    if seen is not None:
        found_alike = copies.near(seen, alike=alike)
        readable = [[row for row in cluster if seen.readable[row]] for cluster in found_alike]
        found += [tuple(places[row] for row in cluster) for cluster in readable if cluster]
    rows = [place for place, sample in enumerate(samples) if sample.values is not None]
    if rows:
        values = np.array([samples[place].values for place in rows], dtype=np.float64)
        found += [tuple(rows[each] for each in cluster) for cluster in copies.near_rows(values)]
    return found


def _groups(material: Material, places: Sequence[int]) -> list[str]:
    """What is known of samples that belong together: one person, or copies of one thing."""
    copy = {place: f"copy {cluster[0]}" for cluster in material.near for place in cluster}
    return [material.samples[place].person or copy.get(place, "") for place in places]


def _facts(material: Material, place: int) -> dict[str, str | float]:
    """What the task tells of a sample, and for a picture its file and its colours."""
    sample = material.samples[place]
    facts = dict(sample.facts)
    if material.looks is None or sample.picture is None:
        return facts
    row = material.rows[place]
    width, height = (int(side) for side in material.looks.size[row])
    red, green, blue = (float(value) for value in material.looks.colour[row])
    return {
        "type": sample.picture.suffix.lower(),
        "size": f"{width} x {height}",
        "red": red,
        "green": green,
        "blue": blue,
        "brightness": float(material.looks.brightness[row]),
        **facts,
    }
