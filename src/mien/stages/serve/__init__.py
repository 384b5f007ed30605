"""The stage `serve`: models behind HTTP; `app.py` starts it.

The only importer of fastapi, starlette, uvicorn and prometheus_client. It knows tasks through
their contract, models as bundles, and neither a training library nor a tracker. Importing this
package imports none of them.
"""

import os
import signal
import sys
from types import FrameType

_SHOW_CURSOR = b"\x1b[?25h"


def exit_at_sigterm() -> None:
    """End the process at SIGTERM until the server handles the signal itself.

    Without a handler, Linux drops the signal for the first process of a container.
    """
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    """End at once: libraries catch a SystemExit that is raised while they are imported."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)  # a progress bar hides it
    os._exit(0)
