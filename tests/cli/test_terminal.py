"""On a terminal each command shows at once what it does, in 80 columns."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

import pytest
from project import ROOT

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SHOW_CURSOR = "\x1b[?25h"


def on_terminal(*command: str, home: Path) -> str:
    """What a command writes to a terminal of 80 columns, with its control codes."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.environ |= {"MIEN_HOME": str(home), "TERM": "xterm"}
        os.environ.pop("COLUMNS", None)
        os.execv(sys.executable, [sys.executable, "-m", "mien.cli", *command])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    output = b""
    try:
        while part := os.read(terminal, 1 << 16):
            output += part
    except OSError:  # Linux reports the end of the child so
        pass
    os.close(terminal)
    os.waitpid(child, 0)
    return output.decode()


@pytest.mark.parametrize(
    ("command", "bars"),
    [
        ("verify --api http://127.0.0.1:9", ("start", "verifying")),
        ("data check sample_gesture --source absent.zip", ("start", "gesture: check")),
        ("reproduce gesture", ("start", "read the record")),
        ("batch README.md --out table.csv", ("start",)),
        ("serve", ("start",)),
    ],
)
def test_a_command_shows_what_it_does(tmp_path: Path, command: str, bars: tuple[str, ...]) -> None:
    """From its imports on, also where it fails; at the end the cursor is shown again."""
    output = on_terminal(*command.split(), home=tmp_path)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", _CODES.sub("", output))]
    for text in bars:
        assert any(line.startswith(text) and "━" in line for line in lines), (text, output)
    assert [line for line in lines if len(line) > 80 and " " in line] == []
    assert output.rfind(_SHOW_CURSOR) > output.rfind("━")
