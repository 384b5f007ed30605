"""Runs commands in a network of their own that leads nowhere, and counts what they try to send.

`python tests/network.py COMMAND...` prints what `Attempts` holds as JSON to its last line. The
kernel counts for all programs and libraries: look-ups, connections and packages of usage reports.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_SET_FLAGS, _UP = 0x8914, 1
NOT_ALLOWED = 77
"""Exit status where this system grants no network of one's own."""


@dataclass(frozen=True)
class Attempts:
    """What was sent, or could not be sent for want of a way."""

    status: int
    """Exit status of the command."""
    unroutable: int
    """Packets and connections to addresses outside."""
    datagrams: int
    """UDP packets, which a resolver of this machine would be asked with."""


def run(*command: str, **environment: str) -> "tuple[Attempts | None, str]":
    """What a command attempts, and all that it prints; None where this cannot be measured."""
    done = subprocess.run(
        [sys.executable, __file__, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    text = done.stdout + done.stderr
    if done.returncode == NOT_ALLOWED:
        return None, text
    assert done.returncode == 0, text
    return Attempts(**json.loads(done.stdout.splitlines()[-1])), text


def _isolate() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Only the superuser may take a network without a user name space, which hides his rights.
    if libc.unshare(_NEWNET) and libc.unshare(_NEWUSER | _NEWNET):
        sys.stderr.write(os.strerror(ctypes.get_errno()))
        sys.exit(NOT_ALLOWED)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def _counters() -> tuple[int, int]:
    counted: dict[str, int] = {}
    lines = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind, *keys = names.split()
        counted |= {
            kind + key: int(value) for key, value in zip(keys, values.split()[1:], strict=True)
        }
    for line in Path("/proc/thread-self/net/snmp6").read_text(encoding="ascii").splitlines():
        name, value = line.split()
        counted[name] = int(value)
    unroutable = counted["Ip:OutNoRoutes"] + counted.get("Ip6OutNoRoutes", 0)
    return unroutable, counted["Udp:OutDatagrams"] + counted.get("Udp6OutDatagrams", 0)


def main() -> None:
    """Isolate this process, run the command, print the counts."""
    _isolate()
    before = _counters()
    status = subprocess.run(sys.argv[1:], check=False).returncode
    counts = [now - then for now, then in zip(_counters(), before, strict=True)]
    sys.stdout.write(json.dumps(asdict(Attempts(status, *counts))))


if __name__ == "__main__":
    main()
