"""Samples on disk: unreadable without the key, bounded, and gone when they are deleted."""

import time
from pathlib import Path

import pytest

from mien.errors import ConfigError, ReviewError
from mien.observability.review import store
from mien.observability.review.labels import Label, Verdict
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import DAY_S, ReviewStore

KEY, OTHER = "ab" * 32, "cd" * 32
NOW = 1_800_000_000.0


def trace_id(days_ago: float = 0.0, number: int = 0, now: float = NOW) -> str:
    return f"{int(1000 * (now - days_ago * DAY_S)):012x}{number:020x}"


def sample(name: str, task: str = "gesture", secret: str = "") -> ReviewSample:
    return ReviewSample(
        trace_id=name,
        task=task,
        kind="landmarks",
        timestamp=int(name[:12], 16) / 1000,
        version="3",
        digest="d",
        label="like",
        scores={"like": 0.5, "fist": 0.4},
        reasons=("uncertain",),
        body={"landmarks": [[1.0, 2.0, 3.0]], "note": secret},
    )


def labelled(name: str, reviewer: str = "ann", verdict: Verdict = "skip") -> Label:
    return Label(trace_id=name, reviewer=reviewer, timestamp=NOW, verdict=verdict)


def test_a_sample_comes_back_as_it_was(tmp_path: Path) -> None:
    """Also by another process with the same key; a second one of the same answer replaces it."""
    name = trace_id()
    ReviewStore(tmp_path, KEY).add(sample(name, secret="one"))
    ReviewStore(tmp_path, KEY).add(sample(name, secret="two"))
    assert list(ReviewStore(tmp_path, KEY).read_all("gesture")) == [sample(name, secret="two")]
    assert store.size(tmp_path)[0] == 1


def test_nothing_on_disk_can_be_read_without_the_key(tmp_path: Path) -> None:
    """No file holds a part of the content, and only the user may open one."""
    ReviewStore(tmp_path, KEY).add(sample(trace_id(), secret="a-part-of-the-content"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        content = path.read_bytes()
        assert b"a-part-of-the-content" not in content
        assert b"landmarks" not in content
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("key", ["", "ab", "xy" * 32, "ab" * 33])
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, key: str) -> None:
    """It may be a key with a typing error."""
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as error:
        ReviewStore(tmp_path, key)
    assert not key or key not in str(error.value).replace("64 hexadecimal", "")


def test_a_wrong_key_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Not at the first sample, which might be read a month later."""
    ReviewStore(tmp_path, KEY).add(sample(trace_id()))
    with pytest.raises(ConfigError, match="found another one"):
        ReviewStore(tmp_path, OTHER)


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    """A copied or damaged file is no sample of that answer."""
    kept, (one, other) = ReviewStore(tmp_path, KEY), (trace_id(number=1), trace_id(number=2))
    kept.add(sample(one))
    path = tmp_path / "gesture" / f"{one}.sample"
    path.with_name(f"{other}.sample").write_bytes(path.read_bytes())
    with pytest.raises(ReviewError, match="damaged file"):
        kept.read("gesture", other)
    path.write_bytes(b"short")
    with pytest.raises(ReviewError, match="damaged file"):
        kept.read("gesture", one)


def test_old_samples_are_deleted_with_their_labels(tmp_path: Path) -> None:
    """By the time in their names, so without the key."""
    kept, (old, new) = ReviewStore(tmp_path, KEY), (trace_id(days_ago=8), trace_id(days_ago=6))
    for name in (old, new):
        kept.add(sample(name))
        kept.labels("gesture").add(labelled(name))
    assert store.prune(tmp_path, 7, 100, NOW) == 1
    assert [each.trace_id for each in kept.read_all("gesture")] == [new]
    assert kept.labels("gesture").trace_ids() == {new}
    assert old not in (tmp_path / "gesture" / "labels.jsonl").read_text()


def test_the_oldest_are_deleted_where_all_are_too_large(tmp_path: Path) -> None:
    """Of any task, until the rest fits."""
    kept = ReviewStore(tmp_path, KEY)
    names = [trace_id(days_ago=3 - number) for number in range(3)]
    sizes = [
        kept.add(sample(name, task)) for name, task in zip(names, ("b", "a", "b"), strict=True)
    ]
    assert store.prune(tmp_path, 30, (sizes[1] + sizes[2]) / 1e6, NOW) == 1
    assert [path.stem for path in store.paths(tmp_path)] == names[1:]


def test_a_day_is_counted_by_task(tmp_path: Path) -> None:
    """Of the present day only, by UTC."""
    kept = ReviewStore(tmp_path, KEY)
    for days_ago, number, task in ((0, 1, "a"), (0, 2, "a"), (1, 3, "a"), (0, 4, "b")):
        kept.add(sample(trace_id(days_ago, number), task))
    assert store.count_today(tmp_path, "a", NOW) == 2


def test_a_deleted_sample_stays_deleted(tmp_path: Path) -> None:
    """Also where a server that still has it in memory stores it later; labels go too."""
    kept, name = ReviewStore(tmp_path, KEY), trace_id(now=time.time())
    kept.add(sample(name))
    kept.labels("gesture").add(labelled(name))
    assert store.forget(tmp_path, name) == ["gesture"]
    assert kept.add(sample(name)) == 0
    assert store.paths(tmp_path) == []
    assert kept.labels("gesture").trace_ids() == set()
    assert store.forget(tmp_path, name) == []


def test_what_is_only_in_memory_stays_deleted(tmp_path: Path) -> None:
    """Also before anything was stored; the mark goes when no server can have it any more."""
    name = trace_id()
    assert store.forget(tmp_path, name) == []
    assert ReviewStore(tmp_path, KEY).add(sample(name)) == 0
    store.prune(tmp_path, 30, 100, NOW + 31 * DAY_S)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_the_last_word_of_a_reviewer_counts(tmp_path: Path) -> None:
    """And an undone one does not; half a line, as a kill leaves it, is no word."""
    labels = ReviewStore(tmp_path, KEY).labels("gesture")
    one, two = trace_id(number=1), trace_id(number=2)
    labels.add(labelled(one), labelled(one, verdict="nothing"), labelled(one, "bob"))
    labels.add(labelled(two), labelled(two, verdict="undo"))
    with labels.path.open("a") as file:
        file.write('{"trace_id": "')
    found = {key: each.verdict for key, each in labels.latest().items()}
    assert found == {(one, "ann"): "nothing", (one, "bob"): "skip"}
