"""No test looks up the name of another host: a look-up fails, and so does its test.

A plugin of pytest. It sees what Python looks up in this process; what libraries in C do, and other
processes, is for `network.py`.
"""

import re
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

_EVENTS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_LOCAL = {"", "localhost", "localhost.localdomain", socket.gethostname()}
_HOST = re.compile(r"[\w.-]+")
"""What may be a host; tests of wrong settings name what cannot be one, or ends in .invalid."""
LOOKED_UP: list[str] = []
"""Outside names of the present test."""


def _is_outside(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() not in _LOCAL and not host.lower().endswith(".localhost")
    return False  # an address needs no look-up


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    host = arguments[0]
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    if _is_outside(name):
        if _HOST.fullmatch(name) and not name.endswith(".invalid"):
            LOOKED_UP.append(name)
        raise socket.gaierror(socket.EAI_NONAME, f"tests look up no outside name: {name}")


sys.addaudithook(_refuse)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fail a test that looked a name up, though the caller may have handled the error."""
    LOOKED_UP.clear()
    result = yield
    assert not LOOKED_UP, f"the test looked up {', '.join(LOOKED_UP)}"
    return result
