"""People look at inputs of doubtful answers that a server kept, and say what they show.

samples --> queue by value --> page --> labels --> export --> a source for `mien data`
"""

import getpass
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mien import tasks
from mien.config import Settings
from mien.errors import ConfigError, ReviewError
from mien.observability.review import store
from mien.observability.review.store import ReviewStore
from mien.storage.workspace import Workspace

from . import exchange
from .exchange import Exported
from .prelabel import Prelabels
from .session import AgreementReport, ReviewSession, agreement_report


def run(
    workspace: Workspace,
    settings: Settings,
    reviewer: str | None,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the review page until SIGINT or SIGTERM.

    Args:
        workspace: has the samples.
        settings: with their key.
        reviewer: who labels; None for the user of this process.
        port: on the loopback address; 0 takes any free one.
        on_ready: called with the address of the page.

    Raises:
        ConfigError: no key or a wrong one, an unusable name or port.
    """
    from . import server

    opened = session(workspace, settings, reviewer)
    store.prune(workspace.review, settings.review_days, settings.review_mb)
    with suppress(KeyboardInterrupt), server.listening(opened, port) as (listener, address):
        on_ready(address)
        listener.serve_forever()


def session(workspace: Workspace, settings: Settings, reviewer: str | None) -> ReviewSession:
    """The review of one person, with suggestions of the champions.

    Raises:
        ConfigError: no key or a wrong one, or an unusable name.
    """
    samples = _open(workspace, settings)
    names = set(tasks.names()) & set(store.tasks(workspace.review))
    prelabels = {name: Prelabels(tasks.load(name), workspace) for name in names}
    return ReviewSession(samples, reviewer_name(reviewer), prelabels)


def reviewer_name(name: str | None) -> str:
    """A name that labels can have.

    Raises:
        ConfigError: it has other characters.
    """
    chosen = getpass.getuser() if name is None else name
    if re.fullmatch(r"[\w .@+-]{1,64}", chosen) is None:
        raise ConfigError(
            f"--reviewer: expected 1 to 64 letters, digits, spaces or .@+-_, found {chosen!r}."
        )
    return chosen


def export(task: str, out: Path, workspace: Workspace, settings: Settings) -> Exported:
    """Write labelled samples for `mien data`; raises as `exchange.export`, and ConfigError."""
    return exchange.export(_open(workspace, settings), task, out)


def import_labels(
    task: str, source: Path, reviewer: str, workspace: Workspace, settings: Settings
) -> int:
    """Store labels given elsewhere; raises as `exchange.import_labels`, and ConfigError."""
    samples = _open(workspace, settings)
    return exchange.import_labels(samples, task, source, reviewer_name(reviewer))


def agreement(task: str, workspace: Workspace, settings: Settings) -> AgreementReport:
    """How far the reviewers of a task agree; raises ConfigError."""
    return agreement_report(_open(workspace, settings), task)


def forget(trace_id: str, workspace: Workspace) -> list[str]:
    """Delete what is kept of one answer for review, and what people said about it.

    Returns:
        Tasks of which something was deleted.

    Raises:
        ReviewError: it is no trace_id.
    """
    if re.fullmatch("[0-9a-f]{32}", trace_id) is None:
        raise ReviewError(
            f"trace_id: expected 32 hexadecimal digits, found {trace_id!r}. Give it as the "
            "response has it."
        )
    return store.forget(workspace.review, trace_id)


def _open(workspace: Workspace, settings: Settings) -> ReviewStore:
    return ReviewStore(workspace.review, settings.review_key.get_secret_value())
