"""Shortcuts: facts that reveal the label differ from facts that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.stages.check.checks import spurious_correlation
from mien.stages.check.metadata_baseline import Metadata, measure

LABELS = ("happy", "sad", "angry", "fear")


def _labels(count: int, seed: int = 0) -> list[str]:
    return list(np.random.default_rng(seed).choice(LABELS, count))


def _idle(count: int) -> list[dict[str, str | float]]:
    """Facts that hang on nothing."""
    rng = np.random.default_rng(1)
    return [
        {"type": str(rng.choice(["jpg", "png"])), "red": float(rng.normal()), "size": "96 x 96"}
        for _ in range(count)
    ]


def test_facts_that_say_nothing_give_about_the_majority() -> None:
    """Neither all facts nor any single one is right more often than chance."""
    found = measure(_idle(2000), _labels(2000))
    assert found.majority == pytest.approx(0.25, abs=0.03)
    assert found.accuracy == pytest.approx(found.majority, abs=0.05)
    assert found.chance == pytest.approx(found.majority, abs=0.05)
    assert {name for name, _ in found.by_feature} == {"type", "red", "size"}
    assert all(accuracy < found.majority + 0.05 for _, accuracy in found.by_feature)


def test_a_label_tied_to_the_file_type_is_found() -> None:
    """Where each label has a file type of its own, the type alone reveals it."""
    labels = _labels(600)
    facts = [{**each, "type": label[:2]} for each, label in zip(_idle(600), labels, strict=True)]
    found = measure(facts, labels)
    assert found.accuracy > 0.99
    assert found.by_feature[0] == ("type", pytest.approx(1.0))
    assert found.chance < 0.4


def test_a_number_and_two_facts_together_are_found() -> None:
    """A threshold on a number counts, and so does what only two facts together reveal."""
    rng = np.random.default_rng(0)
    bright, source = rng.random(1500), rng.choice(["ffhq", "image"], 1500)
    labels = [
        LABELS[int(value > 0.5) + 2 * int(name == "ffhq")]
        for value, name in zip(bright, source, strict=True)
    ]
    facts: list[Metadata] = [
        {"brightness": float(value), "source": str(name)}
        for value, name in zip(bright, source, strict=True)
    ]
    found = measure(facts, labels)
    assert found.accuracy > 0.97
    assert dict(found.by_feature)["brightness"] == pytest.approx(0.5, abs=0.06)


def test_facts_may_be_missing_and_values_single() -> None:
    """A fact that only some samples have is used; one of which no two have the same is not."""
    labels = _labels(800)
    facts = [
        {
            "name": f"{place}.jpg",
            **({"size": 512.0 if label == "sad" else 96.0} if place % 2 else {}),
        }
        for place, label in enumerate(labels)
    ]
    alone = dict(measure(facts, labels).by_feature)
    assert alone["name"] < 0.32
    assert alone["size"] > 0.33


def test_a_group_is_never_both_seen_and_asked_for() -> None:
    """Ten pictures of each person share a colour: it names the person, not the label."""
    rng = np.random.default_rng(0)
    people = [f"p{number // 10}" for number in range(1000)]
    tone = dict(zip(sorted(set(people)), rng.permutation(100).tolist(), strict=True))
    label = dict(zip(sorted(set(people)), rng.choice(LABELS, 100).tolist(), strict=True))
    facts = [{"red": float(tone[person])} for person in people]
    labels = [label[person] for person in people]
    assert measure(facts, labels, people).accuracy < 0.45
    assert measure(facts, labels).accuracy > 0.5


def test_the_answer_is_always_the_same_and_bounded_in_work() -> None:
    """Twice the same of more samples than are asked, and close to that of all."""
    labels = _labels(12_000)
    facts = [{"type": label if place % 2 else "jpg"} for place, label in enumerate(labels)]
    found = measure(facts, labels)
    assert found == measure(facts, labels)
    assert found.accuracy == pytest.approx(0.625, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_the_facts_are_shares_come_out(data: st.DataObject) -> None:
    """Words, numbers that are none, and nothing at all: every answer is a share, and no error."""
    values = st.one_of(st.floats(), st.sampled_from(["jpg", "png", ""]))
    fact = st.dictionaries(st.sampled_from(["type", "red", "size"]), values)
    facts = data.draw(st.lists(fact, min_size=1, max_size=30))
    labels = data.draw(st.lists(st.sampled_from(LABELS), min_size=len(facts), max_size=len(facts)))
    found = measure(facts, labels)
    shares = [
        found.accuracy,
        found.majority,
        found.chance,
        *(share for _, share in found.by_feature),
    ]
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize(("classes", "each"), [(4, 15), (8, 50)])
def test_one_label_with_a_file_type_of_its_own_is_found_among_idle_numbers(
    classes: int, each: int
) -> None:
    """As many samples of every label, so that the commonest says nothing."""
    rng = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(classes) for _ in range(each)]
    facts: list[Metadata] = [
        {
            "type": ".png" if label == "label 0" else ".jpg",
            **{name: float(rng.normal()) for name in ("red", "green", "blue", "brightness")},
        }
        for label in labels
    ]
    found = measure(facts, labels)
    assert found.accuracy > found.majority + spurious_correlation.CHECK.limit


@pytest.mark.parametrize("facts", [[{}, {}, {}], [{"type": "jpg"}] * 3])
def test_nothing_to_go_by_is_the_majority(facts: list[Metadata]) -> None:
    """Without facts, or with one that is the same for all, nothing is claimed."""
    found = measure(facts, ["happy", "happy", "happy"])
    assert found.accuracy == found.majority == 1.0


def test_every_sample_has_facts_and_a_label() -> None:
    """Lists of different lengths, and empty ones, are refused."""
    with pytest.raises(ValueError, match="found 1 rows and 2 labels"):
        measure([{"type": "jpg"}], ["happy", "sad"])
    with pytest.raises(ValueError, match="found 0 rows and 0 labels"):
        measure([], [])
