"""How well each label agrees with scores of a classifier that has not seen it: confident learning.

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, Journal
of Artificial Intelligence Research 70 (2021). The only importer of scikit-learn in this stage.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Classes = NDArray[np.int64]
FOLDS = 5
MIN_SAMPLES = FOLDS
"""Of a label: with fewer, no fold can judge it."""
_TREES = 100


def out_of_fold_scores(
    features: NDArray[np.float32], classes: Classes, groups: Sequence[str], seed: int
) -> Scores:
    """Probabilities (n, classes) of each sample by trees that were fitted on the other folds.

    Extremely randomized trees: as noise in the labels grows they lose least of the classifiers that
    were tried, and they need no scaling (`bench suspects`).

    Args:
        features: (n, features), finite.
        classes: (n,), 0, 1, ..., each at least `MIN_SAMPLES` times.
        groups: samples with the same one are in the same fold, where every fold has every class.
        seed: of folds and trees.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    scores = np.zeros((len(classes), int(classes.max()) + 1))
    for train, held_out in _folds(classes, groups, seed):
        trees = ExtraTreesClassifier(_TREES, random_state=seed, n_jobs=1)
        trees.fit(features[train], classes[train])
        scores[np.ix_(held_out, trees.classes_)] = trees.predict_proba(features[held_out])
    return scores


def _folds(
    classes: Classes, groups: Sequence[str], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if len(set(groups)) < len(groups):
        grouped = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        folds = list(grouped.split(classes, classes, groups))
        # A label of a single person is missing in one fold; then persons cannot be kept together.
        if all(len(set(classes[train])) == len(set(classes)) for train, _ in folds):
            return folds
    ungrouped = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return list(ungrouped.split(classes, classes))


def self_confidence(scores: Scores, classes: Classes) -> Scores:
    """The score of the given label; low for a label that is probably wrong."""
    own: Scores = scores[np.arange(len(classes)), classes]
    return own


def normalized_margin(scores: Scores, classes: Classes) -> Scores:
    """The score of the given label, less the best score of another one; in -1..1."""
    others = scores.copy()
    others[np.arange(len(classes)), classes] = -1
    margin: Scores = self_confidence(scores, classes) - others.max(axis=1)
    return margin


def confident_joint(scores: Scores, classes: Classes) -> Scores:
    """The normalized margin, with the samples off the diagonal of the confident joint first.

    A sample counts for the best of the labels whose score reaches that label's threshold, the mean
    score of the samples that carry it.
    """
    own = self_confidence(scores, classes)
    thresholds = np.array([own[classes == each].mean() for each in range(scores.shape[1])])
    confident = scores >= thresholds
    counted = np.where(confident, scores, -1).argmax(axis=1)
    off_diagonal = confident.any(axis=1) & (counted != classes)
    ranked: Scores = normalized_margin(scores, classes) - 2.0 * off_diagonal
    return ranked


METHODS: Mapping[str, Callable[[Scores, Classes], Scores]] = {
    "self-confidence": self_confidence,
    "normalized margin": normalized_margin,
    "confident joint": confident_joint,
}
"""Each gives one number for each sample, the lowest for the most suspect one."""
