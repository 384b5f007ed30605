"""Names of columns that are coordinates of a hand: x1, X_0, hand_0_x, landmark_12_z, WRIST_Y.

A name is an axis, at most one number or name of a joint, and words that all columns of a hand
share. Columns of one hand are read; those of two are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mien.errors import DataError

POINTS = 21
_MIN_POINTS = 5
"""Fewer points with an x are something else, such as corners of boxes."""
_FINGERS = ("index", "middle", "ring", "pinky")
_THUMB, _FINGER = ("cmc", "mcp", "ip", "tip"), ("mcp", "pip", "dip", "tip")
JOINTS: tuple[tuple[str, ...], ...] = (
    ("wrist",),
    *(("thumb", joint) for joint in _THUMB),
    *((finger, joint) for finger in _FINGERS for joint in _FINGER),
)
"""MediaPipe's names of the 21 points, in its order, without the word finger."""

_Prefix = tuple[str, ...]
_Points = dict[str, dict[int, list[int]]]
"""Positions by axis and number; more than one where a name stands several times."""


@dataclass(frozen=True)
class CoordinateColumns:
    """The columns of one hand."""

    positions: tuple[int, ...]
    """x, y (and z) of one point after the other."""
    has_depth: bool
    note: str = ""


@dataclass(frozen=True)
class _Name:
    """A column name that may be a coordinate."""

    axis: str
    prefix: _Prefix
    numbers: tuple[int, ...]


def coordinate_columns(header: Sequence[str], title: str) -> CoordinateColumns | None:
    """The coordinates of a header; None where it names no points.

    Raises:
        DataError: a column of the 42 or 63 is missing or stands twice, or there are two hands.
    """
    hands = {prefix: points for prefix, points in _hands(header).items() if _is_hand(points)}
    complete = {prefix: points for prefix, points in hands.items() if not _missing(points)}
    if len(complete) > 1:
        names = "; ".join(header[points["x"][min(points["x"])][0]] for points in complete.values())
        raise DataError(
            f"{title}: expected the columns of one hand in each row, found {len(complete)} "
            f"(beginning with {names}). Keep one, or write each hand in a row of its own."
        )
    if not hands:
        return None
    if not complete:
        raise DataError(_incomplete(max(hands.values(), key=_count), title))
    points = next(iter(complete.values()))
    several = [header[n[0]] for each in points.values() for n in each.values() if len(n) > 1]
    if several:
        raise DataError(
            f"{title}: expected each column once, found several: {', '.join(several)}. Remove or "
            "rename the others."
        )
    axes = [axis for axis in "xyz" if points[axis]]
    order = sorted(points["x"])
    positions = tuple(points[axis][number][0] for number in order for axis in axes)
    return CoordinateColumns(positions, "z" in axes)


def _hands(header: Sequence[str]) -> dict[_Prefix, _Points]:
    """Coordinates by the words before the number: one entry for each hand."""
    names = {n: each for n, text in enumerate(header) if (each := _parse(text))}
    pairs = [each.numbers for each in names.values() if len(each.numbers) == 2]
    # Of two numbers, the one with fewer values is that of the hand.
    second = len({a for a, _ in pairs}) <= len({b for _, b in pairs})
    hands: dict[_Prefix, _Points] = {}
    for position, each in names.items():
        prefix, number = each.prefix, each.numbers[-1] if each.numbers else None
        if len(each.numbers) == 2:
            hand, number = each.numbers if second else each.numbers[::-1]
            prefix = (*prefix, str(hand))
        axis = hands.setdefault(prefix, {"x": {}, "y": {}, "z": {}})[each.axis]
        axis.setdefault(-1 if number is None else number, []).append(position)
    for points in hands.values():
        _number_repeated(points)
    return hands


def _number_repeated(points: _Points) -> None:
    """Number columns without a number: x, y, z, x, y, z .. or pandas' x, y, z, x.1, y.1, z.1 .."""
    for axis in points.values():
        unnumbered = axis.pop(-1, [])
        if len(unnumbered) == POINTS and not axis:
            axis.update({number: [n] for number, n in enumerate(unnumbered)})
        elif len(unnumbered) == 1 and sorted(axis) == list(range(1, POINTS)):
            axis[0] = unnumbered


def _parse(text: str) -> _Name | None:
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).casefold()
    tokens = re.findall(r"[a-z]+|\d+", separated)
    axes = [token for token in tokens if token in ("x", "y", "z")]
    if len(axes) != 1:
        return None
    numbers = tuple(int(token) for token in tokens if token.isdigit())
    prefix = tuple(each for each in tokens if not each.isdigit() and each not in axes)
    if numbers:
        return _Name(axes[0], prefix, numbers) if len(numbers) <= 2 else None
    joint_names = tuple(token for token in prefix if token != "finger")
    for number, joint in enumerate(JOINTS):
        for start in range(len(joint_names) - len(joint) + 1):
            if joint_names[start : start + len(joint)] == joint:
                rest = joint_names[:start] + joint_names[start + len(joint) :]
                return _Name(axes[0], ("joint", *rest), (number,))
    return _Name(axes[0], prefix, ())


def _is_hand(points: _Points) -> bool:
    return min(len(points["x"]), len(points["y"])) >= _MIN_POINTS


def _expected(points: _Points) -> range:
    """The numbers of 21 points: from 0, or from 1."""
    numbers = {number for axis in points.values() for number in axis}
    return range(POINTS) if 0 in numbers else range(1, POINTS + 1)


def _missing(points: _Points) -> list[str]:
    """Coordinates that a complete hand has; a point too many counts as missing too."""
    axes = "xyz" if points["z"] else "xy"
    expected = _expected(points)
    missing = [f"{axis}{n}" for n in expected for axis in axes if n not in points[axis]]
    more = [f"{axis}{n} is too many" for axis in axes for n in points[axis] if n not in expected]
    return missing + more


def _count(points: _Points) -> int:
    return sum(len(axis) for axis in points.values())


def _incomplete(points: _Points, title: str) -> str:
    total = 63 if points["z"] else 42
    missing = _missing(points)
    present = sum(n in _expected(points) for axis in points.values() for n in axis)
    listed = ", ".join(missing[:10]) + ", .." * (len(missing) > 10)
    return (
        f"{title}: expected {total} columns x1, y1{', z1' * (total == 63)} .. for the 21 points of "
        f"a hand; found {present} of the {total}, missing: {listed}. Add them, counted from 0 or 1."
    )
