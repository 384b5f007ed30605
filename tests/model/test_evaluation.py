"""Promises of `model.evaluation`: what was measured is stored and read back as it was."""

from math import inf
from pathlib import Path

import pytest
from measured import candidate, scores, variant

from mien.config import Policy
from mien.errors import MienError
from mien.model.evaluation import CpuRatio, Evaluation
from mien.storage.workspace import RESULT


def evaluation() -> Evaluation:
    rows = (candidate("net", test_leak_free=scores(0.5)), variant("net", 0.8, 0.25))
    return Evaluation(
        task="emotion",
        trained="trained",
        data="data",
        policy=Policy(),
        choice="net-int8",
        candidates=rows,
    )


def test_an_evaluation_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Types, variants and absent scores included."""
    made = evaluation()
    made.write(tmp_path)
    assert Evaluation.read(tmp_path) == made
    assert "map50" not in (tmp_path / RESULT).read_text(), "a score that the task does not have"


def test_a_cost_that_was_not_measured_is_read_back(tmp_path: Path) -> None:
    """Its interval has no end, which JSON cannot say."""
    cost = CpuRatio(median=0.0, low=0.0, high=inf, pairs=0)
    made = evaluation().model_copy(update={"candidates": (candidate("net", cpu_cost=cost),)})
    made.write(tmp_path)
    assert "Infinity" not in (tmp_path / RESULT).read_text()
    assert Evaluation.read(tmp_path) == made


def test_an_evaluation_knows_its_choice_and_bases() -> None:
    """A variant's base is the candidate that it was made from."""
    chosen = evaluation().chosen
    assert chosen is not None
    assert (chosen.candidate, chosen.base) == ("net-int8", "net")


def test_the_tracker_shows_the_key_numbers_first() -> None:
    """MLflow sorts by name: eight to compare by, then all in groups, without texts."""
    flat = candidate("net", test_leak_free=scores(0.5)).flat()
    assert flat["val/macro_f1"] == 0.9
    assert flat["test_leak_free/accuracy"] == 0.5
    assert flat["time/cpu_cost_median"] == flat["key/cpu_cost"] == 1.0
    assert [name.startswith("key/") for name in sorted(flat)] == [True] * 8 + [False] * (
        len(flat) - 8
    )
    assert "test/map50" not in flat
    assert "candidate" not in flat


@pytest.mark.parametrize("text", ["", "{}", '{"choice": "svm", "candidates": [], "bake_off": []}'])
def test_a_document_of_another_version_says_what_to_do(tmp_path: Path, text: str) -> None:
    """One message, whatever is wrong with it."""
    (tmp_path / RESULT).write_text(text)
    with pytest.raises(MienError, match="Evaluate again"):
        Evaluation.read(tmp_path)
