"""Promises of the reader of label files: every public form is a box, and nothing is silent."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.tasks.emotion import label_lines, yolo
from mien.tasks.emotion.label_lines import (
    DUPLICATE_LABEL_LINE,
    EMPTY_LABEL_FILE,
    EXTRA_LABEL_COLUMNS,
    MALFORMED_LABEL,
    POLYGON_LABEL,
    parse,
)

SHARES = st.floats(0, 1).map(lambda value: round(value, 6))
BOXES = st.tuples(SHARES, SHARES, SHARES, SHARES)
LINES = st.lists(st.tuples(st.integers(0, 20), BOXES), min_size=1, max_size=5, unique=True)
SEPARATORS = st.sampled_from([" ", "  ", "\t", ",", ", ", ";", "; ", " \t"])
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
Rows = Sequence[tuple[int, tuple[float, ...]]]


def text(rows: Rows, separator: str = " ", end: str = "\n", extra: str = "") -> str:
    """A label file with six decimals."""
    lines = [
        separator.join([str(number), *(f"{value:.6f}" for value in values)]) + extra
        for number, values in rows
    ]
    return end.join(lines) + end


def read(content: bytes, has_keypoints: bool = False) -> list[tuple[int, tuple[float, ...]]]:
    return [(each.number, each.box) for each in parse(content, has_keypoints).boxes]


def slugs(content: bytes, has_keypoints: bool = False) -> set[str]:
    return {each.slug for each in parse(content, has_keypoints).issues}


@given(LINES, SEPARATORS, ENDS, ENCODINGS)
def test_the_way_of_writing_does_not_matter(
    rows: Rows, separator: str, end: str, encoding: str
) -> None:
    """Separators, ends of lines, encodings and byte order marks give the same boxes."""
    content = text(rows, separator, end).encode(encoding)
    assert read(content) == list(rows)
    assert slugs(content) == set()


@given(LINES, st.sampled_from([" ", ";", "\t"]))
def test_decimal_commas_are_points(rows: Rows, separator: str) -> None:
    """Between spaces, tabs or semicolons a comma belongs to the number."""
    content = text(rows, separator).replace(".", ",").encode()
    assert read(content) == list(rows)


@given(LINES, SHARES)
def test_a_score_is_ignored_and_counted(rows: Rows, score: float) -> None:
    """A sixth number from 0 to 1 changes nothing."""
    content = text(rows, extra=f" {score}").encode()
    assert read(content) == list(rows)
    assert slugs(content) == {EXTRA_LABEL_COLUMNS}


@given(LINES)
def test_keypoints_are_ignored_where_the_set_has_them(rows: Rows) -> None:
    """With `kpt_shape` all numbers after the box are keypoints, whatever their count."""
    content = text(rows, extra=" 0.1 0.2 2 0.3 0.4 0 0 0 0").encode()
    assert read(content, has_keypoints=True) == list(rows)
    assert slugs(content, has_keypoints=True) == {EXTRA_LABEL_COLUMNS}


@given(st.integers(0, 7), st.lists(st.tuples(SHARES, SHARES), min_size=3, max_size=9))
def test_a_polygon_is_its_bounding_box(number: int, points: list[tuple[float, float]]) -> None:
    """The box holds every point, and each of its sides touches one."""
    values = [value for point in points for value in point]
    content = text([(number, tuple(values))]).encode()
    ((label, box),) = read(content)
    left, top, right, bottom = yolo.corners(box)  # type: ignore[arg-type]
    xs, ys = values[::2], values[1::2]
    assert label == number
    assert (left, right) == pytest.approx((min(xs), max(xs)), abs=1e-9)
    assert (top, bottom) == pytest.approx((min(ys), max(ys)), abs=1e-9)
    assert slugs(content) == {POLYGON_LABEL}


@given(LINES, st.integers(2, 4))
def test_copies_of_a_line_count_once(rows: Rows, times: int) -> None:
    """The boxes are those of the first copies, and the others are counted."""
    content = (text(rows) * times).encode()
    labels = parse(content)
    assert [(each.number, each.box) for each in labels.boxes] == list(rows)
    assert [each.slug for each in labels.issues] == [DUPLICATE_LABEL_LINE] * len(rows) * (times - 1)


@given(st.integers(0, 7), st.tuples(*[st.integers(3, 5000)] * 4), st.integers(0, 3))
def test_pixels_are_refused_with_their_line(number: int, box: tuple[int, ...], before: int) -> None:
    """The message has the number, the line and what to do."""
    content = "\n" * before + text([(number, box)])
    malformed = parse(content.encode()).malformed
    assert malformed is not None
    assert malformed.line == before + 1
    assert f"found {max(box)}" in malformed.reason
    assert "pixels" in malformed.reason
    assert "Divide x by the width" in malformed.reason


@given(st.binary(max_size=200))
def test_any_bytes_are_a_label_file(content: bytes) -> None:
    """Nothing raises; a file without boxes has an issue, and boxes are numbers."""
    labels = parse(content)
    assert labels.boxes or labels.issues
    assert all(len(each.box) == 4 for each in labels.boxes)
    for issue in labels.issues:
        assert issue.line >= 1
        assert bool(issue.reason) == (issue.slug == MALFORMED_LABEL)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("happy 0.5 0.5 0.4 0.6", "expected numbers, found 'happy'"),
        ("1_0 0.5 0.5 0.4 0.6", "expected numbers, found '1_0'"),
        ("4 0.5 0.5", "expected 5 numbers `class cx cy w h`, found 3"),
        ("4.5 0.5 0.5 0.4 0.6", "expected a class number, found 4.5"),
        ("inf 0.5 0.5 0.4 0.6", "expected a class number, found inf"),
        ("4 0.5 0.5 0.4 0.6 37", "expected a score of 0 to 1 in column 6, found 37"),
        ("4 0.1 0.1 0.2 0.2 0.3 0.3 0.9", "pairs x y, found 8"),
        ("0.1 0.1 0.2 0.2", "found 4"),
        ("\u0664 0.5 0.5 0.4 0.6", "expected numbers"),
    ],
)
def test_what_is_no_label_line_has_a_reason(line: str, reason: str) -> None:
    """What was expected and found; the lines after it are not read."""
    labels = parse(f"1 0.5 0.5 0.4 0.6\n{line}\n2 0.5 0.5 0.4 0.6\n".encode())
    assert [each.number for each in labels.boxes] == [1]
    assert labels.malformed is not None
    assert labels.malformed.line == 2
    assert reason in labels.malformed.reason


def test_an_empty_file_says_that_nobody_is_there() -> None:
    """Blank lines and a byte order mark are nothing."""
    for content in (b"", b"\n \n", b"\xef\xbb\xbf", "\n".encode("utf-16")):
        assert parse(content).empty
        assert slugs(content) == {EMPTY_LABEL_FILE}


def test_what_is_not_finite_has_no_place() -> None:
    """Such a box is read, and has no area inside the image."""
    for word in ("nan", "inf", "-inf", "1e999"):
        (box,) = parse(f"4 {word} 0.5 0.4 0.6".encode()).boxes
        assert not math.isfinite(box.box[0])
        issues: list[str] = []
        assert yolo.clip_box(box.box, issues.append) is None
        assert yolo.DEGENERATE_BOX in issues
    assert label_lines.MAX_SHARE == 2
