"""A training in a thread: its log, its progress, its end."""

import re
import threading

import pytest

from mien.errors import DataError, RequestError
from mien.reporting import console
from mien.stages.studio.training import TrainingJob


def test_lines_and_bars_of_the_work_are_its_log() -> None:
    """The innermost bar is what it is doing; nothing is left of it at the end."""
    job, reached, go_on = TrainingJob(), threading.Event(), threading.Event()

    def work() -> None:
        with console.bar("outer"), console.bar("inner") as advance:
            console.info("one\ntwo")
            advance(2, 5)
            reached.set()
            go_on.wait()

    job.start(work)
    reached.wait()
    state = job.snapshot()
    assert (state.state, state.doing, state.step, state.total) == ("running", "inner", 2, 5)
    assert state.log == ("one", "two")
    with pytest.raises(RequestError, match="running"):
        job.start(work)
    go_on.set()
    job.wait()
    state = job.snapshot()
    assert (state.state, state.doing, state.error) == ("done", "", "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("no rows. Add some."), "no rows. Add some."),
        (ModuleNotFoundError("no", name="sklearn"), "needs sklearn.*pip install"),
        (ValueError("secret"), "^ValueError; the server's log"),
    ],
)
def test_a_failure_is_explained(error: Exception, text: str) -> None:
    """An error of the user as it is; of another one no more than its name; the next may start."""
    job = TrainingJob()

    def fail() -> None:
        raise error

    job.start(fail)
    job.wait()
    state = job.snapshot()
    assert state.state == "failed"
    assert re.search(text, state.error), state.error
    job.start(lambda: None)
    job.wait()
    assert job.snapshot().state == "done"
