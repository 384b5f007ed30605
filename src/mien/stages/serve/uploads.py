"""What a client sent, read within limits, and turned into a task's request.

Knows content types and sizes; knows no task by name and decodes pictures through `mien.images`.
A picture stays in memory: it is never written to a file, not even a temporary one.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request as HttpRequest

from mien import images
from mien.errors import RequestError, TooLargeError
from mien.stages.serve.errors import MediaTypeError
from mien.task import Request, Task

DocumentT = TypeVar("DocumentT", bound=BaseModel)
FIELD = "file"
FORM = b"multipart/form-data"
JSON = b"application/json"
DOCUMENT_BYTES = 4096
JSON_BYTES = 65_536
"""The largest JSON body, in bytes: numbers of one subject take a fiftieth of it."""
MOST_PARTS = 10
"""Parts of a form."""


@dataclass(frozen=True)
class Upload:
    """The body that a question was sent as: JSON, or a form of that boundary."""

    data: bytes
    boundary: bytes | None = None


def check_length(request: HttpRequest, limit: int) -> None:
    """Refuse a body whose declared length is beyond the limit, before a byte of it is read.

    Raises:
        TooLargeError: as said.
    """
    declared = request.headers.get("content-length", "0")
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)


async def read(request: HttpRequest, takes_json: bool, limit: int) -> Upload:
    """Read the body of a request, of which at most `limit` bytes are taken.

    Raises:
        MediaTypeError: neither a form nor, where the task takes it, JSON.
        TooLargeError: the declared or the counted length is beyond the limit.
        RequestError: a form without a boundary.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == JSON and takes_json:
        return Upload(await _body(request, min(limit, JSON_BYTES)))
    if kind != FORM:
        more = f", or {JSON.decode()} as GET /docs describes it" if takes_json else ""
        raise MediaTypeError(
            f"Send a form ({FORM.decode()}) with the picture in the field `{FIELD}`{more}."
        )
    if not options.get(b"boundary"):
        raise RequestError(_NO_FORM)
    return Upload(await _body(request, limit), options[b"boundary"])


async def document(request: HttpRequest, schema: type[DocumentT]) -> DocumentT:
    """Read a small JSON body of a fixed schema.

    Raises:
        MediaTypeError: the body is no JSON.
        TooLargeError: it is too large to be of that schema.
        RequestError: it does not follow the schema.
    """
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind != JSON:
        raise MediaTypeError(f"Send {JSON.decode()} as GET /docs describes it.")
    data = await _body(request, DOCUMENT_BYTES)
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
    if upload.boundary is not None:
        return task.inference.read(picture(upload.data, upload.boundary), limits)
    if task.inference.Body is None:
        raise MediaTypeError
    try:
        return Request(body=task.inference.Body.model_validate_json(upload.data))
    except ValidationError as error:
        raise RequestError(_explain(error, task.inference.Body)) from None


def picture(data: bytes, boundary: bytes) -> bytes:
    """The content of the field `file` of a form.

    Raises:
        RequestError: no whole form, too many parts, or none with a picture of that name.
    """
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(data)
        parser.finalize()
    except FormParserError:
        raise RequestError(_NO_FORM) from None
    if not parts.whole:
        raise RequestError(_NO_FORM)
    found = [content for name, content in parts.found if name == FIELD]
    if len(found) > 1:
        raise RequestError(f"The form has {len(found)} fields `{FIELD}`; send one picture.")
    if not found or not found[0]:
        raise RequestError(f"The form has no picture in the field `{FIELD}`; send it there.")
    return found[0]


class _Parts:
    """Collects the parts of a form while it is parsed."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self.whole = False
        self._name = ""
        self._header = b""
        self._value = b""
        self._content: list[bytes] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_header,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_part_data": self._take_content,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.found) >= MOST_PARTS:
            raise RequestError(f"The form has more than {MOST_PARTS} parts; send the picture only.")
        self._name, self._header, self._value, self._content = "", b"", b"", []

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header = self._value = b""

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end(self) -> None:
        self.found.append((self._name, b"".join(self._content)))

    def _finish(self) -> None:
        self.whole = True


_NO_FORM = f"The form cannot be read. Send one picture, in the field `{FIELD}`."


async def _body(request: HttpRequest, limit: int) -> bytes:
    check_length(request, limit)
    pieces, count = [], 0
    async for piece in request.stream():
        count += len(piece)
        if count > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> TooLargeError:
    if limit <= DOCUMENT_BYTES:
        return TooLargeError(f"A document of this form has at most {limit} bytes.")
    return TooLargeError(f"A request may have {limit / 1e6:g} MB here. Scale the picture down.")


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
