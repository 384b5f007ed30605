"""The page on serving says what the code does."""

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from mien.config import Settings
from mien.observability.prediction_log.schema import PredictionRecord
from mien.stages.serve import auth, fault_injection, forms, protocol, uploads, workers
from mien.stages.serve.errors import PROBLEM_TYPES
from mien.stages.serve.feedback import FeedbackRequest, FeedbackResult
from mien.storage.workspace import Workspace

PAGE = (Path(__file__).parents[3] / "docs/source/serving.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_errors_is_the_table_of_the_code() -> None:
    """Each kind once: status, type and title."""
    kinds = dict.fromkeys(
        (str(kind.status), kind.type, kind.title) for kind in PROBLEM_TYPES.values()
    )
    assert sorted(tuple(row) for row in rows("Errors")) == sorted(kinds)


def test_the_table_of_settings_has_each_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and defaults are those of `Settings`."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)
    found = {name: default for name, default, _ in rows("Settings")}
    assert (
        found["MIEN_PREDICTION_LOG"] == f"{Workspace(Path()).prediction_log.name} in the workspace"
    )
    found["MIEN_PREDICTION_LOG"] = ""
    fields = Settings.model_fields.values()
    assert found == {str(field.alias): as_written(field.default) for field in fields}


def as_written(default: object) -> str:
    """A default as one would set it; the prediction log's place depends on another setting."""
    if isinstance(default, SecretStr) or default in (None, ""):
        return ""
    return f"{default:g}" if isinstance(default, float | bool) else str(default)


def test_the_numbers_beside_the_tables_are_those_of_the_code() -> None:
    """Times, what is kept, and the limits on JSON."""
    settings = Settings()
    assert f"Rows are kept for {settings.prediction_log_days:g} days" in PAGE
    assert f"while the prediction log holds more than {settings.prediction_log_mb:g} MB" in PAGE
    assert f"the body may have {uploads.MAX_FEEDBACK_BYTES} bytes" in PAGE
    assert f"the header `{fault_injection.HEADER}`" in PAGE.lower()
    assert fault_injection.SLOW_S == 1, "the page says `a second`"
    assert f"a JSON body {uploads.MAX_JSON_BYTES} bytes" in PAGE
    assert f"at most {protocol.MAX_HEADER_BYTES} bytes" in PAGE
    assert f"a form {forms.MAX_PARTS} parts" in PAGE
    assert f"at least {auth.MIN_KEY_LENGTH} characters" in PAGE
    assert f"not read for {protocol.WRITE_TIMEOUT_S:g} seconds" in PAGE
    assert workers.MAX_HUNG_THREADS + 1 == 9, "the page says `when nine hang`"


def test_every_address_is_described(client: TestClient) -> None:
    """Those of the description, and those for people."""
    named = {row[0] for row in rows("Addresses")}
    described = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    of_tasks = {"POST /predict/shape", "POST /predict/colour"}
    others = {"GET /", "GET /status", "GET /docs", "GET /openapi.json", "POST /predict/{task}"}
    assert named == described - of_tasks | others


def test_feedback_is_shown_as_it_is_sent_and_told() -> None:
    """The examples of the page are documents of the code's schemas."""
    section = PAGE.partition("## Feedback\n")[2].partition("\n## ")[0]
    sent = section.partition("-d '")[2].partition("'")[0]
    kept = section.partition("as stored:\n\n```json\n")[2].partition("```")[0]
    assert FeedbackRequest.model_validate_json(sent, strict=True).label == "like"
    assert FeedbackResult.model_validate_json(kept).correct


def test_what_is_recorded_is_named() -> None:
    """Every column of the prediction log has its words on the page; the test knows which."""
    section = PAGE.partition("## What is recorded\n")[2].partition("\n## ")[0]
    words = {
        "trace_id": "`trace_id`",
        "timestamp": "the time,",
        "task": "task",
        "version": "version",
        "digest": "digest",
        "outcome": "outcome",
        "label": "label",
        "confidence": "confidence",
        "input_stats": "input_stats",
        "latency_s": "the latency",
    }
    assert set(words) == {field.name for field in fields(PredictionRecord)}
    assert [word for word in words.values() if word not in section] == []
