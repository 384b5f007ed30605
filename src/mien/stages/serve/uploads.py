"""Reads the body of a request within limits, and decodes it to a task's request.

Knows content types and sizes; knows no task by name and decodes images through `mien.images`.
An upload stays in memory: it is never written to a file, not even a temporary one.
"""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from mien import images
from mien.errors import OverloadedError, RequestError, TooLargeError, expectation
from mien.stages.serve import forms
from mien.stages.serve.errors import MediaTypeError
from mien.task import Request, Task

Take = Callable[[int], None]
DocumentT = TypeVar("DocumentT", bound=BaseModel)
FORM = b"multipart/form-data"
JSON = b"application/json"
BYTES = b"application/octet-stream"
"""Content type of an image without a form, as are all of image/*."""
_UTF8_MARK = b"\xef\xbb\xbf"
_BASE64_STARTS = (b"data:", b"/9j/", b"iVBORw0KGgo", b"UklGR", b"R0lGOD")
"""A data: URL, and how JPEG, PNG, WEBP and GIF begin in base64."""
MAX_FEEDBACK_BYTES = 4096
MAX_JSON_BYTES = 65_536
"""Maximum size of a JSON body; the landmarks of one hand take a fiftieth of it."""
MAX_BYTES_IN_MEMORY = 320_000_000
"""Of all uploads together, or one of the largest size: what 32 photos of 10 MB take, or five of the
largest default size."""


@dataclass(frozen=True)
class Upload:
    """The body of a prediction request: JSON, a form with that boundary, or an image."""

    data: bytes
    boundary: bytes | None = None
    is_image: bool = False
    video: bytes | None = None
    """For a frame of a video, what the answer to its last frame had; b"" for the first one."""

    @property
    def kind(self) -> Literal["json", "image"]:
        """What is predicted for."""
        return "image" if self.is_image or self.boundary is not None else "json"


FRAME_HEADER = "X-Mien-Frame"
FIRST_FRAME = "first"


def video_of(request: HttpRequest) -> bytes | None:
    """What the header says of the video whose frame is sent; None for a single picture.

    Raises:
        RequestError: neither `first` nor what an answer had.
    """
    text = _header(request, FRAME_HEADER.lower().encode())
    if text in (b"", FIRST_FRAME.encode()):
        return b"" if text else None
    try:
        return b64decode(text, b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            f"the header {FRAME_HEADER}: expected `{FIRST_FRAME}`, or that header of the answer to "
            "the last frame, found something else. Send one of these."
        ) from None


def frame_header(video: bytes) -> dict[str, str]:
    """The header for the answer to a frame, to be sent back with the next one."""
    return {FRAME_HEADER: urlsafe_b64encode(video).decode() or FIRST_FRAME}


def check_length(request: HttpRequest, limit: int) -> None:
    """Check the declared length of a body before a byte of it is read.

    Raises:
        TooLargeError: it is beyond the limit.
    """
    declared = _header(request, b"content-length") or b"0"
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)


class UploadMemory:
    """Counts the bytes of all bodies that are in memory; used by the event loop's thread alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextmanager
    def counted(self) -> Iterator[Take]:
        """A function that counts bytes of one request until the block ends.

        It raises OverloadedError at the limit.
        """
        own = 0

        def take(size_bytes: int) -> None:
            nonlocal own
            if self._taken + size_bytes > self._limit:
                raise OverloadedError
            self._taken += size_bytes
            own += size_bytes

        try:
            yield take
        finally:
            self._taken -= own


async def read(request: HttpRequest, takes_json: bool, limit: int, take: Take) -> Upload:
    """Read the body of a request, at most `limit` bytes; `take` counts them.

    Raises:
        MediaTypeError: neither an image nor a form nor, where the task takes it, JSON.
        TooLargeError: the declared or the counted length is beyond the limit.
        OverloadedError: all bodies together take too much memory now.
        RequestError: a form without a boundary, or an unreadable header of a frame.
    """
    kind, options = _content_type(request)
    if kind == JSON and takes_json:
        return Upload(await _body(request, min(limit, MAX_JSON_BYTES), take))
    video = video_of(request)
    if kind == BYTES or kind.startswith(b"image/"):
        return Upload(await _body(request, limit, take), is_image=True, video=video)
    if kind != FORM:
        more = f", or {JSON.decode()} as GET /docs describes it" if takes_json else ""
        raise MediaTypeError(
            f"Send a form ({FORM.decode()}) with the image in the field `{forms.FIELD}`, or the "
            f"bytes of the image (image/jpeg, image/png, image/webp, {BYTES.decode()}){more}."
        )
    if not options.get(b"boundary"):
        raise RequestError(forms.UNREADABLE)
    return Upload(await _body(request, limit, take), options[b"boundary"], video=video)


async def read_json(request: HttpRequest, schema: type[DocumentT]) -> DocumentT:
    """Read a small JSON body of a fixed schema.

    Raises:
        MediaTypeError: the body is not JSON.
        TooLargeError: it is too large for the schema.
        RequestError: it does not follow the schema.
    """
    kind, _ = _content_type(request)
    if kind != JSON:
        raise MediaTypeError(f"Send {JSON.decode()} as GET /docs describes it.")
    data = await _body(request, MAX_FEEDBACK_BYTES)
    try:
        return schema.model_validate_json(data.removeprefix(_UTF8_MARK), strict=True)
    except ValidationError as error:
        raise RequestError(_explain(error, schema)) from None


def decode(upload: Upload, task: Task[Any], limits: images.Limits) -> Request:
    """Decode the image or validate the JSON body; runs in a worker thread.

    Raises:
        ImageError, ImageTypeError, TooLargeError: see `images.read`.
        MediaTypeError: the image is text.
        RequestError: the body does not follow the task's schema.
    """
    if upload.kind == "image":
        picture = task.inference.read(_image(upload), limits)
        return picture if upload.video is None else replace(picture, video=upload.video)
    if task.inference.Body is None:
        raise MediaTypeError
    try:
        body = upload.data.removeprefix(_UTF8_MARK)
        return Request(body=task.inference.Body.model_validate_json(body))
    except ValidationError as error:
        raise RequestError(_explain(error, task.inference.Body)) from None


def _image(upload: Upload) -> bytes:
    data = upload.data
    if upload.boundary is not None:
        data = forms.image(data, upload.boundary)
    if not data:
        raise RequestError("The body is empty; send an image.")
    if data[:32].lstrip(b" \t\r\n\"'").startswith(_BASE64_STARTS):
        raise MediaTypeError(
            "The image is text: a data: URL or base64. Decode it and send the bytes."
        )
    return data


def _content_type(request: HttpRequest) -> tuple[bytes, dict[bytes, bytes]]:
    """The content type of a body and its parameters.

    Raises:
        MediaTypeError: the body is compressed.
    """
    if _header(request, b"content-encoding").lower() not in (b"identity", b""):
        raise MediaTypeError(
            "The header Content-Encoding: expected none, found a coding such as gzip. Send the "
            "body without it; images are compressed already."
        )
    return parse_options_header(_header(request, b"content-type"))


def _header(request: HttpRequest, name: bytes) -> bytes:
    """The value of the first header of a name, which is in lower case; empty if there is none."""
    return next((value for key, value in request.scope["headers"] if key == name), b"")


async def read_bytes(request: HttpRequest, limit: int, take: Take) -> bytes:
    """Read a body of any type, at most `limit` bytes; `take` counts them.

    Raises:
        TooLargeError, OverloadedError: as `read`.
    """
    return await _body(request, limit, take)


async def _body(request: HttpRequest, limit: int, take: Take | None = None) -> bytes:
    check_length(request, limit)
    chunks, size_bytes, more = list[bytes](), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size_bytes += len(chunk)
        if size_bytes > limit:
            raise _too_large(limit)
        if take is not None:
            take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> TooLargeError:
    if limit <= MAX_FEEDBACK_BYTES:
        return TooLargeError(f"The limit for this body is {limit} bytes. Send less.")
    if limit == MAX_JSON_BYTES:
        return TooLargeError(
            f"The limit for JSON is {limit} bytes. Send an image as a form or as its bytes, not as "
            "a data: URL or base64."
        )
    return TooLargeError(
        f"The limit for an upload is {limit / 1e6:g} MB. Scale the image down, or ask the operator "
        "to raise MIEN_MAX_UPLOAD_MB."
    )


def _explain(error: ValidationError, body: type[BaseModel]) -> str:
    # `input` and unknown keys are user input; neither may be repeated.
    first: dict[str, Any] = dict(error.errors(include_url=False)[0])
    valid = set(body.model_fields)
    location = "".join(
        f"[{part}]" if isinstance(part, int) else part
        for part in first["loc"]
        if isinstance(part, int) or part in valid
    )
    message = expectation(first, echo=False)
    if first["type"] == "extra_forbidden":
        keys = ", ".join(body.model_fields)
        message = f"unknown key; the keys are {keys}, and an image is sent as a form or as bytes"
    return f"The JSON body cannot be used: {location + ': ' if location else ''}{message}."
