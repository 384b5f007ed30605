"""What a client sent, read within limits, and turned into a task's request.

Knows content types and sizes; knows no task by name and decodes pictures through `mien.images`.
A picture stays in memory: it is never written to a file, not even a temporary one.
"""

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request as HttpRequest

from mien import images
from mien.errors import RequestError, TooLargeError
from mien.stages.serve.errors import MediaTypeError
from mien.task import Request, Task

DocumentT = TypeVar("DocumentT", bound=BaseModel)
FIELD = "file"
FORM = "multipart/form-data"
JSON = "application/json"
DOCUMENT_BYTES = 4096
JSON_BYTES = 1_000_000
"""The largest JSON body, in bytes: numbers of one subject take a thousandth of it."""


@dataclass(frozen=True)
class Upload:
    """The bytes that a question was sent as."""

    kind: Literal["picture", "json"]
    data: bytes


async def read(request: HttpRequest, takes_json: bool, limit: int) -> Upload:
    """Read the body of a request, of which at most `limit` bytes are taken.

    Raises:
        MediaTypeError: neither a form nor, where the task takes it, JSON.
        TooLargeError: the declared or the counted length is beyond the limit.
        RequestError: a form without the field `file`, or no form at all.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON and takes_json:
        stream = _counted(request, min(limit, JSON_BYTES))
        return Upload("json", b"".join([piece async for piece in stream]))
    if kind != FORM:
        more = f", or {JSON} as GET /docs describes it" if takes_json else ""
        raise MediaTypeError(f"Send a form ({FORM}) with the picture in the field `{FIELD}`{more}.")
    return Upload("picture", await _field(request.headers, _counted(request, limit)))


async def document(request: HttpRequest, schema: type[DocumentT]) -> DocumentT:
    """Read a small JSON body of a fixed schema.

    Raises:
        MediaTypeError: the body is no JSON.
        TooLargeError: it is too large to be of that schema.
        RequestError: it does not follow the schema.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise MediaTypeError(f"Send {JSON} as GET /docs describes it.")
    data = b"".join([piece async for piece in _counted(request, DOCUMENT_BYTES)])
    try:
        return schema.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise RequestError(_explain(error, schema)) from None


def question(upload: Upload, task: Task[Any], limits: images.Limits) -> Request:
    """Decode the picture or check the JSON body: work for a worker's thread.

    Raises:
        ImageError, ImageTypeError, TooLargeError: as `images.decode` has it.
        RequestError: the body does not follow the task's schema.
    """
    if upload.kind == "picture" or task.Body is None:
        return task.ask(upload.data, limits)
    try:
        return Request(body=task.Body.model_validate_json(upload.data))
    except ValidationError as error:
        raise RequestError(_explain(error, task.Body)) from None


async def _counted(request: HttpRequest, limit: int) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)
    count = 0
    async for piece in request.stream():
        count += len(piece)
        if count > limit:
            raise _too_large(limit)
        yield piece


def _too_large(limit: int) -> TooLargeError:
    if limit <= DOCUMENT_BYTES:
        return TooLargeError(f"A document of this form has at most {limit} bytes.")
    return TooLargeError(f"A request may have {limit / 1e6:g} MB here. Scale the picture down.")


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize


async def _field(headers: Headers, stream: AsyncGenerator[bytes, None]) -> bytes:
    parser = _InMemory(headers, stream, max_files=1, max_fields=8, max_part_size=1024)
    try:
        form = await parser.parse()
    except MultiPartException:
        raise RequestError(
            f"The form cannot be read. Send one picture, in the field `{FIELD}`."
        ) from None
    found = form.get(FIELD)
    data = await found.read() if isinstance(found, UploadFile) else b""
    await form.close()
    if not data:
        raise RequestError(f"The form has no picture in the field `{FIELD}`; send it there.")
    return data


def _explain(error: ValidationError, body: type[BaseModel]) -> str:
    # `input` and unknown keys are what was sent; neither may come back.
    fault: dict[str, Any] = dict(error.errors(include_input=False, include_url=False)[0])
    known = set(body.model_fields)
    where = "".join(
        f"[{part}]" if isinstance(part, int) else part
        for part in fault["loc"]
        if _told(part, known)
    )
    words = "a key is not known" if fault["type"] == "extra_forbidden" else fault["msg"]
    return f"The JSON body cannot be used: {where + ': ' if where else ''}{words}."


def _told(part: int | str, known: set[str]) -> bool:
    return isinstance(part, int) or part in known
