"""Keys, and how often each may ask."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.testclient import TestClient

from mien.config import Settings
from mien.errors import ConfigError, RateLimitError, UnauthorizedError
from mien.stages.serve.auth import MIN_KEY_LENGTH, ApiKeyAuth

Draw = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[TestClient]]
OLD, NEW, OTHER = "0123456789abcdef-old", "0123456789abcdef-new", "0123456789abcdef-other"
KEYS = SecretStr(f"shop:{OLD}, shop:{NEW},camera:{OTHER}")


def settings(**given: object) -> Settings:
    return Settings().model_copy(update=given)


def test_without_keys_everybody_may_ask(client: TestClient, picture: Draw) -> None:
    """As on a laptop; a key that is sent all the same does no harm."""
    sent = {"file": picture()}
    assert client.post("/predict", files=sent).status_code == 200
    headers = {"Authorization": f"Bearer {OTHER}"}
    assert client.post("/predict", files=sent, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {OLD}x"}, 401),
        ({"Authorization": f"Basic {OLD}"}, 401),
        ({"X-API-Key": OLD[:-1]}, 401),
        ({"Authorization": f"Bearer {OLD}"}, 200),
        ({"Authorization": f"bearer  {NEW} "}, 200),
        ({"X-API-Key": OTHER}, 200),
    ],
)
def test_a_key_opens_the_server(
    serving: Serving, picture: Draw, headers: dict[str, str], status: int
) -> None:
    """In either header; both keys of a client are good, so that one can be changed."""
    with serving(api_keys=KEYS) as client:
        answer = client.post("/predict/shape", files={"file": picture()}, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["type"] == "/errors/unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_probes_metrics_and_pages_need_no_key(serving: Serving) -> None:
    """They reveal nothing of pictures; feedback and predictions do."""
    with serving(api_keys=KEYS) as client:
        for path in ("/livez", "/readyz", "/health", "/metrics", "/docs", "/", "/sample/shape"):
            assert client.get(path).status_code == 200, path
        assert client.post("/feedback", json={}).status_code == 401


def test_keys_are_not_in_log_answers_or_metrics(
    serving: Serving, picture: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither right nor wrong ones."""
    caplog.set_level(logging.DEBUG)
    with serving(api_keys=KEYS) as client:
        for key in (OLD, f"{OLD}x"):
            headers = {"X-API-Key": key}
            answer = client.post("/predict", files={"file": picture()}, headers=headers)
            assert key not in answer.text + str(answer.headers)
        assert OLD not in client.get("/metrics").text
    assert OLD not in caplog.text
    assert OLD not in repr(Settings(MIEN_API_KEYS=f"shop:{OLD}"))


def test_a_client_may_send_its_rate_and_no_more(serving: Serving, picture: Draw) -> None:
    """The others go on; a refusal says when to come again."""
    with serving(api_keys=KEYS, rate_limit=0.001) as client:

        def ask(key: str) -> int:
            headers = {"X-API-Key": key}
            answer = client.post("/predict", files={"file": picture()}, headers=headers)
            if answer.status_code == 429:
                assert answer.json()["type"] == "/errors/rate-limit"
                assert int(answer.headers["retry-after"]) >= 1
            return answer.status_code

        assert [ask(OLD), ask(NEW), ask(OTHER), ask(OTHER)] == [200, 429, 200, 429]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0.5, 20))
def test_in_no_time_more_is_let_in_than_the_rate_allows(waits: list[float], rate: float) -> None:
    """Whenever requests come: at most what the rate makes of the time, and a burst."""
    now = [0.0]
    access = ApiKeyAuth.from_settings(settings(api_keys=KEYS, rate_limit=rate))
    access = ApiKeyAuth(access.keys, rate, lambda: now[0])
    admitted = 0
    for wait in waits:
        now[0] += wait
        try:
            access.check(None, OLD)
            admitted += 1
        except RateLimitError:
            assert wait * rate < 1, "one who has waited long enough is let in"
        assert admitted <= now[0] * rate + rate + 1 + 1e-6


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    """One a line, beside those of the environment."""
    file = tmp_path / "keys"
    file.write_text(f"shop:{OLD}\n\ncamera:{OTHER}\n", encoding="utf-8")
    both = settings(api_keys=SecretStr(f"mine:{NEW}"), api_keys_file=file)
    access = ApiKeyAuth.from_settings(both)
    for key in (OLD, OTHER, NEW):
        access.check(f"Bearer {key}", None)
    with pytest.raises(UnauthorizedError):
        access.check("Bearer \udcff", None)


def test_a_source_of_keys_without_any_stops_the_start(tmp_path: Path) -> None:
    """A secret that is not written yet, or was cut off, must not open the server."""
    (tmp_path / "keys").write_text("\n", encoding="utf-8")
    for source in ({"api_keys_file": tmp_path / "keys"}, {"api_keys": SecretStr(",")}):
        with pytest.raises(ConfigError, match="found none"):
            ApiKeyAuth.from_settings(settings(**source))


@pytest.mark.parametrize(
    "entry", [OLD, ":" + OLD, "shop:", f"shop:{'a' * (MIN_KEY_LENGTH - 1)}", f"shop:{OLD}\u00e4"]
)
def test_a_key_that_cannot_be_used_stops_the_start(entry: str) -> None:
    """The message says how it should look, and does not show it."""
    with pytest.raises(ConfigError, match="name:key") as error:
        ApiKeyAuth.from_settings(settings(api_keys=SecretStr(entry)))
    assert entry not in str(error.value)


def test_a_file_that_is_not_there_or_a_rate_without_keys_stops_the_start(tmp_path: Path) -> None:
    """A server that was meant to be closed must not be open."""
    with pytest.raises(ConfigError, match="MIEN_API_KEYS_FILE"):
        ApiKeyAuth.from_settings(settings(api_keys_file=tmp_path / "none"))
    with pytest.raises(ConfigError, match="MIEN_RATE_LIMIT"):
        ApiKeyAuth.from_settings(settings(rate_limit=1.0))


def test_other_origins_may_ask_only_if_they_are_named(serving: Serving) -> None:
    """CORS is off unless it is set, and then only for those origins."""
    asked = {"Origin": "https://shop.test", "ApiKeyAuth-Control-Request-Method": "POST"}
    with serving() as client:
        assert "access-control-allow-origin" not in client.get("/livez", headers=asked).headers
    with serving(cors_origins="https://shop.test, https://other.test") as client:
        allowed = client.options("/predict/shape", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://shop.test"
        refused = client.get("/livez", headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in refused.headers
