"""What the checks look at: the task's inspection, image statistics and clusters of duplicates.

Everything is read once, while the version is unpacked. Clusters hold indices of `samples`. Samples
that a training never reads (unreadable, or without a split in a divided set) are in no cluster.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mien.config import Schema
from mien.errors import WeightsError
from mien.images.statistics import ImageStats
from mien.model import runtime
from mien.reporting import console
from mien.task import Inspection, Sample, Split, Task

from . import metadata_baseline, similarity
from .disjoint_set import merge_clusters
from .image_stats import compute_image_stats
from .metadata_baseline import MetadataBaseline

MAX_COUNTED_IMAGES = 500
"""Images in which subjects are counted: each costs milliseconds, and shares need no more."""
SEEN_SPLITS: Mapping[Split, Sequence[Split]] = {"val": ("train",), "test": ("train", "val")}
"""The splits that the model, or the choice of it, has seen before it is measured on a split."""
NO_LABEL = "no label"
Cluster = tuple[int, ...]
"""Indices of samples that are duplicates of each other, in order; at least two."""


@dataclass
class CheckContext:
    """A version of the data as the checks see it."""

    task: Task[Any]
    inspection: Inspection
    image_stats: ImageStats | None
    """One row for each sample that is an image; None where no sample is one."""
    stats_row: Mapping[int, int]
    """The row of `image_stats` by index of the sample."""
    duplicates: tuple[Cluster, ...]
    near_duplicates: tuple[Cluster, ...]
    """Every cluster of exact duplicates lies within one of these."""
    same_images: tuple[Cluster, ...]
    """Near duplicates that are one photo without doubt, not the same person a moment later: only
    these must carry one label."""
    subjects_required: bool = False
    """Whether a check that stops a training needs the number of subjects."""
    subject_count_error: str = field(default="", init=False)
    """Why subjects could not be counted; "" where they could, or were not needed."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a model of the data learns."""
        declared = self.inspection.labels
        return self.task.default_labels if declared is None else declared

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples of the inspection, in its order."""
        return self.inspection.samples

    @cached_property
    def metadata_baseline(self) -> MetadataBaseline | None:
        """How well labels are predicted from metadata alone; None without metadata."""
        indices = labelled(self)
        metadata = [_metadata(self, index) for index in indices]
        if not any(metadata):
            return None
        labels = [self.samples[index].labels[0] for index in indices]
        return metadata_baseline.measure(metadata, labels, _groups(self, indices))

    @property
    def measured_baseline(self) -> MetadataBaseline | None:
        """`metadata_baseline` where a check has asked for it."""
        measured: MetadataBaseline | None = vars(self).get("metadata_baseline")
        return measured

    @cached_property
    def subject_counts(self) -> dict[int, int]:
        """Number of subjects by index of the sample; empty where they cannot be counted.

        Raises:
            WeightsError: the detector's weights are not available, and a check requires them.
        """
        try:
            return _count_subjects(self)
        except WeightsError as error:  # weights of others: a machine may have no network
            if self.subjects_required:
                raise
            console.info(f"Subjects are not counted: {error}")
            self.subject_count_error = str(error)
            return {}

    def readable(self, index: int) -> bool:
        """Whether a sample is a row, or an image that can be decoded."""
        if self.image_stats is None or index not in self.stats_row:
            return True
        return bool(self.image_stats.readable[self.stats_row[index]])

    def leakage(
        self,
        clusters: Iterable[Cluster],
        seen_splits: Mapping[Split, Sequence[Split]] = SEEN_SPLITS,
    ) -> dict[int, int]:
        """Samples of the splits in `seen_splits` that share a cluster with a sample of a split
        listed there, and the first such sample."""
        leaked: dict[int, int] = {}
        for cluster in clusters:
            for index in cluster:
                split = self.samples[index].split
                earlier = seen_splits.get(split, ()) if split else ()
                twins = (each for each in cluster if self.samples[each].split in earlier)
                twin = next(twins, None)
                if twin is not None:
                    leaked[index] = twin
        return leaked


def build_context(task: Task[Any], raw: Path, params: Schema, cache: Path) -> CheckContext:
    """Read the raw data once: inspect them, compute image statistics, cluster duplicates.

    Raises:
        DataError: the task cannot read the data at all.
    """
    inspection = task.data.inspect(raw, params, cache)
    samples = inspection.samples
    paths = {index: each.image_path for index, each in enumerate(samples) if each.image_path}
    stats = compute_image_stats(list(paths.values()), task.inference.min_side) if paths else None
    images = list(paths)
    usable = _usable(samples, stats, images)
    exact = similarity.exact_duplicates([samples[index].digest for index in usable])
    duplicates = [tuple(usable[each] for each in cluster) for cluster in exact]

    def merged(near: Sequence[Sequence[int]]) -> tuple[Cluster, ...]:
        among = set(usable)
        groups = [[each for each in group if each in among] for group in (*duplicates, *near)]
        return tuple(map(tuple, merge_clusters(groups, len(samples))))

    near, same = _near_duplicates(samples, stats, images)
    return CheckContext(
        task=task,
        inspection=inspection,
        image_stats=stats,
        stats_row={index: row for row, index in enumerate(images)},
        duplicates=tuple(duplicates),
        near_duplicates=merged(near),
        same_images=merged(same),
    )


def train_leakage(context: CheckContext) -> dict[str, tuple[str, ...]]:
    """`exact` and `near`: val and test samples that have such a duplicate in train."""
    train: Mapping[Split, Sequence[Split]] = {"val": ("train",), "test": ("train",)}
    clusters = (context.duplicates, context.near_duplicates)
    exact, near = (context.leakage(each, train) for each in clusters)
    return {
        "exact": tuple(context.samples[index].name for index in exact),
        "near": tuple(context.samples[index].name for index in near if index not in exact),
    }


def labelled(context: CheckContext) -> list[int]:
    """Indices of readable samples with a label that a model learns."""
    return [
        index
        for index, sample in enumerate(context.samples)
        if sample.labels and sample.labels[0] in context.labels and context.readable(index)
    ]


def label_counts(context: CheckContext) -> dict[str, dict[str, int]]:
    """Subjects by split and label, those that a model learns first.

    Without any split everything counts as train; beside others, samples without a split are unused.
    """
    samples, labels = context.samples, context.labels
    divided = any(sample.split for sample in samples)
    counts: dict[str, dict[str, int]] = {}
    for sample in samples:
        of_split = counts.setdefault(sample.split or ("unused" if divided else "train"), {})
        for label in sample.labels or (NO_LABEL,):
            of_split[label] = of_split.get(label, 0) + 1
    unknown = sorted({label for each in counts.values() for label in each} - set(labels))
    return {
        split: {label: counts[split].get(label, 0) for label in (*labels, *unknown)}
        for split in ("train", "val", "test", "unused")
        if split in counts
    }


def _count_subjects(context: CheckContext) -> dict[int, int]:
    """Count subjects in a bounded selection of labelled images, by index of the sample.

    The selection follows the digests: it is the same wherever the data lie, and in random order.
    """
    make_counter = context.task.inference.subject_counter
    if make_counter is None:
        return {}
    by_digest = {
        sample.digest: index
        for index, sample in reversed(list(enumerate(context.samples)))
        if sample.image_path and sample.labels and context.readable(index)
    }
    selected = [by_digest[digest] for digest in sorted(by_digest)[:MAX_COUNTED_IMAGES]]

    def make_worker() -> Callable[[int], int]:
        counter = make_counter()

        def count(index: int) -> int:
            path = context.samples[index].image_path
            assert path is not None
            return counter(context.task.inference.read(path.read_bytes()))

        return count

    counts = runtime.map_threads(selected, make_worker)
    return dict(zip(console.track(selected, "count subjects"), counts, strict=True))


def _usable(samples: Sequence[Sample], stats: ImageStats | None, images: list[int]) -> list[int]:
    """Indices that a training may read: no unreadable image, and no sample without a split in a
    divided set (it lacks a label)."""
    divided = any(each.split for each in samples)
    skipped = {index for index, each in enumerate(samples) if divided and not each.split}
    if stats is not None:
        skipped |= {index for row, index in enumerate(images) if not stats.readable[row]}
    return [index for index in range(len(samples)) if index not in skipped]


def _near_duplicates(
    samples: Sequence[Sample], stats: ImageStats | None, images: list[int]
) -> tuple[list[list[int]], list[list[int]]]:
    """Clusters of near-duplicate images, and of those that are one photo without doubt; both with
    the clusters of near-duplicate rows; as indices of samples."""
    row_clusters: list[list[int]] = []
    rows = [index for index, sample in enumerate(samples) if sample.values is not None]
    if rows:
        values = np.array([samples[index].values for index in rows], dtype=np.float64)
        near_rows = similarity.near_duplicate_rows(values)
        row_clusters = [[rows[each] for each in cluster] for cluster in near_rows]
    if stats is None:
        return row_clusters, row_clusters
    limits = (similarity.NEAR_DUPLICATE_CORRELATION, similarity.SAME_IMAGE_CORRELATION)
    near, same = (
        [[images[row] for row in cluster if stats.readable[row]] for cluster in clusters]
        for clusters in similarity.near_duplicate_clusters(stats, limits)
    )
    return [*filter(None, near), *row_clusters], [*filter(None, same), *row_clusters]


def _groups(context: CheckContext, indices: Sequence[int]) -> list[str]:
    """The person of each sample, or its cluster of near duplicates; "" where it has neither."""
    cluster_of = {
        index: f"duplicate {cluster[0]}" for cluster in context.near_duplicates for index in cluster
    }
    return [context.samples[index].person or cluster_of.get(index, "") for index in indices]


def _metadata(context: CheckContext, index: int) -> dict[str, str | float]:
    """The task's metadata of a sample; for an image also file type, size and colours."""
    sample = context.samples[index]
    metadata = dict(sample.metadata)
    stats = context.image_stats
    if stats is None or sample.image_path is None:
        return metadata
    row = context.stats_row[index]
    width, height = (int(side) for side in stats.size[row])
    red, green, blue = (float(value) for value in stats.mean_rgb[row])
    return {
        "type": sample.image_path.suffix.lower(),
        "size": f"{width} x {height}",
        "red": red,
        "green": green,
        "blue": blue,
        "brightness": float(stats.brightness[row]),
        **metadata,
    }
