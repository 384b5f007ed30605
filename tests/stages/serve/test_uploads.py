"""What a client sent, read within limits."""

import base64
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from mien.errors import OverloadedError
from mien.stages.serve import uploads

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
PNG = {"content-type": "image/png"}
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def noise() -> bytes:
    """A PNG file of about 4 MB: more than the form parser keeps in memory by itself."""
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1100, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_a_picture_never_reaches_the_disk(
    client: TestClient, noise: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of several megabytes stays in memory, as a read-only container needs it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    assert len(noise) > 3e6
    assert client.post("/predict", files={"file": noise}).status_code == 200


def test_the_name_and_type_of_a_file_do_not_count(client: TestClient, picture: Draw) -> None:
    """A PNG picture named as text is a PNG picture."""
    sent = {"file": ("notes.txt", picture(), "text/plain")}
    assert client.post("/predict", files=sent).status_code == 200


def test_other_fields_beside_the_picture_are_ignored(client: TestClient, picture: Draw) -> None:
    """A form of a browser may have more in it."""
    sent = client.post("/predict", files={"file": picture()}, data={"comment": "mine"})
    assert sent.status_code == 200


def test_the_content_type_may_have_parameters_and_any_case(client: TestClient) -> None:
    """As HTTP has it."""
    response = client.post(
        "/predict/shape",
        content=b'{"point": {"values": [1, 2, 3]}}',
        headers={"content-type": "Application/JSON; charset=utf-8"},
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    "kind", ["image/png", "image/jpeg", "Image/WEBP; a=b", "application/octet-stream"]
)
@pytest.mark.parametrize("path", ["/predict", "/predict/shape", "/predict/colour"])
def test_the_bytes_of_a_picture_need_no_form(
    client: TestClient, picture: Draw, kind: str, path: str
) -> None:
    """The content counts; the answer is that to a form."""
    sent = client.post(path, content=picture(), headers={"content-type": kind})
    form = client.post(path, files={"file": picture()})
    assert sent.status_code == 200
    assert sent.json()["detections"] == form.json()["detections"]


def test_bytes_that_are_no_picture_are_refused(client: TestClient) -> None:
    """Nothing at all is another fault than another type."""
    for content, status in ((b"", 422), (b"GIF89a" + bytes(20), 415)):
        sent = client.post("/predict", content=content, headers={"content-type": "image/png"})
        assert sent.status_code == status


@pytest.mark.parametrize("start", ["", "data:image/png;base64,", '"', " \n"])
@pytest.mark.parametrize("as_form", [True, False])
def test_a_picture_as_text_is_refused_with_the_reason(
    client: TestClient, picture: Draw, start: str, as_form: bool
) -> None:
    """Base64 and data: URLs, wherever a picture is expected."""
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        file = io.BytesIO()
        Image.open(io.BytesIO(picture())).save(file, kind)
        text = start.encode() + base64.b64encode(file.getvalue())
        if as_form:
            sent = client.post("/predict", files={"file": text})
        else:
            sent = client.post("/predict", content=text, headers={"content-type": "image/png"})
        assert (sent.status_code, sent.json()["type"]) == (415, "/errors/unsupported-media-type")
        assert "base64" in sent.json()["detail"]


def test_a_picture_within_json_is_told_how_to_be_sent(client: TestClient) -> None:
    """The keys of the task are named, and the way for pictures."""
    sent = client.post("/predict/shape", json={"point": {"values": [1, 2, 3]}, "image": "data:,"})
    assert sent.status_code == 422
    assert "the keys are point, and an image is sent as a form or as bytes" in sent.json()["detail"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "GZIP"])
def test_a_compressed_body_is_refused_with_the_reason(
    client: TestClient, picture: Draw, coding: str
) -> None:
    """For pictures, forms, JSON and feedback; without a coding the header changes nothing."""
    bodies = {
        "/predict/shape": (b'{"point": {"values": [1, 2, 3]}}', "application/json"),
        "/predict/colour": (picture(), "image/png"),
        "/predict": (HEAD + picture() + b"\r\n--x--\r\n", FORM["content-type"]),
        "/feedback": (b'{"trace_id": "", "label": null}', "application/json"),
    }
    for path, (body, kind) in bodies.items():
        headers = {"content-type": kind, "content-encoding": coding}
        sent = client.post(path, content=gzip.compress(body), headers=headers)
        assert (sent.status_code, sent.json()["type"]) == (415, "/errors/unsupported-media-type")
        assert "Content-Encoding" in sent.json()["detail"]
        plain = client.post(path, content=body, headers={**headers, "content-encoding": "identity"})
        assert plain.status_code == (422 if path == "/feedback" else 200)


def test_json_may_begin_with_a_byte_order_mark(client: TestClient, picture: Draw) -> None:
    """As editors and libraries of Windows write it; for feedback too."""
    kind = {"content-type": "application/json"}
    mark = b"\xef\xbb\xbf"
    body = mark + b'{"point": {"values": [1, 2, 3]}}'
    answer = client.post("/predict/shape", content=body, headers=kind)
    assert answer.status_code == 200
    feedback = json.dumps({"trace_id": answer.json()["trace_id"], "label": "star"}).encode()
    assert client.post("/feedback", content=mark + feedback, headers=kind).status_code == 200


def test_json_has_a_smaller_limit_than_pictures(client: TestClient) -> None:
    """The message says how to send an image that somebody put into JSON."""
    content = b'{"image": "data:image/png;base64,' + b"A" * uploads.MAX_JSON_BYTES + b'"}'
    response = client.post(
        "/predict/shape", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert "as a form or as its bytes, not as a data: URL" in response.json()["detail"]


def test_a_body_of_exactly_the_limit_is_read(serving: Serving) -> None:
    """One byte more is not."""
    with serving(max_upload_mb=0.001) as client:
        for size, status in ((1000, 415), (1001, 413)):
            tail = b"\r\n--x--\r\n"
            body = HEAD + b"a" * (size - len(HEAD) - len(tail)) + tail
            assert client.post("/predict", content=body, headers=FORM).status_code == status


def test_uploads_together_take_bounded_memory() -> None:
    """The byte over the limit is refused; a request that ends frees what it took."""
    memory = uploads.UploadMemory(100)
    with memory.counted() as one, memory.counted() as other:
        one(60)
        other(40)
        with pytest.raises(OverloadedError):
            one(1)
    with memory.counted() as next_one:
        next_one(100)


def test_requests_free_the_memory_of_their_uploads(
    serving: Serving, picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused ones too; where two do not fit, one after the other does."""
    monkeypatch.setattr(uploads, "MAX_BYTES_IN_MEMORY", 0)
    body = picture()
    with serving(max_upload_mb=len(body) * 1.5 / 1e6) as client:
        sent = [body, b"-" * len(body), body, body]
        answers = [client.post("/predict", content=each, headers=PNG) for each in sent]
    assert [each.status_code for each in answers] == [200, 415, 200, 200]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=st.binary(max_size=400), framed=st.booleans(), boundary=st.text('xé"; =', max_size=4))
@example(body=b"", framed=False, boundary="")
@example(
    body=b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--", framed=False, boundary="x"
)
@example(body=b"--x\r\n\r\n\r\n--x--", framed=False, boundary="x")
def test_no_form_of_any_bytes_makes_the_server_fail(
    client: TestClient, body: bytes, framed: bool, boundary: str
) -> None:
    """Any body gets an error that says what is wrong: 4xx, never 5xx."""
    sent = HEAD + body + b"\r\n--x--\r\n" if framed else body
    kind = f"multipart/form-data; boundary={'x' if framed else boundary}".encode("latin-1")
    response = client.post("/predict", content=sent, headers={"content-type": kind})
    assert 400 <= response.status_code < 500


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["point", "values", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_no_json_of_any_content_makes_the_server_fail(client: TestClient, body: object) -> None:
    """Either it follows the task's schema, or the error says that it does not."""
    response = client.post(
        "/predict/shape",
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )
    assert response.status_code in (200, 422)
