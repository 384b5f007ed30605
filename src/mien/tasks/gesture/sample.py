"""Sample landmarks of the 18 gestures, computed from a kinematic model of the hand.

Models the anatomy of a hand (bones, joints, what each gesture bends), how people turn it to a
camera, and the errors of the landmark network (flattened depth, jitter). Independent of the
normalization and of the classifiers.

Poses are specified joint by joint from anatomy. Their angles, the common views and the constants of
the landmark network (`DEPTH_*`, `View.palm`, `HIDDEN`) were then tuned by hand until classifiers
trained on the sample scored well on real HaGRID landmarks: such scores are no independent test.

Hand frame: origin in the wrist, unit = wrist to middle knuckle, x towards the little finger,
y towards the fingertips, z out of the palm. Camera frame: x right, y up, z towards the camera.
An unrotated hand shows its palm, fingers up, thumb on the left of the picture.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PER_LABEL = 150
PICTURE_SIZES = ((512, 683), (683, 512), (512, 910), (512, 512))

# Lengths in units of wrist to middle knuckle; ratios of an adult hand, index to little finger.
FINGER_BONES = np.array(
    [[0.45, 0.29, 0.24], [0.48, 0.31, 0.25], [0.45, 0.29, 0.23], [0.36, 0.21, 0.19]]
)
KNUCKLES = np.array(
    [[-0.26, 0.97, -0.05], [0.0, 1.0, -0.03], [0.23, 0.94, 0.0], [0.43, 0.83, 0.04]]
)
THUMB_BONES = np.array([0.40, 0.33, 0.27])
THUMB_ROOT = np.array([-0.25, 0.25, 0.15])

BONE_SPREAD = 0.05  # standard deviation between people, relative
BREADTH_SPREAD = 0.07  # the same for the breadth of the palm
OPENING_SPREAD = 0.3  # of how wide people spread their fingers, relative
SWAY = 4.0  # all fingers together to one side, degrees
FAN_JITTER = 1.2  # each finger alone, degrees
DEPTH_GAIN = 0.4  # the detector reports less than half of the true depth,
DEPTH_LEAN = np.repeat([0.0, 0.24, 0.20, 0.17, 0.15, 0.14], [1, 4, 4, 4, 4, 4])
# and draws each point nearer to the camera, the farther from the wrist, the thumb side most
DEPTH_SPREAD = 0.25  # how much both variation from picture to picture, relative
DEPTH_DRIFT = 0.04  # a whole finger reported too near or too far, by distance from the wrist
JITTER = 0.008  # landmark noise in the picture, hand units
DEPTH_JITTER = 0.02  # landmark noise in depth, hand units
DISTANCE = 12.0  # camera distance in hand units, an arm's length and more


@dataclass(frozen=True)
class Finger:
    """Flexion of knuckle, middle and end joint in degrees, and how much they variation."""

    knuckle: float
    middle: float
    end: float
    spread: float


@dataclass(frozen=True)
class Thumb:
    """Direction of the three thumb bones in degrees.

    `out` counts from the direction of the fingers away from the palm's edge, `lift` out of the
    plane of the palm; a bent thumb has a smaller `out` from bone to bone.
    """

    out: tuple[float, float, float]
    lift: tuple[float, float, float]
    spread: float = 9.0


@dataclass(frozen=True)
class View:
    """How the hand is turned to the camera, degrees.

    First `turn` about its long axis (0 palm, 180 back, -90 thumb edge), then `tilt` of the
    fingertips towards the camera, then `roll` in the picture (positive is anticlockwise).
    `palm` shortens the palm: bent knuckles, and knuckles seen from behind, lie nearer the wrist.
    """

    roll: float
    tilt: float
    turn: float
    palm: float = 1.0
    spread: float = 8.0


@dataclass(frozen=True)
class Gesture:
    """Index to little finger, their fan (degrees towards the little finger), thumb and view."""

    fingers: tuple[Finger, Finger, Finger, Finger]
    fan: tuple[float, float, float, float]
    thumb: Thumb
    view: View


UP = Finger(14, 5, 5, 4)
DOWN = Finger(60, 115, 38, 12)
HOOK = Finger(80, 80, 40, 12)  # wrapped into the palm, seen from the edge
RING = Finger(55, 52, 30, 9)  # bent to meet the thumb
HIDDEN = Finger(30, 130, 26, 14)  # behind the palm: the detector guesses these joints flat

TOGETHER = (7.0, 5.0, 4.0, 5.0)
SPREAD = (-9.0, 4.0, 16.0, 37.0)
CLOSED = (12.0, 12.0, 12.0, 8.0)

OUT = Thumb((38, 38, 52), (22, 26, 34))
ALONG = Thumb((22, 0, 0), (10, 6, 8), 11)
ACROSS = Thumb((10, -43, -62), (16, 4, 2), 10)
BEHIND = Thumb((10, -46, -68), (16, 22, 22), 10)
OVER = Thumb((20, -25, -66), (18, 6, -3), 14)
RAISED = Thumb((33, 36, 58), (-12, -20, -34))
TO_INDEX = Thumb((32, 30, 5), (38, 46, 34))
ASIDE = Thumb((3, -10, -15), (45, 45, 48), 13)

PALM = View(4, 1, -18)
BACK = View(2, 7, -152, palm=0.86)
EDGE = View(5, 2, -74, palm=0.84, spread=14)

GESTURES: dict[str, Gesture] = {
    "call": Gesture(
        (HIDDEN, HIDDEN, HIDDEN, UP), (22, 22, 18, 34), RAISED, View(57, 1, -142, 0.86, 11)
    ),
    "dislike": Gesture((DOWN,) * 4, CLOSED, OUT, View(99, -6, -26, 0.88, 11)),
    "fist": Gesture((DOWN,) * 4, CLOSED, OVER, View(18, -14, -20, 0.84)),
    "four": Gesture((UP,) * 4, SPREAD, ACROSS, View(8, 0, -18)),
    "like": Gesture((HIDDEN,) * 4, CLOSED, RAISED, View(75, 1, -146, 0.82, 10)),
    "mute": Gesture((UP, HOOK, HOOK, HOOK), (10, 10, 10, 8), ASIDE, EDGE),
    "ok": Gesture((RING, UP, UP, UP), (-10, 3, 16, 38), TO_INDEX, View(10, 1, -36, 0.95)),
    "one": Gesture((UP, DOWN, DOWN, DOWN), (6, 14, 14, 10), OVER, View(5, -2, -26, 0.88)),
    "palm": Gesture((UP,) * 4, SPREAD, OUT, PALM),
    "peace": Gesture((UP, UP, DOWN, DOWN), (-9, 17, 22, 18), ACROSS, PALM),
    "peace_inverted": Gesture((UP, UP, HIDDEN, HIDDEN), (-13, 15, 16, 12), BEHIND, BACK),
    "rock": Gesture((UP, DOWN, DOWN, UP), (0, 14, 18, 31), ACROSS, View(13, 1, -10)),
    "stop": Gesture((UP,) * 4, TOGETHER, ALONG, View(8, -4, -16)),
    "stop_inverted": Gesture((UP,) * 4, (4, 2, 0, -2), ALONG, BACK),
    "three": Gesture((UP, UP, UP, DOWN), (-12, 4, 26, 14), ACROSS, PALM),
    "three2": Gesture((UP, UP, DOWN, DOWN), (-7, 20, 24, 22), OUT, View(4, 3, -26, 0.92)),
    "two_up": Gesture((UP, UP, DOWN, DOWN), (9, 5, 12, 8), ACROSS, View(5, -2, -20)),
    "two_up_inverted": Gesture((UP, UP, HIDDEN, HIDDEN), (8, 3, 14, 12), BEHIND, BACK),
}


HALF_CLOSED = 0.35
"""Share of the hands without a gesture whose four fingers are bent alike."""
TURNED = 0.5
"""Share of them that are rolled in the picture by any angle."""
_PER_POSE = 4
"""Hands drawn of each pose without a gesture."""


def hands_without_gesture(count: int, rng: np.random.Generator) -> Array:
    """Landmarks of hands that show no gesture on purpose, (n, 21, 3) as `landmark_rows` has them.

    Relaxed and half-closed hands, and fingers in any combination of poses, of which a few may look
    like a gesture. At least `count`, in groups of the same pose.
    """
    groups = [
        sample_hands(_pose_without_gesture(rng), _PER_POSE, rng)
        for _ in range(-(-count // _PER_POSE))
    ]
    points = np.concatenate(groups)
    sizes = np.array(PICTURE_SIZES, dtype=np.float64)[
        rng.integers(len(PICTURE_SIZES), size=len(points))
    ]
    return _simulate_detector(points, sizes, rng)


def _pose_without_gesture(rng: np.random.Generator) -> Gesture:
    """Fingers bent alike or each in a pose of its own; thumb, fan and view of some gesture."""
    gestures, usual = list(GESTURES.values()), (UP, DOWN, HOOK, RING, HIDDEN)
    if rng.random() < HALF_CLOSED:
        bends = np.clip(rng.uniform(0.1, 0.95) + 0.1 * rng.standard_normal(4), 0.0, 1.1)
        fingers = [_bent(each) for each in bends.tolist()]
    else:
        fingers = [
            usual[rng.integers(len(usual))] if rng.random() < 0.5 else _bent(rng.uniform(0.1, 0.9))
            for _ in range(4)
        ]
    view = gestures[rng.integers(len(gestures))].view
    roll = rng.uniform(-180, 180) if rng.random() < TURNED else 0.0
    tilt, turn = 15 * rng.standard_normal(), 20 * rng.standard_normal()
    return Gesture(
        (fingers[0], fingers[1], fingers[2], fingers[3]),
        gestures[rng.integers(len(gestures))].fan,
        gestures[rng.integers(len(gestures))].thumb,
        View(view.roll + roll, view.tilt + tilt, view.turn + turn, view.palm),
    )


def _bent(share: float) -> Finger:
    """A finger between straight (0) and folded (1)."""
    return Finger(14 + share * 50, 5 + share * 110, 5 + share * 35, 8)


def landmark_rows(per_label: int, seed: int) -> tuple[Array, list[str]]:
    """Landmarks of `per_label` hands of each gesture, shape (n, 21, 3), and their n labels.

    x and y are pixels with y downwards, z is relative to the wrist, negative towards the camera,
    in widths of the picture: the numbers that MediaPipe gives for a photo.
    """
    points, labels, _ = _camera_rows(per_label, seed)
    return points, labels


def write_sample(out: Path, seed: int = 0, per_label: int = PER_LABEL) -> None:
    """Write `out`/landmarks.csv: width, height, x1, y1, z1 .. x21, y21, z21, label."""
    points, labels, sizes = _camera_rows(per_label, seed)
    header = [f"{axis}{i}" for i in range(1, 22) for axis in "xyz"]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "landmarks.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["width", "height", *header, "label"])
        for size, hand, label in zip(sizes, points, labels, strict=True):
            numbers = [f"{v:.3f}" if i % 3 < 2 else f"{v:.6f}" for i, v in enumerate(hand.flat)]
            writer.writerow([*size, *numbers, label])


def sample_hands(
    gesture: Gesture, count: int, rng: np.random.Generator, variation: float = 1.0
) -> Array:
    """`count` hands that show `gesture`: joints in the camera frame, hand units, (count, 21, 3).

    `variation` scales every spread; 0 gives the same average hand each time. Thumb on the left.
    """
    thumb = _thumb(gesture.thumb, count, rng, variation)
    fans = _fans(gesture.fan, count, rng, variation)
    chains = [_finger(gesture, i, fans[:, i : i + 1], rng, variation) for i in range(4)]
    points = np.concatenate([np.zeros((count, 1, 3)), thumb, *chains], axis=1)
    points[:, :, 0] *= 1 + variation * BREADTH_SPREAD * rng.standard_normal((count, 1))
    return _rotate(points, gesture.view, rng, variation)


def _fans(fan: tuple[float, ...], count: int, rng: np.random.Generator, variation: float) -> Array:
    """Directions of the fingers in the plane of the palm, radians, (count, 4).

    Hands open more or less wide and lean to a side as a whole; fingers that touch still touch.
    """
    opening = 1 + variation * OPENING_SPREAD * rng.standard_normal((count, 1))
    sway = variation * SWAY * rng.standard_normal((count, 1))
    own = variation * FAN_JITTER * rng.standard_normal((count, 4))
    middle = np.mean(fan)
    directions: Array = np.radians(middle + (np.array(fan) - middle) * opening + sway + own)
    return directions


def _finger(
    gesture: Gesture, index: int, fan: Array, rng: np.random.Generator, variation: float
) -> Array:
    """Knuckle and three joints of one finger that points along `fan`, (count, 4, 3)."""
    finger, count = gesture.fingers[index], len(fan)
    bends = np.array([finger.knuckle, finger.middle, finger.end])
    spread = variation * finger.spread * rng.standard_normal((count, 3))
    flexion = np.cumsum(np.radians(np.abs(bends + spread)), axis=1)
    steps = np.stack(
        [np.cos(flexion) * np.sin(fan), np.cos(flexion) * np.cos(fan), np.sin(flexion)], axis=2
    )
    steps *= _lengths(FINGER_BONES[index], count, rng, variation)
    root = KNUCKLES[index] * [1.0, gesture.view.palm, 1.0]
    root = root + variation * 0.01 * rng.standard_normal((count, 1, 3))
    return np.concatenate([root, root + np.cumsum(steps, axis=1)], axis=1)


def _thumb(thumb: Thumb, count: int, rng: np.random.Generator, variation: float) -> Array:
    """Root and three joints of the thumb, (count, 4, 3)."""
    spread = variation * thumb.spread * rng.standard_normal((2, count, 3)).cumsum(axis=2) / 1.5
    out = np.radians(np.array(thumb.out) + spread[0])
    lift = np.radians(np.array(thumb.lift) + spread[1])
    steps = np.stack(
        [-np.cos(lift) * np.sin(out), np.cos(lift) * np.cos(out), np.sin(lift)], axis=2
    )
    steps *= _lengths(THUMB_BONES, count, rng, variation)
    root = THUMB_ROOT + variation * 0.03 * rng.standard_normal((count, 1, 3))
    return np.concatenate([root, root + np.cumsum(steps, axis=1)], axis=1)


def _lengths(bones: Array, count: int, rng: np.random.Generator, variation: float) -> Array:
    """Bone lengths of `count` people, (count, bones, 1): long-fingered ones, then single bones."""
    person = rng.standard_normal((count, 1)) + 0.5 * rng.standard_normal((count, len(bones)))
    return (bones * (1 + variation * BONE_SPREAD * person))[:, :, None]


def _rotate(points: Array, view: View, rng: np.random.Generator, variation: float) -> Array:
    """The hands in the camera frame, each rotated a little differently."""
    spread = variation * view.spread * rng.standard_normal((3, len(points)))
    roll, tilt, turn = np.radians(np.array([[view.roll], [view.tilt], [view.turn]]) + spread)
    ones, zeros = np.ones_like(roll), np.zeros_like(roll)
    about_z = [
        [np.cos(roll), -np.sin(roll), zeros],
        [np.sin(roll), np.cos(roll), zeros],
        [zeros, zeros, ones],
    ]
    about_x = [
        [ones, zeros, zeros],
        [zeros, np.cos(tilt), -np.sin(tilt)],
        [zeros, np.sin(tilt), np.cos(tilt)],
    ]
    about_y = [
        [np.cos(turn), zeros, np.sin(turn)],
        [zeros, ones, zeros],
        [-np.sin(turn), zeros, np.cos(turn)],
    ]
    matrices = [np.moveaxis(np.array(m), 2, 0) for m in (about_z, about_x, about_y)]
    rotated: Array = points @ (matrices[0] @ matrices[1] @ matrices[2]).transpose(0, 2, 1)
    return rotated


def _camera_rows(per_label: int, seed: int) -> tuple[Array, list[str], list[tuple[int, int]]]:
    """Landmarks as the network would output them, labels, and (width, height) of each picture."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([sample_hands(g, per_label, rng) for g in GESTURES.values()])
    labels = [label for label in GESTURES for _ in range(per_label)]
    size_indices = rng.integers(len(PICTURE_SIZES), size=len(points))
    sizes = [PICTURE_SIZES[i] for i in size_indices]
    return _simulate_detector(points, np.array(sizes, dtype=np.float64), rng), labels, sizes


def _simulate_detector(points: Array, sizes: Array, rng: np.random.Generator) -> Array:
    """Camera frame to pixels: either hand, perspective, flattened depth, jitter, a position."""
    count = len(points)
    points = points * np.where(rng.random((count, 1, 1)) < 0.5, [-1.0, 1.0, 1.0], 1.0)
    points[:, :, :2] /= 1 - points[:, :, 2:] / DISTANCE
    distance_from_wrist = np.linalg.norm(points, axis=2)
    depth_scale = np.exp(DEPTH_SPREAD * rng.standard_normal((2, count, 1)))
    drift = DEPTH_DRIFT * rng.standard_normal((count, 5))
    depth_offset = DEPTH_LEAN * depth_scale[1] + np.pad(drift.repeat(4, axis=1), ((0, 0), (1, 0)))
    points[:, :, 2] = (
        DEPTH_GAIN * depth_scale[0] * points[:, :, 2] + depth_offset * distance_from_wrist
    )
    noise = np.exp(0.4 * rng.standard_normal((count, 1, 1))) * rng.standard_normal(points.shape)
    points += noise * [JITTER, JITTER, DEPTH_JITTER]
    points[:, :, 2] -= points[:, :1, 2]
    pixels = 60 * np.exp(0.35 * rng.standard_normal((count, 1, 1)))
    points = points * pixels * [1.0, -1.0, -1.0]
    centre = sizes[:, None, :] * rng.uniform(0.35, 0.65, (count, 1, 2))
    points[:, :, :2] += centre - points[:, :, :2].mean(axis=1, keepdims=True)
    points[:, :, 2] /= sizes[:, :1]
    return points
