"""Draws cartoon faces with one of eight facial expressions.

Draws heads, hair, eyes, mouths and backgrounds; `facial_expressions` defines how an emotion looks.
Does not know data sets, splits or files.

Shapes are arrays of complex numbers x + iy, so that rotating, scaling and moving a shape is one
multiplication and one addition. Face coordinates have their origin at the centre of the head, y
points down, and the head extends from y = -1 (top of the skull) to y = 1 (chin).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .facial_expressions import EXPRESSIONS, Colour, Expression

Points = NDArray[np.complex128]
Box = tuple[float, float, float, float]


_SKIN_COLOURS: tuple[Colour, ...] = (
    (255, 224, 196), (246, 205, 170), (236, 188, 150), (222, 168, 124), (198, 140, 98),
    (168, 112, 74), (132, 86, 58), (102, 66, 48),
)  # fmt: skip
_HAIR_COLOURS: tuple[Colour, ...] = (
    (38, 30, 28), (66, 44, 32), (104, 68, 40), (150, 98, 48), (218, 178, 96), (172, 72, 36),
    (158, 156, 158), (226, 222, 214), (96, 60, 120), (52, 84, 130),
)  # fmt: skip
_CLOTHES_COLOURS: tuple[Colour, ...] = (
    (58, 92, 148), (176, 60, 66), (64, 130, 104), (226, 178, 74), (86, 78, 112), (214, 214, 220),
    (48, 52, 60), (204, 120, 84),
)  # fmt: skip
_WALL_COLOURS: tuple[Colour, ...] = (
    (196, 212, 224), (226, 214, 190), (178, 202, 178), (214, 190, 198), (120, 140, 160),
    (168, 158, 146), (92, 112, 104), (232, 232, 226), (150, 168, 204), (204, 176, 140),
)  # fmt: skip
_INK: Colour = (44, 32, 34)
_WHITE: Colour = (250, 250, 247)

_CIRCLE: Points = np.array(
    [complex(math.cos(2 * math.pi * k / 28), math.sin(2 * math.pi * k / 28)) for k in range(28)]
)
_CURVE_STEPS = np.arange(11) / 10
_BEZIER_WEIGHTS = np.stack(
    [(1 - _CURVE_STEPS) ** 2, 2 * _CURVE_STEPS * (1 - _CURVE_STEPS), _CURVE_STEPS**2]
)
_STROKE_TAPER = np.array([math.sin(math.pi * (0.12 + 0.76 * k / 10)) for k in range(11)])


class _Pen:
    """Draws shapes given in face coordinates on a canvas, rotated, scaled and moved."""

    def __init__(self, canvas: Image.Image, centre: complex, unit: complex) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.centre, self.unit = centre, unit

    def shifted(self, offset: complex) -> _Pen:
        pen = object.__new__(_Pen)
        pen.draw, pen.unit, pen.centre = self.draw, self.unit, self.centre + offset * self.unit
        return pen

    def to_pixels(self, points: Points) -> list[float]:
        """Flat x, y pixels, rounded so that the last bit of a sum never changes an image."""
        pixels: NDArray[np.float64] = (points * self.unit + self.centre).view(np.float64)
        flat: list[float] = pixels.round().tolist()
        return flat

    def shape(self, points: Points, fill: Colour) -> None:
        self.draw.polygon(self.to_pixels(points), fill=fill)

    def oval(self, at: complex, rx: float, ry: float, fill: Colour) -> None:
        self.shape(at + _CIRCLE.real * rx + 1j * ry * _CIRCLE.imag, fill)

    def stroke(self, points: Points, width: float, fill: Colour) -> None:
        """A line of eleven points that gets thinner at both ends."""
        tangent = np.gradient(points)
        normal = 1j * tangent / np.maximum(np.abs(tangent), 1e-9) * (_STROKE_TAPER * width / 2)
        self.shape(np.concatenate([points + normal, (points - normal)[::-1]]), fill)


def draw_person(
    canvas: Image.Image, label: str, centre: complex, unit: complex, rng: np.random.Generator
) -> Box:
    """Draws one person and returns the box (left, top, right, bottom) of the face in pixels.

    `unit` is half the head's height in pixels, rotated by the tilt of the head. The box encloses
    the head from the skull to the chin without hair and ears; it may extend beyond the canvas.
    """
    pen = _Pen(canvas, centre, unit)
    expr = _vary_expression(EXPRESSIONS[label], rng)
    skin = _shade(_choose(_SKIN_COLOURS, rng), rng.uniform(0.94, 1.06))
    hair = _choose(_HAIR_COLOURS, rng)
    head_width, style = rng.uniform(0.70, 0.84), int(rng.integers(6))
    face = (
        _mix(skin, expr.tint, expr.tint_strength * rng.uniform(0.75, 1.15)) if expr.tint else skin
    )
    head = _head_outline(head_width, rng.uniform(0.80, 1.0))
    _draw_body(pen, skin, head_width, rng)
    _draw_back_hair(pen, hair, head_width, style)
    for side in (-1, 1):
        pen.oval(side * head_width * 1.0 + 0.05j, 0.12, 0.19, _shade(skin, 0.88))
    pen.shape(head * 1.02, _shade(face, 0.70))
    pen.shape(head, face)
    _draw_front_hair(pen, head, hair, style, rng)
    face_pen = pen.shifted(complex(rng.uniform(-0.10, 0.10), rng.uniform(-0.04, 0.05)))
    _draw_features(face_pen, expr, face, hair, rng)
    xy = np.array(pen.to_pixels(head)).reshape(-1, 2)
    (left, top), (right, bottom) = xy.min(0), xy.max(0)
    return float(left), float(top), float(right), float(bottom)


def draw_background(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Fills the canvas with a wall and random objects: frames, shelves, discs and stripes."""
    width, height = canvas.size
    wall = _choose(_WALL_COLOURS, rng)
    canvas.paste(wall, (0, 0, width, height))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 8))):
        x, y = rng.uniform(-0.1, 1.0) * width, rng.uniform(-0.1, 1.0) * height
        w, h = rng.uniform(0.06, 0.45) * width, rng.uniform(0.06, 0.5) * height
        colour = _mix(wall, _choose(_WALL_COLOURS + _CLOTHES_COLOURS, rng), rng.uniform(0.25, 0.9))
        corners = [round(v) for v in (x, y, x + w, y + h)]
        kind = int(rng.integers(4))
        if kind == 0:
            draw.ellipse(corners, fill=colour)
        elif kind == 1:
            draw.rectangle(corners, fill=colour, outline=_shade(colour, 0.7), width=3)
        elif kind == 2:
            lean = round(rng.uniform(-0.4, 0.4) * w)
            a, b, c, d = corners
            draw.polygon([a, d, a + lean, b, c + lean, b, c, d], fill=colour)
        else:
            draw.rectangle([0, corners[1], width, corners[1] + round(h / 6)], fill=colour)


def _vary_expression(expr: Expression, rng: np.random.Generator) -> Expression:
    """The same expression as another person would show it, mirrored half of the time."""
    intensity = rng.uniform(0.85, 1.15)
    side = 1.0 if rng.random() < 0.5 else -1.0
    return replace(
        expr,
        brow_inner=expr.brow_inner * intensity,
        brow_outer=expr.brow_outer * intensity,
        brow_asymmetry=expr.brow_asymmetry * side * intensity,
        lid_slant=expr.lid_slant * intensity,
        gaze=expr.gaze * side + rng.uniform(-0.18, 0.18),
        mouth_corners=expr.mouth_corners * intensity,
        mouth_asymmetry=expr.mouth_asymmetry * side * intensity,
        upper_lip=expr.upper_lip * intensity,
        lower_lip=expr.lower_lip * intensity,
        mouth_width=expr.mouth_width * rng.uniform(0.90, 1.12),
    )


def _draw_features(
    pen: _Pen, expr: Expression, skin: Colour, hair: Colour, rng: np.random.Generator
) -> None:
    line = _shade(skin, 0.55)
    eye_gap, eye_y = rng.uniform(0.30, 0.36), rng.uniform(-0.16, -0.08)
    iris = _choose(((70, 44, 30), (52, 84, 120), (64, 100, 62), (40, 32, 30)), rng)
    if not expr.tint:
        for side in (-1, 1):
            pen.oval(side * 0.42 + 0.26j, 0.15, 0.10, _mix(skin, (236, 92, 88), 0.28))
    for side in (-1, 1):
        at = complex(side * eye_gap, eye_y)
        _draw_eye(pen, expr, at, side, skin, iris)
        _draw_brow(pen, expr, at, side, _mix(hair, _INK, 0.55))
    _draw_nose(pen, expr, line)
    _draw_mouth(pen, expr, complex(0.0, rng.uniform(0.50, 0.56)), line)
    _draw_extras(pen, expr, eye_gap, eye_y, line)
    if rng.random() < 0.18:
        _draw_glasses(pen, eye_gap, eye_y, _choose((_INK, (120, 50, 40), (60, 70, 110)), rng))


def _draw_eye(
    pen: _Pen, expr: Expression, at: complex, side: int, skin: Colour, iris: Colour
) -> None:
    rx, ry = 0.175, 0.125 * expr.eye_openness
    if expr.smiling_eyes:
        pen.stroke(_curve(at - rx + 0.05j, at - 0.24j, at + rx + 0.05j), 0.10, _INK)
        return
    pen.oval(at, rx + 0.025, ry + 0.025, _INK)
    pen.oval(at, rx, ry, _WHITE)
    pupil = at + expr.gaze * 0.16 + 0.01j
    size = 0.105 * expr.iris_size
    pen.oval(pupil, size, min(size, ry), iris)
    pen.oval(pupil, size * 0.55, min(size, ry) * 0.55, (12, 10, 12))
    pen.oval(pupil - (0.035 + 0.035j) * expr.iris_size, size * 0.25, size * 0.25, _WHITE)
    _draw_lid(pen, expr, at, side, rx + 0.03, ry + 0.03, _shade(skin, 0.86))


def _draw_lid(
    pen: _Pen, expr: Expression, at: complex, side: int, rx: float, ry: float, skin: Colour
) -> None:
    """Covers the upper part of the eye down to a line that may slant towards the nose."""
    if expr.lid_closure <= 0.0:
        return
    middle, slant = -ry + 2 * ry * expr.lid_closure, expr.lid_slant * ry * side
    left, right = at - rx + 1j * (middle + slant), at + rx + 1j * (middle - slant)
    top = at + 1j * (-ry - 0.05)
    pen.shape(np.array([left, right, right.real + 1j * top.imag, left.real + 1j * top.imag]), skin)
    pen.stroke(_curve(left, (left + right) / 2 - 0.01j, right), 0.065, _INK)


def _draw_brow(pen: _Pen, expr: Expression, at: complex, side: int, colour: Colour) -> None:
    lift = expr.brow_asymmetry * side
    inner = at + complex(-side * 0.19, -0.25 - expr.brow_inner - lift)
    outer = at + complex(side * 0.21, -0.24 - expr.brow_outer - lift)
    arch = (inner + outer) / 2 - 1j * (0.10 + 0.25 * max(0.0, lift))
    pen.stroke(_curve(inner, arch, outer), 0.115, colour)


def _draw_nose(pen: _Pen, expr: Expression, line: Colour) -> None:
    lift = -0.04 if expr.nose_wrinkle else 0.0
    tip = complex(0.0, 0.24 + lift)
    pen.stroke(_curve(tip - 0.10 - 0.02j, tip + 0.11j, tip + 0.10 - 0.02j), 0.06, line)
    if expr.nose_wrinkle:
        for k in (0, 1, 2):
            y = 1j * (-0.06 + 0.085 * k)
            for side in (-1, 1):
                fold = _curve(y + side * 0.02, y + side * 0.08 - 0.04j, y + side * 0.13 + 0.05j)
                pen.stroke(fold, 0.05, line)


def _draw_mouth(pen: _Pen, expr: Expression, at: complex, line: Colour) -> None:
    """An open mouth lies between two curves through the corners; a closed one is one line."""
    left = at - expr.mouth_width - 1j * (expr.mouth_corners + max(0.0, -expr.mouth_asymmetry))
    right = at + expr.mouth_width - 1j * (expr.mouth_corners + max(0.0, expr.mouth_asymmetry))
    if expr.lower_lip <= 0.0:
        sag = at + 1j * expr.mouth_corners * 0.9 + 0.05j * (expr.mouth_asymmetry != 0.0)
        pen.stroke(_curve(left, sag, right), 0.095, _INK)
        if expr.mouth_asymmetry:
            end = right if expr.mouth_asymmetry > 0 else left
            out = 0.05 if expr.mouth_asymmetry > 0 else -0.05
            pen.stroke(_curve(end + out - 0.12j, end + 2.2 * out, end + out + 0.10j), 0.06, line)
        return
    top = _curve(left, at - 2j * expr.upper_lip + 1j * expr.mouth_corners, right)
    low = _curve(left, at + 2j * expr.lower_lip + 1j * expr.mouth_corners, right)
    rim = np.concatenate([top, low[::-1]])
    middle = rim.mean()
    pen.shape(middle + (rim - middle) * 1.14, _INK)
    pen.shape(rim, (122, 26, 36))
    if expr.teeth_fraction:
        pen.shape(np.concatenate([top, (top + (low - top) * expr.teeth_fraction)[::-1]]), _WHITE)
    elif not expr.tongue_out:
        pen.shape(np.concatenate([(top + (low - top) * 0.72), low[::-1]]), (206, 84, 92))
    if expr.clenched_teeth:
        _draw_clench(pen, top, low)
    if expr.tongue_out:
        pen.oval(at + 0.15j, expr.mouth_width * 0.62, 0.20, _INK)
        pen.oval(at + 0.15j, expr.mouth_width * 0.62 - 0.03, 0.17, (228, 92, 110))
        pen.stroke(_curve(at + 0.04j, at + 0.10j, at + 0.22j), 0.04, (176, 52, 74))


def _draw_clench(pen: _Pen, top: Points, low: Points) -> None:
    pen.stroke((top + low) / 2, 0.035, _INK)
    for k in (2, 4, 6, 8):
        pen.stroke(top[k] + (low[k] - top[k]) * _CURVE_STEPS, 0.035, _INK)


def _draw_extras(pen: _Pen, expr: Expression, eye_gap: float, eye_y: float, line: Colour) -> None:
    if expr.frown_lines:
        for side in (-1, 1):
            x, y = side * 0.05, eye_y - 0.12
            fold = _curve(complex(x, y - 0.16), complex(x * 1.5, y - 0.05), complex(x, y + 0.05))
            pen.stroke(fold, 0.05, line)
    if expr.tear:
        for side in (-1, 1):
            at = complex(side * (eye_gap + 0.05), eye_y + 0.30)
            _draw_drop(pen, at, 1.25)
    if expr.sweat:
        _draw_drop(pen, complex(0.60, -0.42), 1.0)
        _draw_drop(pen, complex(-0.62, -0.28), 0.8)


def _draw_drop(pen: _Pen, at: complex, size: float) -> None:
    tip = np.array([at - 0.085 * size, at - 0.22j * size, at + 0.085 * size])
    for grow, colour in ((1.25, (40, 92, 168)), (0.95, (120, 196, 246))):
        pen.shape(at + (tip - at) * grow, colour)
        pen.oval(at + 0.02j * size, 0.085 * size * grow, 0.095 * size * grow, colour)


def _draw_glasses(pen: _Pen, eye_gap: float, eye_y: float, frame: Colour) -> None:
    ring = np.append(_CIRCLE, _CIRCLE[0])
    for side in (-1, 1):
        at = complex(side * eye_gap, eye_y + 0.02)
        rim = at + 0.26 * ring.real + 0.24j * ring.imag
        pen.shape(np.concatenate([rim, (at + (rim - at) * 0.88)[::-1]]), frame)
    pen.stroke(_curve(complex(-eye_gap + 0.24, eye_y), complex(0, eye_y - 0.08),
                      complex(eye_gap - 0.24, eye_y)), 0.06, frame)  # fmt: skip


def _draw_body(pen: _Pen, skin: Colour, head_width: float, rng: np.random.Generator) -> None:
    cloth = _choose(_CLOTHES_COLOURS, rng)
    broad = rng.uniform(1.15, 1.6)
    pen.shape(np.array([-broad + 3.2j, -broad + 1.65j, -0.45 + 1.22j, 0.45 + 1.22j,
                            broad + 1.65j, broad + 3.2j]), cloth)  # fmt: skip
    neck = 0.5 * head_width
    pen.shape(np.array([-neck + 0.5j, -neck + 1.25j, 1.45j, neck + 1.25j, neck + 0.5j]),
                  _shade(skin, 0.80))  # fmt: skip


def _draw_back_hair(pen: _Pen, hair: Colour, head_width: float, style: int) -> None:
    if style == 1:
        pen.oval(-0.05j, head_width * 1.28, 1.18, hair)
        top, bottom = head_width * 1.27, head_width * 1.22
        pen.shape(np.array([-top + 0j, -bottom + 1.35j, bottom + 1.35j, top + 0j]), hair)
    elif style == 2:
        for k in range(9):
            turn = complex(math.cos(math.pi * k / 8), -math.sin(math.pi * k / 8))
            pen.oval(
                complex(turn.real * head_width * 1.05, turn.imag * 0.95 - 0.05), 0.36, 0.36, hair
            )
    elif style == 3:
        pen.oval(-1.12j, 0.34, 0.32, hair)
        pen.oval(-0.12j, head_width * 1.08, 1.0, hair)


def _draw_front_hair(
    pen: _Pen, head: Points, hair: Colour, style: int, rng: np.random.Generator
) -> None:
    if style == 5:
        return
    line = -0.62 if style in (0, 3) else -0.54
    crown = head[head.imag < line + 0.05]
    crown = crown[np.argsort(crown.real)] * 1.07
    part = complex(rng.uniform(-0.4, 0.4), line - rng.uniform(0.0, 0.30))
    edge = _curve(crown[-1] + 0.10j, part, crown[0] + 0.10j)
    pen.shape(np.concatenate([crown, edge]), hair)
    if style == 4:
        for k in range(5):
            pen.oval(complex(-0.5 + 0.25 * k, -0.86 - 0.05 * (k % 2)), 0.22, 0.20, hair)


def _head_outline(head_width: float, jaw_width: float) -> Points:
    """The outline of a head: an oval that is narrower at the chin."""
    narrowing = np.where(_CIRCLE.imag > 0, 1 - (1 - jaw_width) * _CIRCLE.imag, 1.0)
    outline: Points = _CIRCLE.real * head_width * narrowing + 1j * _CIRCLE.imag
    return outline


def _curve(start: complex, control: complex, end: complex) -> Points:
    """Eleven points of the quadratic Bezier curve from `start` to `end`."""
    first, middle, last = _BEZIER_WEIGHTS
    points: Points = start * first + control * middle + end * last
    return points


def _choose(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _mix(base: Colour, other: Colour, weight: float) -> Colour:
    r, g, b = (round(a + (z - a) * weight) for a, z in zip(base, other, strict=True))
    return r, g, b


def _shade(colour: Colour, brightness: float) -> Colour:
    r, g, b = (min(255, round(c * brightness)) for c in colour)
    return r, g, b
