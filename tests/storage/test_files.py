"""JSON of values that JSON does not have."""

import json
from math import inf, nan
from pathlib import Path

import pytest

from mien.reporting import console
from mien.storage.files import write_json

VALUES = {"lost": nan, "rows": [{"low": -inf, "high": 1.5, "label": None}, (inf, True, "NaN")]}
AS_READ = {"lost": None, "rows": [{"low": None, "high": 1.5, "label": None}, [None, True, "NaN"]]}


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
