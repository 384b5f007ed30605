"""What is fuzzed: a few readers of what strangers send, and seeds to start from.

Each reader takes any bytes and may raise nothing but an error that the client receives. Seeds are
made here; none is a photo. Knows nothing of a fuzzer: `bench/fuzz.py` and the tests bring one.
"""

import io
import json
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from mien import images
from mien.errors import MienError
from mien.images import Limits
from mien.mediapipe import palm_detector
from mien.model import bundle, runtime
from mien.stages.serve import forms, uploads
from mien.stages.serve.feedback import FeedbackRequest
from mien.stages.serve.uploads import Upload
from mien.tasks import emotion, gesture
from mien.tasks.emotion import letterbox, networks
from mien.tasks.gesture import landmarks

LIMITS = Limits(pixels=1_000_000, side=5_000)
BYTES = 100_000
"""The largest upload."""
_BOUNDARY = "b"
_SPEC = networks.family("yolox-nano").spec(96)
Result = TypeVar("Result")
Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """One reader and files to start from."""

    read: Read
    seeds: Callable[[], Iterator[bytes]]

    def check(self, data: bytes) -> None:
        """Read `data`; an error that is made for clients is no fault, any other is raised."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of each damage
            try:
                self.read(data)
            except (MienError, ClientDisconnect):
                return


def read_picture(data: bytes) -> None:
    """Decode a picture and bring it to the networks of both tasks.

    A PNG file is tried with repaired checksums too: behind a wrong one, little is read.
    """
    if (mended := repaired(data)) != data:
        with suppress(MienError):
            _look(mended)
    _look(data)


def read_form(data: bytes) -> None:
    """Read a request: the first line of `data` is its content type, the rest its body."""
    kind, _, body = data.partition(b"\n")
    forms.image(body, kind.rpartition(b"=")[2] or b"b")


def read_request(data: bytes) -> None:
    """Read a whole request as the service does: content type, body in pieces, question."""
    kind, _, body = data.partition(b"\n")
    for task in (gesture.TASK, emotion.TASK):
        takes_json = task.inference.Body is not None
        sent = _done(uploads.read(_request(kind, body), takes_json, BYTES, lambda _: None))
        uploads.decode(sent, task, LIMITS)


def read_landmarks(data: bytes) -> None:
    """Ask for the gesture of a JSON body; bytes that are none are taken as 63 numbers."""
    body = data if data.lstrip()[:1] in (b"{", b"[") else _numbers(data)
    request = uploads.decode(Upload(body), gesture.TASK, LIMITS)
    answer = gesture.TASK.inference.predict(request, _model())
    json.dumps(answer.as_json("gesture"), allow_nan=False)
    scores = [each for detection in answer.detections for each in detection.scores.values()]
    assert all(0 <= score <= 1 for score in scores), scores


def read_feedback(data: bytes) -> None:
    """Read feedback."""
    kind, _, body = data.partition(b"\n")
    _done(uploads.read_json(_request(kind, body), FeedbackRequest))


def repaired(data: bytes) -> bytes:
    """A PNG file with the checksums that its chunks should have; anything else as it is."""
    if images.sniff(data) != "PNG":
        return data
    fixed, place = bytearray(data), 8
    while place + 12 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def _look(data: bytes) -> None:
    whole = images.decode(data, LIMITS)
    images.image_stats(whole)
    face = emotion.TASK.inference.read(data, LIMITS)
    hand = gesture.TASK.inference.read(data, LIMITS)
    assert face.image is not None
    assert hand.image is not None
    assert whole.dtype == np.uint8
    assert face.size == hand.size == whole.shape[1::-1]
    canvas, _ = letterbox.letterbox(face.image, 96, 114, face.size)
    assert np.isfinite(letterbox.to_nchw(canvas, _SPEC)).all()
    assert np.isfinite(palm_detector.preprocess(hand.image)).all()


def _pictures() -> Iterator[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3))
    small = Image.fromarray(np.kron(pixels, np.ones((4, 4, 1))).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, more in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True, "comment": b"note", "icc_profile": bytes(40)}),
        ("PNG", {"exif": exif}),
        ("WEBP", {"exif": exif, "lossless": True}),
        ("WEBP", {"quality": 50}),
        ("MPO", {"save_all": True, "append_images": [small]}),
        ("PNG", {"save_all": True, "append_images": [small.rotate(90)]}),
        ("WEBP", {"save_all": True, "append_images": [small.rotate(180)]}),
    ):
        yield _saved(small, kind, **more)
    for mode in ("L", "LA", "P", "1", "RGBA", "I;16"):
        yield _saved(small.convert("L").convert(mode) if mode == "I;16" else small.convert(mode))
    yield _saved(small.quantize(8), transparency=3)
    yield _saved(small.convert("CMYK"), "JPEG")
    yield _saved(small.convert("L"), "JPEG")


def _forms() -> Iterator[bytes]:
    png = _saved(Image.new("RGB", (2, 2)))
    yield b"multipart/form-data; boundary=b\n" + _form('form-data; name="file"; filename="a"', png)
    yield b'multipart/form-data; boundary="b"\n' + _form("form-data; name=file", png) * 2
    starred = "form-data; name=\"file\"; filename*=utf-8''%c3%a4"
    yield b"Multipart/Form-Data; charset=utf-8; boundary=b\n" + _form(starred, png)


def _requests() -> Iterator[bytes]:
    yield from _forms()
    yield b"application/json\n" + next(_landmarks())


def _landmarks() -> Iterator[bytes]:
    hand = np.random.default_rng(0).uniform(0, 300, (21, 3))
    yield json.dumps({"landmarks": np.round(hand, 1).tolist()}).encode()
    yield np.asarray(hand, "<f8").tobytes()
    yield b'{"landmarks": [[1, 2.5e3, -0.0], [true, null, "1"]]}'


def _feedback() -> Iterator[bytes]:
    for label in ('"like"', "null", '"\\ud83d\\ude00"'):
        yield f'application/json\n{{"trace_id": "{"0" * 32}", "label": {label}}}'.encode()


TARGETS = {
    "pictures": Target(read_picture, _pictures),
    "forms": Target(read_form, _forms),
    "requests": Target(read_request, _requests),
    "landmarks": Target(read_landmarks, _landmarks),
    "feedback": Target(read_feedback, _feedback),
}


def _saved(picture: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **more)
    return stream.getvalue()


def _form(disposition: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    return head + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _request(kind: bytes, body: bytes) -> HttpRequest:
    """A request as uvicorn hands it over: the body in two pieces, its length not declared."""
    half = len(body) // 2
    pieces = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]

    async def receive() -> Any:
        return pieces.pop(0)

    headers = [(b"content-type", kind.strip())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return HttpRequest(scope, receive)


def _done(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what never waits, without an event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise AssertionError("it waited for something")


def _numbers(data: bytes) -> bytes:
    """Any bytes as the JSON of 21 points: every 64-bit float occurs."""
    numbers = np.frombuffer(data.ljust(21 * 3 * 8, b"\0")[: 21 * 3 * 8], "<f8")
    return json.dumps({"landmarks": numbers.reshape(21, 3).tolist()}).encode()


@cache
def _model() -> runtime.Model:
    """A real bundle of a classifier that was never trained: one layer with random weights."""
    from onnx import TensorProto, helper

    count = len(gesture.TASK.default_labels)
    chance = np.random.default_rng(0).normal(size=63 * count).tolist()
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [63, count], chance)
    nodes = [
        helper.make_node("MatMul", ["landmarks", "weights"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["scores"], axis=1),
    ]
    given = helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, [None, 63])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, count])
    graph = helper.make_graph(nodes, "chance", [given], [scores], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    preprocessing = {"preprocessing_version": landmarks.NORMALIZATION_VERSION}
    manifest = bundle.describe("gesture", gesture.TASK.default_labels, "chance", preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(made.SerializeToString())
        bundle.write(Path(folder), manifest)
        return runtime.load(Path(folder))
