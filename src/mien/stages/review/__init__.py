"""People look at inputs of doubtful answers that a server kept, and say what they show."""

import re

from mien.errors import ReviewError
from mien.observability.review import store
from mien.storage.workspace import Workspace


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
