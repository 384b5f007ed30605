"""Hands that show none of the gestures, made of hands that do: fingers exchanged between hands.

Each finger is real, and the combination is new. Fingers exchanged between two hands of the same
gesture show that gesture: with them, a model cannot tell mixed hands by their seams. For training.
"""

import numpy as np
from numpy.typing import NDArray

from . import landmarks
from .hand_shape import FINGERS

MAX_PALM_DIFFERENCE = 0.02
"""Share of the palm's variance that the other palm leaves unexplained, of two that are mixed."""
_PALM = (0, 5, 9, 13, 17)
_TRIES = 40
"""Hands of which the one with the most similar palm is taken."""
Features = NDArray[np.float32]
Classes = NDArray[np.int64]
Points = NDArray[np.complex128]


def mix_fingers(
    features: Features,
    classes: Classes,
    rng: np.random.Generator,
    count: int,
    same: bool = False,
    any_palm: bool = False,
) -> tuple[Features, Classes]:
    """Exchange one to four fingers between hands; at most `count`, and the class of each palm.

    Args:
        features: normalized hands (n, 63).
        classes: of each hand, n.
        rng: decides which hands and fingers.
        count: pairs to try; those with unlike palms are left out.
        same: exchange within each class instead of between classes.
        any_palm: keep pairs with unlike palms, such as one from the front and one from the back.
    """
    hands = features.astype(np.float64).reshape(-1, 21, 3)
    points = hands[:, :, 0] + 1j * hands[:, :, 1]
    first, donors = _pairs(classes, rng, count, same, 1 if any_palm else _TRIES)
    second, turn, mirrored, difference = _nearest_palms(points, first, donors)
    donor = np.where(mirrored[:, None], points[second].conj(), points[second]) * turn[:, None]
    donor_depth = hands[second][:, :, 2] * np.abs(turn)[:, None]
    order = rng.random((count, 5)).argsort(axis=1).argsort(axis=1)
    exchanged = order < rng.integers(1, 5, size=(count, 1))
    mixed = hands[first].copy()
    for finger, joints in enumerate(FINGERS):
        index, root = list(joints), joints[0]
        offset = donor[:, index] - donor[:, [root]]
        depth = donor_depth[:, index] - donor_depth[:, [root]]
        chain = np.stack([offset.real, offset.imag, depth], axis=2) + mixed[:, [root]]
        chosen = exchanged[:, finger, None, None]
        mixed[:, index] = np.where(chosen, chain, mixed[:, index])
    limit = 1.0 if any_palm else MAX_PALM_DIFFERENCE
    usable = (difference <= limit) & landmarks.has_extent(mixed)
    return landmarks.normalize(mixed[usable]), classes[first][usable]


def _pairs(
    classes: Classes, rng: np.random.Generator, count: int, same: bool, tries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hands (count,) and the hands to mix each with (count, tries); all classes alike."""
    members = [np.flatnonzero(classes == each) for each in np.unique(classes)]
    palm = rng.integers(len(members), size=count)
    step = 0 if same else rng.integers(1, len(members), size=count)
    finger = (palm + step) % len(members)
    first = np.array([rng.choice(members[each]) for each in palm])
    second = np.stack([rng.choice(members[each], tries) for each in finger])
    return first, second


def _nearest_palms(
    points: Points, first: NDArray[np.int64], donors: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Points, NDArray[np.bool_], NDArray[np.float64]]:
    """Of the other hands the one with the most similar palm, mirrored or not.

    Returns:
        Its index, the rotation and scale to the first hand, whether it is mirrored, and the share
        of the palm's variance that is left (2 for the hand itself).
    """
    palms = points[:, list(_PALM)]
    palms = palms - palms.mean(axis=1, keepdims=True)
    power = (np.abs(palms) ** 2).sum(axis=1)
    own, rows = palms[first][:, None], np.arange(len(first))
    plain, flipped = (
        (own * each).sum(axis=2) / power[donors] for each in (palms[donors].conj(), palms[donors])
    )
    left, left_flipped = (
        1 - np.abs(each) ** 2 * power[donors] / power[first][:, None] for each in (plain, flipped)
    )
    itself = donors == first[:, None]
    left, left_flipped = (np.where(itself, 2.0, each) for each in (left, left_flipped))
    best = np.minimum(left, left_flipped).argmin(axis=1)
    mirrored = (left_flipped < left)[rows, best]
    turn = np.where(mirrored, flipped[rows, best], plain[rows, best])
    difference = np.minimum(left, left_flipped)[rows, best]
    return donors[rows, best], turn, mirrored, difference
