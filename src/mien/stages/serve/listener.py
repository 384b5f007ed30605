"""Binds the address of the server, or says why it cannot be bound."""

import errno
import socket
from contextlib import suppress

from mien.config import Settings
from mien.errors import ConfigError


def listen(settings: Settings) -> socket.socket:
    """Bind the address of the settings.

    Raises:
        ConfigError: it cannot be used.
    """
    host = settings.host.strip("[]")
    try:
        listener = socket.create_server(
            (host, settings.port),
            family=_family(host),
            backlog=2048,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"HOST={settings.host} PORT={settings.port} cannot be used: {reason or error}. "
            f"{_advice(error)}"
        ) from None
    # Connections inherit it. Without it, a response's body waits 40 ms for the header's receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listener_address(host: str, listener: socket.socket) -> str:
    """Where a client finds a bound socket."""
    host = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{host}:{listener.getsockname()[1]}"


def _family(host: str) -> socket.AddressFamily:
    if ":" not in host:
        with suppress(socket.gaierror):
            socket.getaddrinfo(host, None, socket.AF_INET)
            return socket.AF_INET
    socket.getaddrinfo(host, None, socket.AF_INET6)  # or its error, which `bind` would hide
    return socket.AF_INET6


def _advice(error: Exception) -> str:
    """What to do about an address that cannot be bound."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror | UnicodeError):
        return "Set HOST to an address or a name of this machine; 0.0.0.0 or :: is all of them."
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return "This machine has no such address. Set another HOST; 0.0.0.0 is all of them."
    if number in (errno.EACCES, errno.EPERM):
        return "Ports below 1024 need privileges. Set another PORT."
    return "Set another PORT; 0 takes any free one."
