"""The queue of a reviewer: what comes first, what is stored, and how far reviewers agree."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien import tasks
from mien.errors import ConfigError, RequestError, ReviewError
from mien.observability.review.sample import ReviewSample
from mien.observability.review.store import ReviewStore
from mien.stages import review
from mien.stages.review import value
from mien.stages.review.agreement import cohen_kappa
from mien.stages.review.prelabel import Prelabels
from mien.stages.review.session import LabelRequest, ReviewSession
from mien.storage.workspace import Workspace

Keep = Callable[..., ReviewSample]


def say(
    session: ReviewSession, sample: ReviewSample, verdict: str, label: str | None = None
) -> None:
    request = {
        "task": sample.task,
        "trace_id": sample.trace_id,
        "verdict": verdict,
        "label": label,
    }
    session.say(LabelRequest.model_validate(request))


def waiting(session: ReviewSession, task: str = "gesture") -> list[str]:
    return [each.trace_id for each in session.queue(task).entries]


def test_the_most_valuable_sample_comes_first(store: ReviewStore, keep: Keep) -> None:
    """Wrong by feedback, then uncertain and drifting, then uncertain, then less so."""
    sure = keep(scores={"like": 0.9, "fist": 0.1}, reasons=("drift",))
    doubtful = keep(scores={"like": 0.5, "fist": 0.5})
    drifting = keep(scores={"like": 0.5, "fist": 0.5}, reasons=("uncertain", "drift"))
    wrong = keep(scores={"like": 0.5, "fist": 0.5}, reasons=("uncertain", "wrong"))
    order = [each.trace_id for each in (wrong, drifting, doubtful, sure)]
    assert waiting(ReviewSession(store, "ann")) == order


def test_a_sample_unlike_its_neighbours_comes_first(store: ReviewStore, keep: Keep) -> None:
    """Among hands that are equally uncertain."""
    for _ in range(6):
        keep()
    odd = keep(scores={"palm": 0.5, "fist": 0.4, "like": 0.1})
    assert waiting(ReviewSession(store, "ann"))[0] == odd.trace_id


def test_disagreement_is_that_of_a_plain_search() -> None:
    """Against the same by sorting all distances."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(40, 6)).astype(np.float32)
    names = [str(each) for each in chance.integers(0, 3, 40)]
    expected = []
    for index, row in enumerate(rows):
        order = np.argsort(((rows - row) ** 2).sum(axis=1))
        nearest = [each for each in order if each != index][: value.NEIGHBOURS]
        expected.append(np.mean([names[each] != names[index] for each in nearest]))
    assert value.disagreement(rows, names).tolist() == pytest.approx(expected)


def test_a_label_is_stored_with_its_reviewer_and_time(store: ReviewStore, keep: Keep) -> None:
    """And leaves the queue of that reviewer only; others do not see it."""
    one, two = keep(), keep()
    ann, bob = ReviewSession(store, "ann"), ReviewSession(store, "bob")
    say(ann, one, "label", "fist")
    say(ann, two, "nothing")
    assert waiting(ann) == []
    assert set(waiting(bob)) == {one.trace_id, two.trace_id}
    assert ann.queue("gesture").reviewed == 2
    stored = store.labels("gesture").latest()
    assert stored[one.trace_id, "ann"].label == "fist"
    assert stored[two.trace_id, "ann"].verdict == "nothing"
    assert stored[one.trace_id, "ann"].timestamp >= one.timestamp


def test_what_is_undone_comes_back(store: ReviewStore, keep: Keep) -> None:
    """At its old place in the queue."""
    sample, session = keep(), ReviewSession(store, "ann")
    say(session, sample, "skip")
    say(session, sample, "undo")
    assert waiting(session) == [sample.trace_id]


@pytest.mark.parametrize(
    ("verdict", "label"), [("label", None), ("label", "happy"), ("skip", "fist")]
)
def test_a_label_of_another_task_is_refused(
    store: ReviewStore, keep: Keep, verdict: str, label: str | None
) -> None:
    """And nothing is stored."""
    session, sample = ReviewSession(store, "ann"), keep()
    with pytest.raises(RequestError, match=r"expected one of like, fist, palm"):
        say(session, sample, verdict, label)
    assert store.labels("gesture").latest() == {}


def test_a_sample_that_was_deleted_meanwhile_is_an_error(
    workspace: Workspace, store: ReviewStore, keep: Keep
) -> None:
    """Its label would else come back after it was forgotten."""
    session, sample = ReviewSession(store, "ann"), keep()
    assert review.forget(sample.trace_id, workspace) == ["gesture"]
    with pytest.raises(ReviewError, match="expected a sample of gesture, found none"):
        say(session, sample, "label", "fist")


def test_every_label_has_a_key_of_its_own(store: ReviewStore, keep: Keep) -> None:
    """Eighteen gestures fit on a keyboard, beside skip, nothing and undo."""
    names = [f"gesture_{number}" for number in range(18)]
    keep(scores=dict.fromkeys(names, 0.05) | {"gesture_0": 0.15})
    queue = ReviewSession(store, "ann").queue("gesture")
    assert queue.labels == tuple(names)
    assert len(set(queue.keys) - set("snu")) == len(names)


def test_a_face_is_shown_as_its_crop_and_a_hand_as_points(store: ReviewStore, keep: Keep) -> None:
    """Points fill a square, whatever their unit."""
    session = ReviewSession(store, "ann")
    face, hand = keep("emotion"), keep()
    fractions = keep(
        body={"landmarks": [[0.1, 0.2, 0], [0.2, 0.4, 0]], "width": 400, "height": 100}
    )
    view = session.view("emotion", face.trace_id)
    assert (view.width, view.height, view.points) == (60, 80, ())
    assert view.box == (10, 10, 50, 70)
    assert len(session.view("gesture", hand.trace_id).points) == 21
    (x1, y1), (x2, y2) = session.view("gesture", fractions.trace_id).points
    assert (x2 - x1) / (y2 - y1) == pytest.approx(40 / 20)


def test_the_champion_suggests_a_label(store: ReviewStore, keep: Keep, served_home: Path) -> None:
    """For samples that an earlier model answered."""
    sample = keep(label="fist", scores={"fist": 1.0, "like": 0.0})
    home = Workspace(served_home)
    prelabels = {"gesture": Prelabels(tasks.load("gesture"), home)}
    view = ReviewSession(store, "ann", prelabels).view("gesture", sample.trace_id)
    assert view.suggestion == "like"
    assert view.suggested_by == str(home.aliases("gesture")["champion"])
    assert len(view.scores) == 18


@pytest.mark.parametrize("seed", range(3))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    """On random answers, some of them 'nothing'."""
    from sklearn.metrics import cohen_kappa_score

    chance = np.random.default_rng(seed)
    answers = np.array(["a", "b", "c", None])[chance.integers(0, 4, (50, 2))].tolist()
    one, other = ([str(each) for each in column] for column in zip(*answers, strict=True))
    expected = cohen_kappa_score(one, other)
    assert cohen_kappa([(a, b) for a, b in answers]) == pytest.approx(expected)


def test_reviewers_agree_on_what_both_decided(store: ReviewStore, keep: Keep) -> None:
    """Skipped samples do not count; kappa of always the same answer is not defined."""
    samples = [keep() for _ in range(4)]
    ann, bob = ReviewSession(store, "ann"), ReviewSession(store, "bob")
    for sample, one, other in zip(samples, ("like", "like", "fist", "fist"), "aabs", strict=True):
        say(ann, sample, "label", one)
        if other == "s":
            say(bob, sample, "skip")
        else:
            say(bob, sample, "label", {"a": "like", "b": "palm"}[other])
    report = ann.agreement("gesture")
    (pair,) = report.pairs
    assert (pair.one, pair.other, pair.samples) == ("ann", "bob", 3)
    assert pair.observed == pytest.approx(2 / 3)
    assert pair.kappa == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert (report.agreed, report.disputed) == (3, 1)
    assert cohen_kappa([("a", "a")] * 5) is None


def test_a_name_that_no_file_should_hold_is_refused() -> None:
    """It is written into lines and shown on pages."""
    assert review.reviewer_name("Ann B. <> ".strip("<> ")) == "Ann B."
    with pytest.raises(ConfigError, match="--reviewer"):
        review.reviewer_name("<script>")
