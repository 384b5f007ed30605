"""Signals as a process has them that a person starts in a terminal."""

import signal


def reset() -> None:
    """Undo what the tests inherit: nohup ignores SIGHUP, and a shell's background job SIGINT."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
