"""The OpenAPI descriptions of the addresses: summaries, examples, schemas of errors.

Nothing here runs while a request is handled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from mien.stages.serve import response
from mien.stages.serve.errors import MEDIA_TYPE, PROBLEM_TYPES, Problem
from mien.stages.serve.feedback import FeedbackRequest, FeedbackResult
from mien.stages.serve.forms import FIELD
from mien.stages.serve.status import ServerStatus
from mien.task import Task

Description = dict[str, Any]
FORM, JSON = "multipart/form-data", "application/json"
_REFERENCE = "#/components/schemas/{model}"
_FORM_SCHEMA = {
    "type": "object",
    "required": [FIELD],
    "properties": {
        FIELD: {
            "type": "string",
            "format": "binary",
            "description": "a JPEG, PNG, WEBP or AVIF image",
        }
    },
}


def _problems(*statuses: int) -> dict[int | str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    titles: dict[int, list[str]] = {}
    for each in PROBLEM_TYPES.values():
        titles.setdefault(each.status, []).append(each.title)
    return {
        status: {"description": " / ".join(titles[status]), "content": content}
        for status in statuses
    }


def _path_parameter(name: str) -> Description:
    schema = {"type": "string"}
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": schema}]}


_PREDICT_PROBLEMS = _problems(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
FEEDBACK: Description = {
    "tags": ["feedback"],
    "summary": "Send the true label of a prediction",
    "description": "One feedback for each prediction; a later one replaces an earlier one.\n\n"
    "    curl http://127.0.0.1:8000/feedback -H 'Content-Type: application/json' \\\n"
    '      -d \'{"trace_id": "0af7651916cd43dd8448eb211c80319c", "label": null}\'',
    "responses": {
        200: {"model": FeedbackResult},
        **_problems(401, 404, 408, 413, 415, 422, 429, 503),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": _REFERENCE.format(model="FeedbackRequest")}}},
        }
    },
}
HEALTH: Description = {
    "tags": ["state"],
    "summary": "Name, version and state of every model",
    "description": "200 when every model is ready; 503 with the reason otherwise.",
    "responses": _problems(503),
}
LIVEZ: Description = {
    "tags": ["state"],
    "summary": "The process is alive",
    "description": "200 from the start, also while models are still being loaded.",
}
READYZ: Description = {
    "tags": ["state"],
    "summary": "The server may receive traffic",
    "description": "200 when loading is over and at least one model is ready.",
    "responses": _problems(503),
}
METRICS: Description = {
    "tags": ["state"],
    "summary": "Metrics for Prometheus",
    "responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
}
STATUS: Description = {
    "tags": ["state"],
    "summary": "Versions, answers of the last hour, latency, drift and live accuracy",
    "description": "What the page /status shows, from the windows of this server.",
    "responses": {200: {"model": ServerStatus}},
}
SAMPLE: Description = {
    "tags": ["predict"],
    "summary": "A drawn sample image of a task",
    "description": "    curl http://127.0.0.1:8000/sample/TASK -o sample.png",
    "responses": {
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **_problems(404, 503),
    },
    "openapi_extra": _path_parameter("task"),
}
ERRORS: Description = {
    "tags": ["state"],
    "summary": "The description of a problem type",
    "responses": _problems(404),
    "openapi_extra": _path_parameter("name"),
}


def predict_task(task: Task[Any]) -> Description:
    """Describe the address of one task."""
    path = f"/predict/{task.name}"
    example = f"    curl -F {FIELD}=@image.jpg http://127.0.0.1:8000{path}"
    content: Description = {FORM: {"schema": _FORM_SCHEMA}}
    if task.inference.Body is not None:
        name = response.schema_prefix(task) + task.inference.Body.__name__
        content[JSON] = {"schema": {"$ref": _REFERENCE.format(model=name)}}
    return {
        "tags": ["predict"],
        "summary": task.summary[:1].upper() + task.summary[1:],
        "description": "A valid image without a subject is answered with null. The bytes of an "
        "image are taken without a form too, as image/jpeg, image/png, image/webp or "
        f"application/octet-stream.\n\n{example}{_use(task)}",
        "responses": {200: {"model": response.schema(task)}, **_PREDICT_PROBLEMS},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "operation_id": f"predict_{task.name}",
    }


def _use(task: Task[Any]) -> str:
    uses = (("Intended use", task.intended_use), ("Forbidden use", task.forbidden_use))
    return "".join(f"\n\n{name}: {text}" for name, text in uses if text)


def predict_default(tasks: Sequence[Task[Any]]) -> Description:
    """Describe the address of all tasks."""
    names = ", ".join(f"`{task.name}`" for task in tasks)
    example = f"    curl -F {FIELD}=@image.jpg 'http://127.0.0.1:8000/predict?task={tasks[0].name}'"
    schemas = [{"$ref": _REFERENCE.format(model=response.schema(task).__name__)} for task in tasks]
    return {
        "tags": ["predict"],
        "summary": "Predict for the task of the query",
        "description": f"Tasks: {names}; without `task` it is `{tasks[0].name}`.\n\n{example}",
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
                    "description": "The task; default: the first one.",
                }
            ],
            "requestBody": {"required": True, "content": {FORM: {"schema": _FORM_SCHEMA}}},
        },
        "operation_id": "predict",
    }


def document(
    app: FastAPI,
    tasks: Sequence[Task[Any]],
    labels: Mapping[str, Sequence[str]],
    origins: Mapping[str, str],
) -> dict[str, Any]:
    """Make the OpenAPI document of the app, with the schemas that no route's signature has.

    `labels` are those of the served models by task, `origins` what they were trained on; a task
    whose model is not ready has none.
    """
    openapi = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_definitions(Problem) | _definitions(FeedbackRequest))
    for task in tasks:
        if task.inference.Body is not None:
            schemas.update(_definitions(task.inference.Body, response.schema_prefix(task)))
        if task.name in labels:
            own = response.with_labels(schemas, task, labels[task.name], origins[task.name])
            schemas.update(own)
    return openapi


def _definitions(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Schemas of a model and its parts; the prefix keeps the names of tasks apart."""
    schema = model.model_json_schema(ref_template=_REFERENCE.replace("{model}", prefix + "{model}"))
    parts = {**schema.pop("$defs", {}), model.__name__: schema}
    return {prefix + name: part for name, part in parts.items()}
