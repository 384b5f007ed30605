"""Properties of reading tables: no form changes a number, no text raises anything but DataError."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import DataError
from mien.tasks.gesture import table
from mien.tasks.gesture.csv_text import looks_numeric, to_numbers, to_size
from mien.tasks.gesture.landmarks import Floats

from .tables import JOINTS

NUMBERS = st.floats(-2000, 2000, allow_nan=False).map(lambda value: round(value, 4))
NAMES = ("{axis}{n}", "hand_{n}_{axis}", "{axis}_{n}", "landmark[{n}].{axis}", "lm{n}{axis}")
FORMS = st.fixed_dictionaries(
    {
        "names": st.sampled_from([*NAMES, "joints", "none"]),
        "first": st.sampled_from([0, 1]),
        "upper": st.booleans(),
        "depth": st.booleans(),
        "label": st.sampled_from(["label", "Class", "GESTURE", "target"]),
        "label_first": st.booleans(),
        "delimiter": st.sampled_from(",;\t|"),
        "decimal": st.sampled_from(".,"),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "line_end": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        "index": st.booleans(),
        "shuffle": st.none() | st.permutations(range(21)),
    }
)
HANDS = st.lists(
    st.tuples(
        st.sampled_from(["thumb", "wave", "tschüss"]), st.lists(NUMBERS, min_size=63, max_size=63)
    ),
    min_size=3,
    max_size=6,
)


def written(form: dict[str, Any], hands: list[tuple[str, list[float]]]) -> bytes:
    """A table of hands in some form; the order of points is free where columns have names."""
    named = form["names"] != "none"
    order = form["shuffle"] if named and form["shuffle"] else range(21)
    axes = "xyz" if form["depth"] else "xy"
    header = [_name(form, point, axis) for point in order for axis in axes]
    lines = [[form["label"], *header] if form["label_first"] else [*header, form["label"]]]
    for label, numbers in hands:
        points = [numbers[3 * point + axis] for point in order for axis in range(len(axes))]
        cells = [repr(each).replace(".", form["decimal"]) for each in points]
        lines.append([label, *cells] if form["label_first"] else [*cells, label])
    if form["index"]:
        lines = [[str(n - 1) if n else "", *line] for n, line in enumerate(lines)]
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=form["delimiter"],
        quoting=form["quoting"],
        lineterminator=form["line_end"],
    )
    writer.writerows(lines if named else lines[1:])
    return stream.getvalue().encode(form["encoding"])


def _name(form: dict[str, Any], point: int, axis: str) -> str:
    if form["names"] == "joints":
        name = f"{JOINTS[point]}_{axis}"
    else:
        name = form["names"].format(n=point + form["first"], axis=axis)
    return name.upper() if form["upper"] else name


@settings(max_examples=60, deadline=None)
@given(form=FORMS, hands=HANDS)
def test_no_form_changes_a_number_or_a_label(
    tmp_path_factory: pytest.TempPathFactory,
    form: dict[str, Any],
    hands: list[tuple[str, list[float]]],
) -> None:
    """Delimiter, decimal mark, header, order, encoding: the rows are those that were written, but
    for rows of zeros, which hold no hand."""
    path = tmp_path_factory.mktemp("table") / "hands.csv"
    path.write_bytes(written(form, hands))
    read = table.read_source_table(path)
    assert [row.label for row in read.rows] == [label for label, _ in hands]
    for row, (_, numbers) in zip(read.rows, hands, strict=True):
        expected = np.array(numbers).reshape(21, 3) * (1, 1, form["depth"])
        if expected.any():
            np.testing.assert_array_equal(_points(row), expected)
        else:
            assert row.landmarks is None


def _points(row: table.SourceRow) -> Floats:
    assert row.landmarks is not None
    return row.landmarks


@settings(max_examples=150, deadline=None)
@given(
    header=st.booleans(),
    text=st.text(st.sampled_from("x1y2z,;\t\n\r\"'.-e_0 9abé\ufeff\0"), max_size=300)
    | st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
)
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: bool, text: str
) -> None:
    """A row, a skipped row, or a DataError with a sentence: never another exception."""
    path = tmp_path_factory.mktemp("table") / "hands.csv"
    names = ",".join([*table.COLUMNS, "label"]) + "\n" if header else ""
    path.write_text(names + text, encoding="utf-8", newline="")
    refusal = ""
    rows: Sequence[table.SourceRow] = ()
    try:
        rows = table.read_source_table(path).rows
    except DataError as error:
        refusal = str(error)
    assert not refusal or (refusal.startswith("hands.csv") and "expected" in refusal)
    assert all(row.landmarks is None or np.isfinite(row.landmarks).all() for row in rows)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_written_number_is_read(value: float) -> None:
    """In Python's form and with a decimal comma, to the last bit."""
    assert to_numbers([repr(value)], decimal_comma=False) == [value]
    assert to_numbers([repr(value).replace(".", ",")], decimal_comma=True) == [value]
    assert looks_numeric(repr(value))


@given(st.text(max_size=12))
def test_what_is_no_number_is_refused(text: str) -> None:
    """Whatever is read is finite, in ASCII, and without the signs that only Python reads."""
    numbers = to_numbers([text], decimal_comma=False)
    if numbers is not None:
        assert math.isfinite(numbers[0])
        assert text.isascii()
        assert "_" not in text


@pytest.mark.parametrize("cell", ["1_0", "nan", "inf", "-Infinity", "1e999", "٣", "0x1", "", "1,5"])
def test_forms_that_only_python_reads_are_no_numbers(cell: str) -> None:
    """Python's float takes `1_0` as ten."""
    assert to_numbers(["1.5", cell], decimal_comma=False) is None


@pytest.mark.parametrize(("cell", "size"), [("640", 640), ("640,0", 640), (" 12.5 ", 12.5)])
def test_sizes_are_numbers_above_0(cell: str, size: float) -> None:
    """Of pictures; anything else is unknown."""
    assert to_size(cell) == size
    assert all(math.isnan(to_size(each)) for each in ("", "0", "-3", "6_4", "wide"))
