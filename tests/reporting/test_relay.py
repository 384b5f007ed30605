"""Promises of `mien.reporting.relay`: one process draws what its workers show."""

import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest
from waiting import PATIENCE, until

from mien.reporting import console, relay

POOL = """
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Event

from mien.reporting import relay


def work():
    print(os.getpid(), flush=True)
    Event().wait()


if __name__ == "__main__":
    context = get_context("spawn")
    queue = context.SimpleQueue()
    with ProcessPoolExecutor(1, context, initializer=relay.send, initargs=(queue,)) as pool:
        pool.submit(work).result()
"""


def _work(number: int) -> int:
    console.info(f"line {number}")
    console.result("a table of a worker is not shown")
    with console.bar(f"stage {number}"), console.bar(f"step {number}") as advance:
        advance(3, 4, f"loss {number}")
    return number


def test_lines_and_bars_of_workers_are_drawn_here(
    terminal: io.StringIO, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers write nothing to the terminal themselves; no bar is left."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # for the workers, whose standard error is a file
    context = get_context("spawn")
    queue = context.SimpleQueue()
    with (
        relay.drawn("train", queue),
        ProcessPoolExecutor(2, context, initializer=relay.send, initargs=(queue,)) as pool,
    ):
        assert list(pool.map(_work, range(2))) == [0, 1]
    shown = terminal.getvalue()
    assert all(f"line {number}" in shown for number in range(2))
    assert "train" in shown
    assert capfd.readouterr() == ("", "")


def test_no_worker_outlives_the_process_that_draws(tmp_path: Path) -> None:
    """The pipe of their output ends only when all processes have ended."""
    script = tmp_path / "script.py"
    script.write_text(POOL)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    assert process.returncode == -signal.SIGTERM


def test_a_bar_of_a_worker_moves_and_ends(terminal: io.StringIO) -> None:
    """Below the bar of the process that draws, and with the words beside it."""
    queue = get_context("spawn").SimpleQueue()

    def drawn() -> str:
        console._displays[0].refresh()
        return terminal.getvalue()

    sender = relay._Sender(queue)
    with relay.drawn("train", queue):
        with sender.bar("fit svm") as advance:
            advance(3, 4, "loss 0.2")
            until(lambda: "loss 0.2" in drawn())
        until(lambda: len(console._displays[0].tasks) == 1)
    assert "fit svm" in terminal.getvalue()
    assert "3/4" in terminal.getvalue()


def test_a_bar_that_a_killed_worker_left_is_removed(terminal: io.StringIO) -> None:
    """Its end is never sent."""
    queue = get_context("spawn").SimpleQueue()
    with relay.drawn("train", queue):
        queue.put(relay.Message("fit svm", relay.BarKey(1, 1)))
    assert console._displays == []
