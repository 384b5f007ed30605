"""The stage `serve`: models behind HTTP; `app.py` starts it.

The only importer of fastapi, starlette, uvicorn and prometheus_client. It knows tasks through
their contract, models as bundles, and neither a training library nor a tracker. Importing this
package imports none of them.
"""

import signal
import sys


def exit_at_sigterm() -> None:
    """End the process at SIGTERM until the server handles the signal itself.

    Without a handler, Linux drops the signal for the first process of a container.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
