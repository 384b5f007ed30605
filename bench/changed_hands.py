"""Real hands changed into hands that show something else: folded fingers, other gaps, other views.

Arrays of normalized hands (n, 63) in and out. Compared in `bench rejection`; not in the product.
"""

import numpy as np
from numpy.typing import NDArray

from mien.tasks.gesture import landmarks

Features = NDArray[np.float32]
Hands = NDArray[np.float64]
_DEPTH, _DEPTH_SPREAD = 0.7, 0.3
"""Units of depth in those of the picture: the median guess, and the deviation of its logarithm."""
_BONES = ((5, 8), (9, 12), (13, 16), (17, 20))


def changed(features: Features, rng: np.random.Generator, share: float) -> Features:
    """As many hands of each of the four kinds as `share` of the given ones."""
    count = round(share * len(features))
    kinds = (_folded, _fanned, _from_behind, _turned)
    hands = [kind(_pick(features, rng, count), rng) for kind in kinds]
    return np.concatenate([landmarks.normalize(e[landmarks.has_extent(e)]) for e in hands])


def _pick(features: Features, rng: np.random.Generator, count: int) -> Hands:
    hands = features[rng.integers(len(features), size=count)].astype(np.float64)
    return hands.reshape(-1, 21, 3)


def _folded(hands: Hands, rng: np.random.Generator) -> Hands:
    """One or two fingers folded where they are straight, and straight where they are folded."""
    count = len(hands)
    hands[:, :, 2] *= np.exp(rng.normal(np.log(_DEPTH), _DEPTH_SPREAD, count))[:, None]
    across, up = _unit(hands[:, 17] - hands[:, 5]), _unit(hands[:, 9] - hands[:, 0])
    order = rng.random((count, 4)).argsort(axis=1).argsort(axis=1)
    chosen = order < rng.integers(1, 3, size=count)[:, None]
    for finger, (first, last) in enumerate(_BONES):
        bones = np.diff(hands[:, first : last + 1], axis=1)
        lengths = np.linalg.norm(bones, axis=2)
        straight = np.linalg.norm(bones.sum(axis=1), axis=1) > 0.85 * lengths.sum(axis=1)
        share = np.where(straight, rng.uniform(0.5, 1, count), rng.uniform(0, 0.3, count))
        sign, joint, chain = rng.choice([-1, 1], count), hands[:, first], []
        for bone, (start, reach) in enumerate(((14, 60), (20, 150), (25, 210))):
            angle = (sign * np.radians(start + share * reach))[:, None]
            turned = up * np.cos(angle) + np.cross(across, up) * np.sin(angle)
            joint = joint + turned * lengths[:, bone, None]
            chain.append(joint)
        bent = np.stack(chain, axis=1)
        own = hands[:, first + 1 : last + 1]
        hands[:, first + 1 : last + 1] = np.where(chosen[:, finger, None, None], bent, own)
    return hands


def _fanned(hands: Hands, rng: np.random.Generator) -> Hands:
    """Fingers closed or spread in the picture."""
    points = hands[:, :, 0] - 1j * hands[:, :, 1]
    up = points[:, [5, 9, 13, 17]].mean(axis=1)
    tips = np.stack([points[:, last] - points[:, first] for first, last in _BONES], axis=1)
    fan = np.angle(tips / np.where(up == 0, 1, up)[:, None])
    middle = np.angle(np.exp(1j * fan).mean(axis=1))[:, None]
    offset = np.angle(np.exp(1j * (fan - middle)))
    factor = np.where(rng.random(len(hands)) < 0.5, rng.uniform(-0.3, 0.4), rng.uniform(1.8, 3.5))
    turn = np.exp(1j * offset * (factor[:, None] - 1))
    for finger, (first, last) in enumerate(_BONES):
        chain = points[:, first + 1 : last + 1] - points[:, [first]]
        points[:, first + 1 : last + 1] = points[:, [first]] + chain * turn[:, [finger]]
    hands[:, :, 0], hands[:, :, 1] = points.real, -points.imag
    return hands


def _from_behind(hands: Hands, rng: np.random.Generator) -> Hands:
    """Depths mirrored at the plane that fits the hand: the other side of it is seen."""
    count, plane = len(hands), hands[:, :, :2]
    squares = np.einsum("nij,nik->njk", plane, plane) + 1e-6 * np.eye(2)
    slope = np.linalg.solve(squares, np.einsum("nij,ni->nj", plane, hands[:, :, 2])[:, :, None])
    level = np.einsum("nij,nj->ni", plane, slope[:, :, 0])
    lean, relief = rng.uniform(0.6, 1.6, (count, 1)), rng.uniform(0.3, 1.3, (count, 1))
    hands[:, :, 2] = lean * level - relief * (hands[:, :, 2] - level)
    return hands


def _turned(hands: Hands, rng: np.random.Generator) -> Hands:
    """Seen from a side: turned by 20 to 75 degrees about the upright axis of the picture."""
    count = len(hands)
    hands[:, :, 2] *= np.exp(rng.normal(np.log(_DEPTH), _DEPTH_SPREAD, count))[:, None]
    angle = (np.radians(rng.uniform(20, 75, count)) * rng.choice([-1, 1], count))[:, None]
    x, z = hands[:, :, 0].copy(), hands[:, :, 2].copy()
    hands[:, :, 0] = np.cos(angle) * x + np.sin(angle) * z
    hands[:, :, 2] = np.cos(angle) * z - np.sin(angle) * x
    return hands


def _unit(vectors: Hands) -> Hands:
    result: Hands = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return result
