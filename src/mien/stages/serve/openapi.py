"""How the addresses describe themselves in OpenAPI: summaries, examples, schemas of errors.

Only descriptions: nothing here runs when a request is answered.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from mien.stages.serve import answers
from mien.stages.serve.errors import KINDS, MEDIA_TYPE, Problem
from mien.stages.serve.feedback import Feedback, Judged
from mien.stages.serve.uploads import FIELD
from mien.task import Task

Described = dict[str, Any]
FORM, JSON = "multipart/form-data", "application/json"
_REFERENCE = "#/components/schemas/{model}"
_FORM_SCHEMA = {
    "type": "object",
    "required": [FIELD],
    "properties": {
        FIELD: {"type": "string", "format": "binary", "description": "a JPEG, PNG or WEBP picture"}
    },
}


def _problems(*statuses: int) -> dict[int | str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {
        status: {
            "description": " / ".join(
                dict.fromkeys(kind.title for kind in KINDS.values() if kind.status == status)
            ),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


_PREDICT_PROBLEMS = _problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
FEEDBACK: Described = {
    "tags": ["feedback"],
    "summary": "Tell what the right answer is",
    "description": "One verdict for each answer; a later one takes the place of an earlier one.\n\n"
    "    curl http://127.0.0.1:8000/feedback -H 'Content-Type: application/json' \\\n"
    '      -d \'{"trace_id": "0af7651916cd43dd8448eb211c80319c", "label": null}\'',
    "responses": {200: {"model": Judged}, **_problems(401, 404, 408, 413, 415, 422, 429, 503)},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": _REFERENCE.format(model=Feedback.__name__)}}},
        }
    },
}
HEALTH: Described = {
    "tags": ["state"],
    "summary": "Name, version and state of every model",
    "description": "200 when every model has answered a warm-up; 503 with the reason otherwise.",
    "responses": _problems(503),
}
LIVEZ: Described = {
    "tags": ["state"],
    "summary": "The process lives",
    "description": "200 from the first moment on, while models are still being loaded too.",
}
READYZ: Described = {
    "tags": ["state"],
    "summary": "The server may receive traffic",
    "description": "200 when loading is over and at least one model answers.",
    "responses": _problems(503),
}
METRICS: Described = {
    "tags": ["state"],
    "summary": "Metrics for Prometheus",
    "responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
}
SAMPLE: Described = {
    "tags": ["predict"],
    "summary": "A drawn picture to try a task with",
    "description": "    curl http://127.0.0.1:8000/sample/TASK -o sample.png",
    "responses": {
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **_problems(404, 503),
    },
    "openapi_extra": {
        "parameters": [
            {"name": "task", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    },
}
ERRORS: Described = {
    "tags": ["state"],
    "summary": "What a type of problem means",
    "responses": _problems(404),
    "openapi_extra": {
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    },
}


def one(task: Task[Any]) -> Described:
    """Describe the address of one task."""
    path = f"/predict/{task.name}"
    example = f"    curl -F {FIELD}=@picture.jpg http://127.0.0.1:8000{path}"
    content: Described = {FORM: {"schema": _FORM_SCHEMA}}
    if task.inference.Body is not None:
        name = answers.title(task) + task.inference.Body.__name__
        content[JSON] = {"schema": {"$ref": _REFERENCE.format(model=name)}}
    return {
        "tags": ["predict"],
        "summary": task.summary[:1].upper() + task.summary[1:],
        "description": f"A valid picture without a subject is answered with null.\n\n{example}",
        "responses": {200: {"model": answers.schema(task)}, **_PREDICT_PROBLEMS},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "operation_id": f"predict_{task.name}",
    }


def first(tasks: Sequence[Task[Any]]) -> Described:
    """Describe the address that serves every task."""
    known = ", ".join(f"`{task.name}`" for task in tasks)
    example = (
        f"    curl -F {FIELD}=@picture.jpg 'http://127.0.0.1:8000/predict?task={tasks[0].name}'"
    )
    schemas = [{"$ref": _REFERENCE.format(model=answers.schema(task).__name__)} for task in tasks]
    return {
        "tags": ["predict"],
        "summary": "Answer for the task that the query names",
        "description": f"Tasks: {known}; without `task` it is `{tasks[0].name}`.\n\n{example}",
        "responses": {
            200: {
                "description": "Successful Response",
                "content": {JSON: {"schema": {"anyOf": schemas}}},
            },
            **_PREDICT_PROBLEMS,
        },
        "openapi_extra": {
            "parameters": [
                {
                    "name": "task",
                    "in": "query",
                    "required": False,
                    "schema": {"type": "string", "enum": [task.name for task in tasks]},
                    "description": "The task; without it the first one.",
                }
            ],
            "requestBody": {"required": True, "content": {FORM: {"schema": _FORM_SCHEMA}}},
        },
        "operation_id": "predict",
    }


def document(app: FastAPI, tasks: Sequence[Task[Any]]) -> dict[str, Any]:
    """Make the OpenAPI document of the app, with the schemas that no route's signature names."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_definitions(Problem) | _definitions(Feedback))
    for task in tasks:
        if task.inference.Body is not None:
            schemas.update(_definitions(task.inference.Body, answers.title(task)))
    return made


def _definitions(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Schemas of a model and its parts, under names that no other task's can have."""
    schema = model.model_json_schema(ref_template=_REFERENCE.replace("{model}", prefix + "{model}"))
    parts = {**schema.pop("$defs", {}), model.__name__: schema}
    return {prefix + name: part for name, part in parts.items()}
