"""The image in a form (multipart/form-data, RFC 7578).

A form is in memory as a whole, so that finding its parts takes a few searches; a parser for
streams costs up to ten times as much. Both read the same (`tests/stages/serve/test_forms.py`).
"""

import re
from collections.abc import Iterator

from python_multipart.multipart import parse_options_header

from mien.errors import RequestError

FIELD = "file"
MAX_PARTS = 10
MAX_BOUNDARY_BYTES = 256
MAX_HEADERS, MAX_HEADER_BYTES = 8, 4224
"""Headers of a part, and bytes of one without its line break."""
UNREADABLE = f"The form cannot be read. Send one image, in the field `{FIELD}`."
_LINE_END, _CLOSE = b"\r\n", b"--"
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r]*)\r\n")
_PADDING = re.compile(rb"[ \t]*")


def image(data: bytes, boundary: bytes) -> bytes:
    """The content of the field `file` of a form.

    Raises:
        RequestError: an incomplete form, too many parts, or no image in that field.
    """
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise RequestError(UNREADABLE)
    contents = [content for name, content in _parts(data, boundary) if name == FIELD]
    if len(contents) > 1:
        raise RequestError(f"The form has {len(contents)} fields `{FIELD}`; send one image.")
    if not contents or not contents[0]:
        raise RequestError(f"The form has no image in the field `{FIELD}`; send it there.")
    return contents[0]


def _parts(data: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each part.

    Raises:
        RequestError: an incomplete form, or too many parts.
    """
    delimiter = _LINE_END + _CLOSE + boundary
    start = data.find(b"-") if data.startswith((b"\r", b"\n")) else 0
    if start < 0 or not data.startswith(delimiter[2:], start):
        raise RequestError(UNREADABLE)
    position, count = start + len(delimiter) - 2, 0
    while not data.startswith(_CLOSE, position):
        if count:
            position = _PADDING.match(data, position).end()  # type: ignore[union-attr]
        if not data.startswith(_LINE_END, position):
            raise RequestError(UNREADABLE)
        if count == MAX_PARTS:
            raise RequestError(f"The form has more than {MAX_PARTS} parts; send the image only.")
        name, start = _head(data, position + 2)
        end = _end(data, delimiter, start)
        yield name, data[start:end]
        position, count = end + len(delimiter), count + 1


def _head(data: bytes, position: int) -> tuple[str, int]:
    """The name of a part, and where its content begins."""
    name, count = "", 0
    while not data.startswith(_LINE_END, position):
        header, count = _HEADER.match(data, position), count + 1
        if (
            header is None
            or count > MAX_HEADERS
            or header.end() - header.start() > MAX_HEADER_BYTES + len(_LINE_END)
        ):
            raise RequestError(UNREADABLE)
        if header[1].lower() == b"content-disposition":
            _, options = parse_options_header(header[2].lstrip(b" "))
            name = options.get(b"name", b"").decode("utf-8", "replace")
        position = header.end()
    return name, position + 2


def _end(data: bytes, delimiter: bytes, start: int) -> int:
    """Where the content ends that begins at `start`: at a delimiter that ends its line."""
    end = data.find(delimiter, start)
    while end >= 0:
        behind = end + len(delimiter)
        if data.startswith((_LINE_END, _CLOSE, b" ", b"\t"), behind):
            return end
        end = data.find(delimiter, behind)
    raise RequestError(UNREADABLE)
