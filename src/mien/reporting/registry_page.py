"""What MLflow shows of a bundle: what it takes and answers, an example, and its card in short."""

import io
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from mien.task import Task
from mien.tracking import ModelPage

_TYPES = {"number": "double", "integer": "long", "string": "string", "boolean": "boolean"}
"""Names of MLflow's types by those of JSON schema."""
_MAX_DESCRIPTION = 5000
"""Characters that a version's description may have in MLflow's database."""


def model_page(task: Task[Any]) -> ModelPage:
    """Signature and example of a task's models: the fields of a request and of its answer."""
    predictor = task.inference
    picture = {"type": "binary", "name": "file", "required": predictor.Body is None}
    outputs = [
        {"type": "string", "name": task.name, "required": False},
        {"type": "double", "name": "confidence", "required": True},
        {"type": "string", "name": "outcome", "required": True},
    ]
    if predictor.Body is None:
        out = io.BytesIO()
        predictor.sample_picture().convert("RGB").save(out, "JPEG")
        return ModelPage([picture], outputs, {"file": b64encode(out.getvalue()).decode()})
    schema = predictor.Body.model_json_schema()
    fields = [
        {**_column_type(each, schema), "name": name, "required": False}
        for name, each in schema["properties"].items()
    ]
    return ModelPage([picture, *fields], outputs, next(iter(schema.get("examples", [{}]))))


def description(card: str) -> str:
    """The paragraphs of a card before its first block of JSON that fit into MLflow's database."""
    text, _, block = card.partition("```")
    text = text.rstrip().rpartition("\n\n")[0] if block else text
    while len(text) > _MAX_DESCRIPTION:
        text = text.rpartition("\n\n")[0]
    return text


def _column_type(field: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The type of a field in MLflow's words; of a choice, its first."""
    if "$ref" in field:
        return _column_type(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in field:
        return _column_type(field["anyOf"][0], schema)
    if field["type"] == "array":
        return {"type": "array", "items": _column_type(field["items"], schema)}
    return {"type": _TYPES[field["type"]]}
