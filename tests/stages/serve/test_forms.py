"""Forms are read as a parser for streams reads them, whatever is in them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.errors import RequestError
from mien.stages.serve import forms

BOUNDARY = b"b"
HEAD = b'Content-Disposition: form-data; name="file"\r\n\r\n'
FORM = b"--b\r\n" + HEAD + b"content\r\n--b--\r\n"
_PIECES = (
    *(
        b"--b",
        b"\r\n--b",
        b"--b--",
        b"\r\n--b--\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        b"-",
        b" ",
        b"\t",
    ),
    *(
        HEAD,
        b"Content-Disposition",
        b":",
        b'; name="file"',
        b'; name="other"',
        b"X: 1\r\n",
        b"content",
    ),
    *(
        b"a" * forms.MAX_HEADER_BYTES,
        b"--b\r\n" + HEAD,
        b"X: 1\r\n" * forms.MAX_HEADERS,
        b"\0",
        b"\xff",
    ),
)


class Expected:
    """What python-multipart makes of a form."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.complete = False
        self._parts = 0
        self._name = self._field = self._value = self._content = b""

    def read(self, data: bytes) -> bytes | None:
        """The one image; None where there is none."""
        names = (
            "part_begin",
            "header_field",
            "header_value",
            "header_end",
            "part_data",
            "part_end",
        )
        parser = MultipartParser(
            BOUNDARY,
            {f"on_{name}": getattr(self, name) for name in (*names, "end")},  # type: ignore[arg-type]
        )
        try:
            parser.write(data)
        except FormParserError:
            return None
        good = self.complete and self._parts <= forms.MAX_PARTS and len(self.contents) == 1
        return self.contents[0] or None if good else None

    def part_begin(self) -> None:
        self._parts += 1
        self._name = self._field = self._value = self._content = b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name", b"")
        self._field = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def part_end(self) -> None:
        if self._name == forms.FIELD.encode():
            self.contents.append(self._content)

    def end(self) -> None:
        self.complete = True


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A good form with pieces of forms put in, and with some bytes taken out."""
    data = draw(st.sampled_from([FORM, b"", FORM[:-8] + FORM]))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 20]))
        pieces = b"".join(draw(st.lists(st.sampled_from(_PIECES), max_size=3)))
        data = data[:start] + pieces + data[end:]
    return data


@given(changed())
@example(FORM)
@example(b"\r\n" + FORM)
@example(FORM + b"epilogue")
@example(b"preamble\r\n" + FORM)
@example(FORM.replace(b"content", b"a\r\n--bc\r\n--b-c\r\n--b\r\r\n--"))
@example(FORM.replace(b"--b\r\n", b"--b \t\r\n"))
@example(b"--b\r\n\r\n\r\n--b \t\r\n" + FORM[5:])
@example(FORM.replace(b"\r\n--b--", b"\r\n--b --"))
@example(b"--b\r\n\r\n\r\n" * 9 + FORM)
@example(b"--b\r\n\r\n\r\n" * 10 + FORM)
@example(FORM.replace(HEAD, b"X: 1\r\n" * 7 + HEAD))
@example(FORM.replace(HEAD, b"X: 1\r\n" * 8 + HEAD))
@example(FORM.replace(HEAD, b"X:" + b"a" * 4222 + b"\r\n" + HEAD))
@example(FORM.replace(HEAD, b"X:" + b"a" * 4223 + b"\r\n" + HEAD))
def test_a_form_is_read_as_a_parser_for_streams_reads_it(data: bytes) -> None:
    """The same content, or none."""
    try:
        content = forms.image(data, BOUNDARY)
    except RequestError:
        content = None
    assert content == Expected().read(data)


def test_a_boundary_has_a_limit() -> None:
    """As long as the parser for streams allows."""
    for length in (forms.MAX_BOUNDARY_BYTES, forms.MAX_BOUNDARY_BYTES + 1):
        boundary = b"b" * length
        form = FORM.replace(b"--b", b"--" + boundary)
        if length > forms.MAX_BOUNDARY_BYTES:
            with pytest.raises(RequestError):
                forms.image(form, boundary)
        else:
            assert forms.image(form, boundary) == b"content"
