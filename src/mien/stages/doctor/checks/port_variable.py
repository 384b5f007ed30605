"""Whether an image listens on $PORT, on all interfaces."""

import re

from .. import image
from ..contract import DoctorCheck, Finding, Installation, failed, ok

_SERVES = re.compile(r"\bserve\b")
"""Of mien; the server of MLflow listens elsewhere."""
_OUTSIDE = "HOST=0.0.0.0"


def find(subject: Installation) -> Finding:
    """The Dockerfiles whose command serves, and the image if one is named."""
    serving = [
        each
        for each in image.images(subject.project, subject.image)
        if _SERVES.search(" ".join(each.command))
    ]
    if not serving:
        return Finding("skipped", "no dockerfiles/ here, and no --image")
    for each in serving:
        command = " ".join(each.command)
        if "--port" in command or "--host" in command:
            return failed(
                f"{each.name}: the command fixes the address: {command}.",
                "Leave --port and --host out: Cloud Run sets $PORT.",
            )
        if _OUTSIDE not in each.variables:
            return failed(
                f"{each.name}: expected {_OUTSIDE}, found none: it listens on loopback alone.",
                f"Add `ENV {_OUTSIDE}`.",
            )
    return ok(f"{', '.join(each.name for each in serving)}: on $PORT, all interfaces")


CHECK = DoctorCheck("port_variable", "Whether images listen on $PORT, on all interfaces.", find)
