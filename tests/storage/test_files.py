"""Promises of `mien.storage.files` on JSON."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.reporting import console
from mien.storage.files import json_text, write_json

VALUES = {"lost": nan, "rows": [{"low": -inf, "high": 1.5, "label": None}, (inf, True, "NaN")]}
AS_READ = {"lost": None, "rows": [{"low": None, "high": 1.5, "label": None}, [None, True, "NaN"]]}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def test_a_file_holds_null_for_nan_and_infinity(tmp_path: Path) -> None:
    """Readers other than Python refuse NaN."""
    write_json(tmp_path / "a.json", VALUES)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=_refuse) == AS_READ


def test_a_printed_document_holds_null_for_nan(capsys: pytest.CaptureFixture[str]) -> None:
    """What `--json` prints is read by other programs."""
    console.document(VALUES)
    assert json.loads(capsys.readouterr().out, parse_constant=_refuse) == AS_READ


@given(DOCUMENTS, st.booleans(), st.integers(0, 3), st.booleans())
def test_indented_json_is_that_of_the_standard_library(
    document: Any, sort_keys: bool, indent: int, ensure_ascii: bool
) -> None:
    """Byte by byte: bundles are compared by their hash."""
    expected = json.dumps(document, sort_keys=sort_keys, indent=indent, ensure_ascii=ensure_ascii)
    found = json_text(document, sort_keys=sort_keys, indent=indent, ensure_ascii=ensure_ascii)
    assert found == expected


def test_indented_json_takes_what_json_takes() -> None:
    """Tuples, and keys that are no texts."""
    document = {"a": ((1, 2), (), {}), 1: [[], [1.5, None]], None: {True: "é"}, 2.5: 0}
    assert json_text(document, indent=1) == json.dumps(document, indent=1)
