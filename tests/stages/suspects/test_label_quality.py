"""Scores of labels by hand-made numbers, and folds that keep groups together."""

import numpy as np
import pytest

from mien.stages.suspects import label_quality

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]])
CLASSES = np.array([0, 0, 1, 2])


def test_self_confidence_is_the_score_of_the_given_label() -> None:
    """The second sample is called 0 and looks like 1."""
    own = label_quality.self_confidence(SCORES, CLASSES)
    assert own.tolist() == [0.9, 0.2, 0.3, 0.9]


def test_normalized_margin_compares_with_the_best_other_label() -> None:
    """The third one is hardly more like 2 than like 1."""
    margin = label_quality.normalized_margin(SCORES, CLASSES)
    assert margin == pytest.approx([0.8, -0.5, -0.1, 0.85])


def test_confident_joint_puts_samples_off_its_diagonal_first() -> None:
    """Thresholds are 0.55, 0.3 and 0.9: only the second sample counts for another label."""
    ranked = label_quality.confident_joint(SCORES, CLASSES)
    assert ranked == pytest.approx([0.8, -2.5, -0.1, 0.85])


def test_a_sample_is_judged_without_its_group() -> None:
    """Copies of one sample would vouch for each other's wrong label."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(40, 4)), 2, axis=0).astype(np.float32)
    features[:, 0] += 6 * (np.arange(80) >= 40)
    classes = (np.arange(80) >= 40).astype(np.int64)
    classes[:2] = 1  # both copies of the first sample
    groups = [str(number // 2) for number in range(80)]
    together = label_quality.out_of_fold_scores(features, classes, groups, 0)
    apart = label_quality.out_of_fold_scores(features, classes, list(map(str, range(80))), 0)
    assert together[0, 1] < 0.5 < apart[0, 1]
    np.testing.assert_allclose(together.sum(axis=1), 1)
