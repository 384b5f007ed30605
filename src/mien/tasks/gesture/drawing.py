"""Draws a shaded picture of any of the 18 gestures from the kinematic model of `sample.py`.

Every part is a tapered round bone in a depth map. The pictures replace photos in tests and in the
demo, because mien may not distribute photos of people.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .sample import DOWN, GESTURES, HIDDEN, Array, sample_hands

SAMPLE_PICTURE = Path(__file__).with_name("like.jpg")
SIZE = 512  # pixels
SUPERSAMPLING = 2  # drawn at twice the size, then reduced, for smooth edges
UNIT = 108 * SUPERSAMPLING  # pixels per hand unit (wrist to middle knuckle)

# Radii in hand units from the root to the tip of thumb, index, middle, ring and little finger.
RADII = (
    (0.17, 0.125, 0.115, 0.085),
    (0.13, 0.11, 0.098, 0.078),
    (0.13, 0.112, 0.10, 0.08),
    (0.125, 0.106, 0.094, 0.075),
    (0.115, 0.092, 0.082, 0.066),
)
PALM_RADIUS = 0.15
WRIST_RADIUS = 0.17
WRIST_BREADTH = 0.2  # half of the distance between the two edges' centre lines
FOREARM = 3.0  # length, beyond the picture's edge
FOREARM_FLARE = 0.3  # how much wider it ends

SKIN_COLOURS = ((226, 176, 146), (240, 196, 168), (198, 142, 108), (150, 100, 74), (116, 76, 56))
BACKGROUNDS = ((176, 188, 198), (196, 188, 172), (168, 184, 170), (188, 178, 190))
NAIL = (246, 206, 192)
LIGHT = np.array([-0.35, 0.55, 0.76])  # from the upper left, in front


def load_sample_picture() -> Image.Image:
    """`draw_hand_picture("like")`, read from a file: drawing would delay the start of a server."""
    with Image.open(SAMPLE_PICTURE) as picture:
        return picture.convert("RGB")


def draw_hand_picture(label: str = "like", seed: int = 0) -> Image.Image:
    """Draw a hand that shows `label`, 512 x 512 RGB; deterministic.

    Raises `KeyError` for a label that is not one of the 18 gestures.
    """
    rng = np.random.default_rng(seed)
    joints = _pose(label, rng)
    depth, parts = _depth_map(joints)
    skin = np.array(SKIN_COLOURS[rng.integers(len(SKIN_COLOURS))], dtype=np.float64)
    picture = _background(rng)
    covered = np.isfinite(depth)
    shaded = _shade(depth, parts, skin, rng)
    picture[covered] = shaded[covered]
    _paint_nails(picture, parts, joints)
    picture += rng.normal(0, 2.0, picture.shape)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _pose(label: str, rng: np.random.Generator) -> Array:
    """Joints in fine pixels, (21, 3): x right, y down, z towards the camera."""
    gesture = GESTURES[label]
    index, middle, ring, little = (DOWN if f is HIDDEN else f for f in gesture.fingers)
    real = replace(gesture, fingers=(index, middle, ring, little))
    joints: Array = (
        sample_hands(real, 1, rng, variation=0.35)[0] * UNIT * np.array([1.0, -1.0, 1.0])
    )
    low, high = joints[:, :2].min(axis=0), joints[:, :2].max(axis=0)
    joints[:, :2] += SIZE * SUPERSAMPLING / 2 - (low + high) / 2
    return joints


def _depth_map(joints: Array) -> tuple[Array, NDArray[np.int64]]:
    """Height towards the camera (-inf where nothing is) and the visible part, both (side, side)."""
    parts = [
        _forearm_bones(joints) + _palm_bones(joints),
        *(_finger_bones(joints, i) for i in range(5)),
    ]
    heights = np.stack([_render_bones(part) for part in parts])
    heights[0] = _smooth(heights[0], 10)
    return heights.max(axis=0), heights.argmax(axis=0)


Bone = tuple[Array, Array, float, float]  # two ends (3,), two radii, all in fine pixels


def _finger_bones(joints: Array, index: int) -> list[Bone]:
    chain = joints[1 + 4 * index : 5 + 4 * index]
    radii = np.array(RADII[index]) * UNIT
    return [(chain[i], chain[i + 1], radii[i], radii[i + 1]) for i in range(3)]


def _palm_bones(joints: Array) -> list[Bone]:
    """Rays from the wrist to the knuckles and between them, the ball of the thumb."""
    left, right = _wrist_edges(joints)
    knuckles = joints[[5, 9, 13, 17]]
    bones: list[Bone] = []
    for step in np.linspace(0, 1, 10):
        at = step * 3
        low = min(int(at), 2)
        top = knuckles[low] + (at - low) * (knuckles[low + 1] - knuckles[low])
        root = left + step * (right - left)
        bones.append((root, top, WRIST_RADIUS * UNIT, PALM_RADIUS * UNIT * (1 - 0.15 * step)))
    ball = joints[1] * 0.6 + joints[0] * 0.4
    bones.append((ball, joints[2], 0.2 * UNIT, 0.15 * UNIT))
    bones.append((joints[2], joints[5], 0.11 * UNIT, 0.11 * UNIT))
    return bones


def _forearm_bones(joints: Array) -> list[Bone]:
    left, right = _wrist_edges(joints)
    along = joints[0] - joints[[5, 9, 13, 17]].mean(axis=0)
    along[2] = min(along[2], 0.0) * 0.3
    along = along / np.linalg.norm(along) * FOREARM * UNIT
    radius, bones = WRIST_RADIUS * UNIT, []
    for step in np.linspace(0, 1, 6):
        start = left + step * (right - left)
        end = start + along + (step - 0.5) * FOREARM_FLARE * (right - left)
        bones.append((start, end, radius, radius * (1 + FOREARM_FLARE)))
    return bones


def _wrist_edges(joints: Array) -> tuple[Array, Array]:
    """The wrist's two edges, thumb side first."""
    across = joints[17] - joints[5]
    along = joints[9] - joints[0]
    across = across - along * (across @ along) / (along @ along)
    across = across / np.linalg.norm(across) * WRIST_BREADTH * UNIT
    return joints[0] - across, joints[0] + across


def _render_bones(bones: list[Bone]) -> Array:
    """Height of the union of tapered round bones, (side, side), -inf outside."""
    side = SIZE * SUPERSAMPLING
    height = np.full((side, side), -np.inf)
    for start, end, r0, r1 in bones:
        reach = max(r0, r1)
        low = np.maximum(np.minimum(start, end)[:2] - reach, 0).astype(int)
        high = np.minimum(np.maximum(start, end)[:2] + reach + 1, side).astype(int)
        if (low >= high).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        span = end[:2] - start[:2]
        t = ((x - start[0]) * span[0] + (y - start[1]) * span[1]) / max(span @ span, 1.0)
        t = np.clip(t, 0, 1)
        gap = (x - start[0] - t * span[0]) ** 2 + (y - start[1] - t * span[1]) ** 2
        inside = (r0 + t * (r1 - r0)) ** 2 - gap
        z = start[2] + t * (end[2] - start[2]) + np.sqrt(np.maximum(inside, 0))
        box = height[low[1] : high[1], low[0] : high[0]]
        np.maximum(box, np.where(inside > 0, z, -np.inf), out=box)
    return height


def _smooth(height: Array, radius: int) -> Array:
    """The height smoothed inside its outline, so that the rays of the palm become one surface."""
    inside = np.isfinite(height)
    weight = _blur(inside.astype(np.float64), radius)
    smooth = _blur(np.where(inside, height, 0.0), radius) / np.maximum(weight, 1e-9)
    return np.where(inside, smooth, -np.inf)


def _blur(plane: Array, radius: int) -> Array:
    """Three box blurs in each direction, close to a Gaussian of that radius."""
    width = 2 * radius + 1
    for axis in (0, 1):
        for _ in range(3):
            margin = [(radius + 1, radius) if a == axis else (0, 0) for a in (0, 1)]
            total = np.cumsum(np.pad(plane, margin, mode="edge"), axis=axis).swapaxes(0, axis)
            plane = ((total[width:] - total[:-width]) / width).swapaxes(0, axis)
    return plane


def _shade(depth: Array, parts: NDArray[np.int64], skin: Array, rng: np.random.Generator) -> Array:
    """Skin colours under one soft light, (side, side, 3); creases where parts meet are darker."""
    solid = np.isfinite(depth)
    floor = depth[solid].min() - 0.3 * UNIT
    z = np.where(solid, depth, floor)
    smooth = _smooth(depth, 3)
    smooth = np.where(solid, smooth, floor)
    dy, dx = np.gradient(smooth)
    normal = np.stack([-dx, dy, np.ones_like(dx)], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    lit = np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    hidden = np.clip((_blur(z, 14) - z) / (0.12 * UNIT), 0, 1) * 0.35
    edge = np.clip(1 - normal[:, :, 2], 0, 1) ** 2
    bright = 0.55 + 0.55 * lit - hidden - 0.18 * edge
    mottled = 0.010 * _smooth_noise(rng, 40)
    bright = (bright + mottled)[:, :, None]
    warm = np.array([1.0, 0.9, 0.85]) ** (np.clip(1 - bright, 0, 1) * 2.2)
    colours: Array = skin * bright * warm
    return colours


def _background(rng: np.random.Generator) -> Array:
    """A soft, uneven background, (side, side, 3)."""
    side = SIZE * SUPERSAMPLING
    tone = np.array(BACKGROUNDS[rng.integers(len(BACKGROUNDS))], dtype=np.float64)
    fade = np.linspace(1.06, 0.86, side)[:, None]
    return tone * (fade * (1 + 0.02 * _smooth_noise(rng, 5)))[:, :, None]


def _smooth_noise(rng: np.random.Generator, cells: int) -> Array:
    """Soft noise of about unit strength with `cells` spots in a row, (side, side)."""
    spots = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    side = SIZE * SUPERSAMPLING
    return np.asarray(spots.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)


def _paint_nails(picture: Array, parts: NDArray[np.int64], joints: Array) -> None:
    """Nails on the fingertips whose back faces the camera."""
    across = joints[17] - joints[5]
    for index in range(1, 5):
        tip, before = joints[4 + 4 * index], joints[3 + 4 * index]
        bone = tip - before
        back = np.cross(across, bone)  # y points down, so this is the back of the finger
        back = back / np.linalg.norm(back)
        if back[2] < 0.35:
            continue
        _nail(picture, parts == index + 1, tip, bone, back, RADII[index][3] * UNIT)


def _nail(
    picture: Array, own: NDArray[np.bool_], tip: Array, bone: Array, back: Array, radius: float
) -> None:
    """One nail at `tip`, only where the picture shows the finger's `own` skin."""
    centre = tip + 0.1 * bone + back * radius * 0.8
    long = bone / np.linalg.norm(bone)
    wide = np.cross(long, back)
    side = np.arange(SIZE * SUPERSAMPLING)
    x, y = np.meshgrid(side - centre[0], side - centre[1])
    along = (x * long[0] + y * long[1]) / max(np.hypot(*long[:2]), 0.3)
    over = (x * wide[0] + y * wide[1]) / max(np.hypot(*wide[:2]), 0.3)
    round_ = (along / (radius * 0.95)) ** 4 + (over / (radius * 0.62)) ** 4
    plate = np.where(own, np.clip((1.0 - round_) * 4, 0, 1), 0)[:, :, None]
    rim = np.where(own, np.clip(1 - np.abs(round_ - 1.1) * 3, 0, 1), 0)[:, :, None]
    picture *= 1 - 0.22 * rim
    picture += 0.5 * plate * (np.array(NAIL) - picture)
