"""Frames of a video: their header, what comes back, and what is not recorded of them."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from mien.stages.serve.uploads import FRAME_HEADER

Draw = Callable[..., bytes]
Series = Callable[[str], dict[tuple[str, tuple[tuple[str, str], ...]], float]]


def send(client: TestClient, content: bytes, frame: str | None = None) -> Any:
    headers = {"content-type": "image/png"} | ({FRAME_HEADER: frame} if frame else {})
    return client.post("/predict/shape", content=content, headers=headers)


def test_a_frame_is_answered_as_a_picture_is(client: TestClient, picture: Draw) -> None:
    """The header comes back for the next frame; a single picture has none."""
    alone, frame = send(client, picture()), send(client, picture(), "first")
    assert alone.json() | {"trace_id": ""} == frame.json() | {"trace_id": ""}
    assert FRAME_HEADER not in alone.headers
    assert frame.headers[FRAME_HEADER] == "first", "this task tracks nothing"


def test_a_form_may_be_a_frame(client: TestClient, picture: Draw) -> None:
    """The header counts, not how the picture is sent."""
    headers = {FRAME_HEADER: "first"}
    reply = client.post("/predict/shape", files={"file": picture()}, headers=headers)
    assert (reply.status_code, reply.headers[FRAME_HEADER]) == (200, "first")


@pytest.mark.parametrize("frame", ["second", "a", "AA*A", "é", "first first"])
def test_another_header_is_refused(client: TestClient, picture: Draw, frame: str) -> None:
    """422 with what to send; the header is not repeated."""
    headers = {"content-type": "image/png", FRAME_HEADER: frame.encode("latin-1")}
    reply = client.post("/predict/shape", content=picture(), headers=headers)
    assert reply.status_code == 422
    assert "`first`" in reply.json()["detail"]


def test_frames_are_neither_recorded_nor_watched(
    client: TestClient, picture: Draw, series: Series
) -> None:
    """Near copies of each other would be all that drift and the label mix see."""
    before = series(client.get("/metrics").text)
    reply = send(client, picture(), "first")
    sent = {"trace_id": reply.json()["trace_id"], "label": None}
    assert client.post("/feedback", json=sent).status_code == 404
    after = series(client.get("/metrics").text)
    changed = {key[0] for key, value in after.items() if before.get(key) != value}
    assert changed & {
        "mien_predictions_total", "mien_confidence_count", "mien_input_stat_count",
        "mien_prediction_log_rows", "mien_drift_window_rows",
    } == set()  # fmt: skip
    assert "mien_requests_total" in changed
