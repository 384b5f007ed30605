"""Alertmanager's webhook asks for a training, with the key, and nobody else does."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT
from waiting import until

from mien.errors import ConfigError, NotDueError
from mien.stages.retrain import webhook
from prometheus import run_alertmanager

KEY = "k" * 32
DRIFT = {"status": "firing", "labels": {"alertname": "MienDrift", "task": "gesture"}, "other": 1}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def address(asked: list[str]) -> Iterator[str]:
    def ask(alert: str) -> None:
        asked.append(alert)
        if len(asked) > 1:
            raise NotDueError("gesture: expected 24 hours")

    with webhook.listening("gesture", KEY, 0, ask) as address:
        yield address


def post(address: str, body: Any, key: str | None = KEY) -> tuple[int, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(address, content, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)["detail"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["detail"]


def test_a_firing_alert_asks_for_one_training(address: str, asked: list[str]) -> None:
    """However many fire in a request; one that is not due is no error, or it would come again."""
    group = {"version": "4", "status": "firing", "alerts": [DRIFT, DRIFT]}
    assert post(address, group) == (202, "a training of gesture begins.")
    assert post(address, group) == (200, "gesture: expected 24 hours")
    assert asked == ["MienDrift", "MienDrift"]


@pytest.mark.parametrize("key", [None, "", "k" * 31, KEY.upper()])
def test_without_the_key_nothing_is_read(address: str, asked: list[str], key: str | None) -> None:
    """Also for another address."""
    assert post(address, {"alerts": [DRIFT]}, key)[0] == 401
    assert post(address.replace("alerts", "other"), {"alerts": [DRIFT]}, key)[0] == 401
    assert asked == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/alerts", {"alerts": [{**DRIFT, "status": "resolved"}]}, 200),
        ("/alerts", {"alerts": [{**DRIFT, "labels": {"task": "emotion"}}]}, 200),
        ("/alerts", {"alerts": []}, 200),
        ("/alerts", {"text": "hello"}, 400),
        ("/alerts", b"{", 400),
        ("/alerts", b"[" * 1_000_001, 400),
        ("/other", {"alerts": [DRIFT]}, 404),
    ],
)
def test_other_requests_ask_for_nothing(
    address: str, asked: list[str], path: str, body: Any, status: int
) -> None:
    """Alerts that ended or are of another task, and what is no request of Alertmanager."""
    assert post(address.replace("/alerts", path), body)[0] == status
    assert asked == []


def test_alertmanager_itself_asks_for_a_training(
    address: str, asked: list[str], tmp_path: Path
) -> None:
    """A real one, with the configuration of the documentation; an alert of another task does not
    reach this one."""
    page = (ROOT / "docs" / "source" / "retraining.md").read_text(encoding="utf-8")
    config = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    config["route"] |= {"receiver": "nobody", "group_by": ["..."], "group_wait": "0s"}
    (hook,) = config["receivers"][0]["webhook_configs"]
    config["receivers"].append({"name": "nobody"})
    (tmp_path / "key").write_text(KEY)
    hook["url"] = address
    hook["http_config"]["authorization"]["credentials_file"] = str(tmp_path / "key")
    with run_alertmanager(tmp_path, yaml.safe_dump(config)) as alertmanager:
        for task in ("emotion", "gesture"):
            labels = {"alertname": "MienDrift", "task": task}
            content = json.dumps([{"labels": labels}]).encode()
            request = urllib.request.Request(
                f"http://{alertmanager}/api/v2/alerts",
                content,
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as response:
                assert response.status == 200
        until(lambda: asked, "a request of Alertmanager")
    assert asked == ["MienDrift"]


@pytest.mark.parametrize(
    ("key", "port", "message"), [("short", 0, "MIEN_RETRAIN_KEY"), (KEY, -1, "--listen")]
)
def test_what_cannot_listen_says_so(key: str, port: int, message: str) -> None:
    """Before the first alert."""
    with pytest.raises(ConfigError, match=message), webhook.listening("gesture", key, port, print):
        pass
