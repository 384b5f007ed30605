"""A new version of the champion's data with the samples that people reviewed, and a test of others.

The digest of a sample's content decides whether it is in the test of reviewed samples: the same
answer in every training, and copies of one input come together. The test stays in the review store,
encrypted, and expires with it. Every sample of the champion's data keeps its split.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.errors import DataError
from mien.observability.review import store
from mien.observability.review.labels import agreed
from mien.observability.review.sample import Reviewed
from mien.observability.review.store import ReviewStore
from mien.stages import Run
from mien.storage.versions import OPEN, Version
from mien.task import Inspection, RepairPlan, Sample

TEST_PARTS = 4
"""One of so many reviewed samples is in the test of reviewed samples."""
_TRACE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


@dataclass(frozen=True)
class ReviewedData:
    """The new version, and what became of the reviewed samples."""

    version: Version
    train: tuple[Reviewed, ...]
    test: tuple[Reviewed, ...]
    left_out: Mapping[str, int]
    """Reviewed samples in neither, by reason."""
    removed: int
    """Samples of earlier trainings that `mien forget` deleted, or that have another label now."""


def add_reviewed(run: Run, base: Version, samples: ReviewStore) -> ReviewedData:
    """Make the version of a base version and the reviewed samples of a run's task.

    Raises:
        DataError: there is no reviewed sample to train on, the task or the form of the data takes
            none, or a sample of the base would come into another split.
        ReviewError: a sample cannot be read.
    """
    if run.task.data.add_reviewed is None:
        raise DataError(
            f"The task {run.task.name} takes no reviewed samples: expected add_reviewed in its "
            "TaskData, found none. Add a function that writes them into its raw data."
        )
    reviewed = _reviewed(samples, run.task.name)
    with (
        run.store.unpacked(base) as raw,
        TemporaryDirectory(prefix=f"{OPEN}retrain.", dir=run.store.folder) as temporary,
    ):
        before = run.task.data.inspect(raw, run.data_params, run.cache)
        present = {path.stem for path in store.paths(samples.folder, run.task.name)}
        stale = _named(before, present | store.deleted(samples.folder))
        plan = RepairPlan(drop=frozenset(stale), repair=False)
        everything = _write(run, raw, Path(temporary, "all"), plan, reviewed)
        train, test, left_out = _divide(reviewed, before, stale, everything)
        out = Path(temporary, "out")
        after = _write(run, raw, out, plan, train)
        _require_same_splits(before, stale, after, {each.sample.trace_id for each in train})
        version = run.store.add_folder(out, f"reviewed: {len(train):,} samples", base)
    current = {each.sample.trace_id for each in train}
    removed = len(stale) - len(_named(before, current))
    return ReviewedData(version, tuple(train), tuple(test), left_out, removed)


def _reviewed(samples: ReviewStore, task: str) -> list[Reviewed]:
    answers, _ = agreed(samples.labels(task).latest())
    reviewed = [
        Reviewed(each, answers[each.trace_id])
        for each in samples.read_all(task)
        if each.trace_id in answers
    ]
    if not reviewed:
        raise DataError(
            f"{task}: expected samples with a label on which all reviewers agree, found none. "
            "Label some with `mien review`."
        )
    return reviewed


def _write(
    run: Run, raw: Path, out: Path, plan: RepairPlan, samples: Sequence[Reviewed]
) -> Inspection:
    """Write the base with samples, and read it back."""
    data, params = run.task.data, run.data_params
    assert data.add_reviewed is not None
    out.mkdir()
    data.repair(raw, out, plan, params, run.cache)
    data.add_reviewed(out, samples, params)
    return data.inspect(out, params, run.cache)


def _divide(
    reviewed: Sequence[Reviewed], before: Inspection, stale: Set[str], everything: Inspection
) -> tuple[list[Reviewed], list[Reviewed], dict[str, int]]:
    """Samples for train, for the test of reviewed samples, and the count of others by reason.

    Raises:
        DataError: none is left for train.
    """
    digests = {
        trace_id: each.digest for each in everything.samples for trace_id in _trace_ids(each)
    }
    splits: dict[bool, set[str]] = {True: set(), False: set()}
    for each in before.samples:
        if each.name not in stale:
            splits[each.split == "train"].add(each.digest)
    train, test, left_out = [], [], Counter[str]()
    for item in reviewed:
        digest = digests.get(item.sample.trace_id)
        if digest is None:
            left_out["of a form that these data cannot hold"] += 1
        elif is_for_test(digest):
            if digest in splits[True]:
                left_out["for the test, and equal to a sample of train"] += 1
            else:
                test.append(item)
        elif digest in splits[False]:
            left_out["equal to a sample of val or test"] += 1
        else:
            train.append(item)
    if not train:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"expected reviewed samples to train on, found none: {len(test):,} are in the test of "
            f"reviewed samples{'; ' * bool(reasons)}{reasons}. Label more with `mien review`."
        )
    return train, test, dict(left_out)


def is_for_test(digest: str) -> bool:
    """Whether a sample with this SHA-256 is in the test of reviewed samples, now and always."""
    return int(digest[:16], 16) % TEST_PARTS == 0


def _require_same_splits(
    before: Inspection, stale: Set[str], after: Inspection, added: Set[str]
) -> None:
    expected = Counter(_state(each) for each in before.samples if each.name not in stale)
    own = Counter(_state(each) for each in after.samples if not added & _trace_ids(each))
    if expected != own:
        raise DataError(
            f"The champion's data: expected every sample in its split, found "
            f"{(expected - own).total():,} with another split, label or content. Nothing was "
            "stored. Export the samples with `mien review export` and add them to the source."
        )


def _state(sample: Sample) -> tuple[object, ...]:
    return sample.digest, tuple(sorted(sample.labels)), sample.split


def _named(inspection: Inspection, trace_ids: Set[str]) -> set[str]:
    """Names of the samples that reviews added, with one of these trace_ids."""
    return {each.name for each in inspection.samples if trace_ids & _trace_ids(each)}


def _trace_ids(sample: Sample) -> set[str]:
    return set(_TRACE_ID.findall(sample.name))
