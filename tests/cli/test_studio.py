"""`mien studio`: where it listens, and its key."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from mien import tasks
from mien.cli import app
from mien.cli import studio as wiring
from mien.config import Settings
from mien.errors import ConfigError
from mien.stages.serve.auth import ApiKeyAuth
from mien.stages.studio.studio import Studio
from mien.storage.workspace import Workspace


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which the studio would serve."""
    settings: list[Settings] = []

    def serve(workspace: Workspace, extension: Any, own: Settings, on_ready: Any) -> None:
        settings.append(own)
        on_ready("http://127.0.0.1:8000")

    monkeypatch.setattr(wiring.app, "run_extended", serve)
    monkeypatch.setattr(Studio, "warm_up", lambda studio: None)  # imports for seconds
    return settings


def test_it_listens_on_this_machine_unless_forced(
    served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever $HOST says for `mien serve`; the port is that of the service."""
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "9000")
    for options in ([], ["--force-host", "0.0.0.0", "--port", "9001"]):
        done = CliRunner().invoke(app, ["studio", "--home", str(tmp_path), *options])
        assert done.exit_code == 0, done.output
    assert [(each.host, each.port) for each in served] == [
        ("127.0.0.1", 9000),
        ("0.0.0.0", 9001),
    ]


def test_the_printed_key_opens_it(served: list[Settings], tmp_path: Path) -> None:
    """A new one at each start, beside the keys of the user."""
    keys = []
    for _ in range(2):
        done = CliRunner().invoke(app, ["studio", "--home", str(tmp_path)])
        address, _, key = done.stdout.strip().rpartition("#key=")
        assert address == "open http://127.0.0.1:8000/studio"
        ApiKeyAuth.from_settings(served[-1]).check(f"Bearer {key}", None)
        keys.append(key)
    assert len(set(keys)) == 2
    own = Settings().model_copy(update={"api_keys": SecretStr("me:0123456789abcdef")})
    with_both, _ = wiring.with_key(own)
    ApiKeyAuth.from_settings(with_both).check("Bearer 0123456789abcdef", None)


def test_without_a_task_to_record_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where the folder of gestures was deleted."""
    monkeypatch.setattr(tasks, "names", lambda: ())
    with pytest.raises(ConfigError, match="can be recorded"):
        wiring.open_studio(Workspace(tmp_path))
