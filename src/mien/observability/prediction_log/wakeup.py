"""Wakes a thread that waits for other threads and for a connection at the same time."""

import selectors
import socket
from contextlib import suppress


class Wakeup:
    """An event that a thread can wait for beside a socket. One thread waits."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def set(self) -> None:
        """End the present wait, or else the next one. Safe after `close`."""
        with suppress(OSError):  # full: it is set already
            self._sender.send(b"1")

    def wait(self, timeout_s: float | None, descriptor: int | None = None) -> bool:
        """Wait for `set`, the time or a descriptor, and clear the event.

        Returns:
            Whether the descriptor is readable.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._receiver, selectors.EVENT_READ)
            if descriptor is not None:
                with suppress(OSError, ValueError):  # another thread has just closed it
                    selector.register(descriptor, selectors.EVENT_READ)
            ready = [key.fd for key, _ in selector.select(timeout_s)]
        with suppress(BlockingIOError):
            while self._receiver.recv(4096):
                pass
        return descriptor in ready

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()


def is_readable(descriptor: int) -> bool:
    """Whether something has come that nobody has read."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))
