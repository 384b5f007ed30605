"""The container test: builds the images, tries each, starts the Compose files, asks, breaks.

    python3 tasks.py stack-test

It needs a Docker engine, or root and Debian's docker.io to start one for the time of the test;
where neither can be had it says so and ends without an error. `bases.py` has the images that are
not built here, `engine.py` the engine, `processes.py` how programs end, `images.py` the images
that are built; `compose.py` the stack and `trial.py` what is tried on it; `scale.py` the same for
docker-compose.scale.yml; `kubernetes.py` runs what deploy/kubernetes calls; `contract.py` is what
else is tried on single containers.
"""

import sys
import time
from pathlib import Path

START = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]


class AbsentError(Exception):
    """What the test needs cannot be had here; the test is skipped, and this is why."""


class PromiseError(Exception):
    """The stack does not keep a promise."""


def say(text: str) -> None:
    """Tell the person who waits, and after how many seconds; at once, also into a pipe."""
    sys.stdout.write(f"[{time.monotonic() - START:4.0f} s] {text}\n")
    sys.stdout.flush()


def shout(text: str) -> None:
    """Tell what nobody must overlook."""
    say(f"\n\n{'!' * 100}\n!! {text}\n{'!' * 100}\n")
