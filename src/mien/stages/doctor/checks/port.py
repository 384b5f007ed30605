"""Whether the ports are free."""

import socket
from contextlib import suppress

from .. import compose_file
from ..contract import DoctorCheck, Finding, Installation, ok, warning


def find(subject: Installation) -> Finding:
    """The port of `mien serve`, or those of the stack on this machine."""
    if subject.target == "cloud-run":
        return Finding("skipped", "Cloud Run chooses the port")
    ports = [subject.settings.port]
    stack = compose_file.read(subject.project)
    if subject.target == "compose" and stack:
        ports = [host for name in stack.services for host, _ in stack.ports(name)]
    in_use = [port for port in ports if not _is_free(subject.settings.host, port)]
    if in_use:
        numbers = " and ".join(map(str, in_use))
        return warning(
            f"port {numbers} of {subject.settings.host} cannot be used: another program listens "
            "there, perhaps mien itself, or it needs root.",
            "End it, or choose another: PORT or --port; for the stack, .env.example.",
        )
    return ok(f"free on {subject.settings.host}: {', '.join(map(str, ports))}")


def _is_free(host: str, port: int) -> bool:
    with suppress(OSError):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return True
    return False


CHECK = DoctorCheck("port", "Whether the port of the service, or of the stack, is free.", find)
