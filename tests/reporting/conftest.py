"""A terminal of 80 columns for the tests of what is shown."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from mien.reporting import console


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A terminal of 80 columns in the place of standard error."""
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=80, highlight=False, soft_wrap=True)
    monkeypatch.setattr(console, "_err", lambda: screen)
    monkeypatch.setattr(console, "_on_terminal", lambda: True)
    yield shown
    assert console._displays == []
