"""The learning-rate schedule: warm-up to the peak, then a cosine decay, in each phase."""

import pytest

from mien.tasks.emotion.lr_schedule import FINAL_LR_RATIO, learning_rate
from mien.tasks.emotion.recipe import Recipe

RECIPE = Recipe(epochs=10, pretrain_epochs=4, warmup_epochs=1, lr=0.1, pretrain_lr=0.02)


@pytest.mark.parametrize(
    ("epoch", "fraction", "expected"),
    [
        (0, 0.0, 0.02 * FINAL_LR_RATIO),
        (0, 0.5, 0.01),
        (1, 0.0, 0.02),
        (4, 0.5, 0.05),
        (5, 0.0, 0.1),
        (13, 1.0, 0.1 * FINAL_LR_RATIO),
    ],
)
def test_each_phase_warms_up_and_decays(epoch: int, fraction: float, expected: float) -> None:
    """Pretraining ends after epoch 4, the detector phase after epoch 14."""
    assert learning_rate(RECIPE, epoch, fraction) == pytest.approx(expected)


def test_the_rate_only_falls_after_warm_up() -> None:
    """Over the steps of the detector phase."""
    rates = [learning_rate(RECIPE, epoch, step / 8) for epoch in range(5, 14) for step in range(8)]
    assert rates == sorted(rates, reverse=True)


def test_warm_up_takes_at_most_half_of_a_short_phase() -> None:
    """Otherwise a run of one epoch would never reach its peak."""
    recipe = RECIPE.model_copy(update={"epochs": 1, "pretrain_epochs": 0, "warmup_epochs": 5})
    assert learning_rate(recipe, 0, 0.5) == pytest.approx(0.1)
