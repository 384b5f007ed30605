"""Pages of other origins: how origins are written, and which headers browsers get."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from starlette.testclient import TestClient

from mien.errors import ConfigError
from mien.stages.serve.cors import parse_origins

Serving = Callable[..., AbstractContextManager[TestClient]]
ORIGIN = "https://shop.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize(
    ("setting", "origins"),
    [
        ("", []),
        (" , ", []),
        ("https://shop.example/", ["https://shop.example"]),
        ("https://Shop.Example", ["https://shop.example"]),
        ("https://shop.example:443,http://a:80/", ["https://shop.example", "http://a"]),
        ("http://localhost:5173", ["http://localhost:5173"]),
        ("http://[::1]:3000/", ["http://[::1]:3000"]),
        ("capacitor://localhost, null", ["capacitor://localhost", "null"]),
        ("*", ["*"]),
    ],
)
def test_origins_are_those_that_browsers_send(setting: str, origins: list[str]) -> None:
    """Browsers send no slash, no default port and no capital letter."""
    assert parse_origins(setting) == origins


@pytest.mark.parametrize(
    "setting",
    [
        "shop.example",
        "https://shop.example/page",
        "https://shop.example?a=1",
        "https://shop.example#a",
        "https://user:word@shop.example",
        "https://shop.example:port",
        "https://shop.example:99999",
        "https://[shop",
        "https://",
        "shop.example:443",
    ],
)
def test_what_no_browser_sends_is_refused_at_the_start(setting: str) -> None:
    """It would never match."""
    with pytest.raises(ConfigError, match=r"MIEN_CORS_ORIGINS: expected origins .* found"):
        parse_origins(f"{ORIGIN},{setting}")


def test_a_page_reads_the_answer_to_its_upload(
    serving: Serving, picture: Callable[..., bytes]
) -> None:
    """A slash at the end of the setting changes nothing."""
    with serving(cors_origins=f"{ORIGIN}/") as client:
        form = {"file": picture()}
        answer = client.post("/predict/shape", files=form, headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("header", ["content-type", "traceparent,baggage", "sentry-trace", "b3"])
def test_headers_of_tracing_libraries_are_allowed(serving: Serving, header: str) -> None:
    """A browser sends the request only if the preflight allows each header."""
    asked = {**PREFLIGHT, "Access-Control-Request-Headers": header}
    with serving(cors_origins=ORIGIN) as client:
        allowed = client.options("/feedback", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-headers"] == header


def test_a_refused_preflight_is_logged(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason and the setting, and without what the client sent."""
    with serving(cors_origins=ORIGIN) as client:
        refused = client.options("/feedback", headers={**PREFLIGHT, "Origin": "https://evil.test"})
    assert refused.status_code == 400
    (line,) = [each for each in caplog.records if "preflight" in each.getMessage()]
    assert line.levelno == logging.WARNING
    assert "Disallowed CORS origin" in line.getMessage()
    assert "MIEN_CORS_ORIGINS" in line.getMessage()
    assert "evil" not in caplog.text
