"""The stage `serve`: models behind HTTP.

The only importer of fastapi, starlette, uvicorn and prometheus_client. It knows tasks through
their contract, models as bundles, and neither a training library nor a tracker. Importing this
package imports none of them: `run` and `running` import the web framework.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mien.config import Settings
from mien.storage.workspace import Workspace


def run(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> None:
    """Serve until SIGTERM or SIGINT; see `app.run`."""
    from mien.stages.serve import app

    app.run(workspace, tasks, bundles, settings)


def check_address(settings: Settings) -> None:
    """Check that a server could listen on the address of the settings.

    Raises:
        ConfigError: the address cannot be used.
    """
    from mien.stages.serve import app

    app.listen(settings).close()


@contextmanager
def running(
    workspace: Workspace, tasks: Sequence[str], bundles: Sequence[Path], settings: Settings
) -> Iterator[str]:
    """Serve from a thread during the block and yield the address; see `app.running`."""
    from mien.stages.serve import app

    with app.running(workspace, tasks, bundles, settings) as address:
        yield address
