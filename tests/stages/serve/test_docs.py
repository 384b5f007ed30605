"""The page on serving says what the code does."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mien.config import Settings
from mien.stages.serve import app, routes, uploads
from mien.stages.serve.errors import KINDS
from mien.stages.serve.metrics import STAGES, Metrics

PAGE = (Path(__file__).parents[3] / "docs/source/serving.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_errors_is_the_table_of_the_code() -> None:
    """Each kind once: status, type and title."""
    kinds = dict.fromkeys((str(kind.status), kind.type, kind.title) for kind in KINDS.values())
    assert sorted(tuple(row) for row in rows("Errors")) == sorted(kinds)


def test_the_table_of_settings_has_each_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and defaults are those of `Settings`."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)
    found = {name: default for name, default, _ in rows("Settings")}
    fields = Settings.model_fields.values()
    assert found == {
        str(field.alias): f"{field.default:g}"
        if isinstance(field.default, float)
        else str(field.default)
        for field in fields
    }


def test_the_numbers_beside_the_tables_are_those_of_the_code() -> None:
    """Times and the limit on JSON."""
    assert f"An upload has {routes.READ_SECONDS:g} seconds to arrive" in PAGE
    assert f"a JSON body may have {uploads.JSON_BYTES / 1e6:g} MB" in PAGE
    assert f"requests in work have {app.DRAIN_SECONDS} seconds to be answered" in PAGE


def test_every_address_is_described(client: TestClient) -> None:
    """Those of the description, and those for people."""
    named = {row[0] for row in rows("Addresses")}
    described = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    of_tasks = {"POST /predict/shape", "POST /predict/colour"}
    others = {"GET /", "GET /docs", "GET /openapi.json", "POST /predict/{task}"}
    assert named == described - of_tasks | others


def test_every_metric_is_described() -> None:
    """With its labels, and every stage of an answer."""
    told = {name: labels for name, labels, _ in rows("Metrics")}
    families = [family for family in Metrics().registry.collect() if family.name[:5] == "mien_"]
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    assert set(told) == names
    assert all(f"`{stage}`" in PAGE for stage in STAGES)
