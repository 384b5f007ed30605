"""Promises of `mien.mediapipe.litert`: networks run, and the terminal stays clean."""

import subprocess
import sys

from waiting import PATIENCE

SCRIPT = """
import os
from mien.mediapipe import litert, weights
content = weights.read_face_detector()
with litert._without_notice() if {first} else open(os.devnull):
    os.write(2, b"said by somebody else\\n")
    network = litert.LiteRtNetwork(content)
litert.LiteRtNetwork(content).close()
os.write(2, b"the end\\n")
"""


def said(first: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stderr.splitlines()


def test_the_notice_of_the_library_is_not_shown() -> None:
    """The first network of a process makes LiteRT write a line."""
    assert said(first=False) == ["said by somebody else", "the end"]


def test_what_others_write_meanwhile_is_not_lost() -> None:
    """Another thread may write to standard error while the first network is opened."""
    assert said(first=True) == ["said by somebody else", "the end"]


THREADS = """
from threading import Thread
from mien.mediapipe import litert, weights
content = weights.read_face_detector()
threads = [Thread(target=litert.LiteRtNetwork, args=(content,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_notice_is_not_shown_where_threads_open_networks_at_once() -> None:
    """As a server with several models does; a second thread may not be faster than the first."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
